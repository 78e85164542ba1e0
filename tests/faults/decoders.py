"""Every decoder of bytes from outside, with an example of what it reads: what it gives is a value or a named error."""

import contextlib
import gzip
from collections.abc import Callable

import crc32c
import msgspec

from playhead.consumers.reading.ahead import decoded
from playhead.consumers.reading.parked import original
from playhead.consumers.recordings.errors import InvalidAudio
from playhead.consumers.recordings.mp3 import read_mp3, untag_mp3
from playhead.eventlog.errors import BadLine
from playhead.eventlog.jobs.parts import Part, parts_of
from playhead.eventlog.jobs.recorder_files import decode_recorded
from playhead.eventlog.lines import decode_line, encode_line, event_id_of, holds_whole_line
from playhead.eventlog.replay.files import NotAnEvent
from playhead.projections.content.archive import make_archive, read_archive
from playhead.projections.content.captured import decode_captured
from playhead.projections.content.errors import ArchiveAltered
from playhead.projections.jobs.json_files.documents import read_event_id
from playhead.projections.jobs.json_files.summaries import Entry, decode_summary, encode_summary
from playhead.projections.jobs.result import decode_job_result
from playhead.projections.organizations.answers import read_answer
from playhead.projections.organizations.extraction import organizations
from playhead.streams.content.events import capture_event
from playhead.streams.entries import RawEntry, encode, sequence_of, subject_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Recorded
from playhead.streams.members import without_mark
from playhead.streams.positions import Position
from playhead.streams.recordings.events import (
    ChunkFlushed,
    MeetingStopped,
    RecordingPromoted,
    TranscodeFinished,
    read_payload,
)
from tests.support.events import job

_PAYLOADS = (ChunkFlushed, TranscodeFinished, MeetingStopped, RecordingPromoted)


class Decoder(msgspec.Struct, frozen=True):
    """What is read, how, and one thing that can be."""

    what: str
    read: Callable[[bytes], object]
    example: bytes


def read_entry(data: bytes) -> None:
    parts = data.split(b"\n")
    one = RawEntry(b"1-1", parts[: len(parts) // 2 * 2])
    decoded(one)
    subject_of(one)
    sequence_of(one)


def read_parked(data: bytes) -> None:
    parts = data.split(b"\n")
    decoded(original({b"parked_position": b"1-1"} | dict(zip(parts[::2], parts[1::2], strict=False))))


def read_line(data: bytes) -> None:
    for read in (decode_line, event_id_of, holds_whole_line):
        with contextlib.suppress(BadLine, InvalidEvent):
            read(data)


def read_checked_line(data: bytes) -> None:
    checksum = crc32c.crc32c(data, crc32c.crc32c(b"1-1"))
    read_line(b'{"position":"1-1","crc32c":"%08x","event":%b}\n' % (checksum, data))


def read_event(data: bytes) -> None:
    event = Event(id="1", source="s", type="job.completed", time="2025-08-09T06:36:59Z", subject="job/1", data=data)
    with contextlib.suppress(InvalidEvent):
        decode_job_result(event.data)
    with contextlib.suppress(InvalidEvent):
        decode_captured(event)
    for payload in _PAYLOADS:
        with contextlib.suppress(InvalidEvent):
            read_payload(event, payload)


def read_result(data: bytes) -> None:
    with contextlib.suppress(InvalidEvent):
        answer = read_answer(bytes(decode_job_result(b'{"job_id":"1","result":' + data + b"}").result))
        if answer.reason is None:
            organizations(answer.value)


def read_recorder_file(data: bytes) -> None:
    with contextlib.suppress(NotAnEvent, InvalidEvent):
        text = without_mark(data)
        for part in parts_of(text):
            if isinstance(part, Part):
                decode_recorded(text[part.start : part.end])
        decode_recorded(data)


def read_job_file(data: bytes) -> None:
    read_event_id(data)


def read_summary(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_summary(data)


def read_packed(data: bytes) -> None:
    with contextlib.suppress(ArchiveAltered):
        read_archive(data)


def read_unpacked(data: bytes) -> None:
    read_packed(gzip.compress(data, 1))


def read_audio(data: bytes) -> None:
    for read in (read_mp3, untag_mp3):
        with contextlib.suppress(InvalidAudio):
            read(data)


def _packed() -> bytes:
    event = capture_event("text", "https://example.org", {"scraper_id": "s"}, blobs=None)
    return bytes(make_archive(event, decode_captured(event), b"text"))


_EVENT = job(1)
_FIELDS = [part.encode() if isinstance(part, str) else part for part in encode(_EVENT)]
_ENTRY = b"\n".join(
    part for pair in zip(_FIELDS[::2], _FIELDS[1::2], strict=True) for part in pair if pair[0] != b"ce_crc32c"
)
_RESULT = (
    b'"```json\\n{\\"organization\\": {\\"name\\": \\"Pantry\\", \\"phones\\": [{\\"number\\": \\"330 555 0100\\"}],'
    b' \\"schedules\\": \\"Mon 9-5\\", \\"locations\\": [{\\"latitude\\": 41.08, \\"city\\": \\"Akron\\"}]}\\n```"'
)
_LINE = encode_line(Recorded(_EVENT, Position(1, 1), 1))
_CHECKED = _LINE.partition(b'"event":')[2][:-2]
_PACKED = _packed()
_SUMMARY = encode_summary("2025-08-09", [Entry("1", "s", "2025-08-09T06:36:59Z", "e1", "1-1")])
_FRAME = bytes.fromhex("fffb5064") + bytes(188)

DECODERS = {
    "payload": Decoder("payloads", read_event, _EVENT.data),
    "entry": Decoder("entries of a stream", read_entry, _ENTRY),
    "parked": Decoder("parked entries", read_parked, _ENTRY),
    "line": Decoder("lines of the log", read_line, _LINE),
    "checked-line": Decoder("lines of the log, the checksum right", read_checked_line, _CHECKED),
    "result": Decoder("results of jobs", read_result, _RESULT),
    "recorder-file": Decoder("files of the recorder", read_recorder_file, _EVENT.data),
    "job-file": Decoder("job files", read_job_file, _EVENT.data),
    "summary": Decoder("summaries", read_summary, _SUMMARY),
    "archive": Decoder("archives", read_packed, _PACKED),
    "tar": Decoder("what archives hold", read_unpacked, gzip.decompress(_PACKED)),
    "mp3": Decoder("MP3 files", read_audio, _FRAME * 3),
}
BARE = Decoder("JSON, with the error of its library", msgspec.json.decode, b"{}")
"""The control: it raises what nobody named."""
