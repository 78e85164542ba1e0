"""The stream `recordings`: payloads and ids. Readers take what they know of a payload and keep the rest as it came."""

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, TypeVar
from uuid import UUID, uuid5

import msgspec

from playhead.streams.domains.event_types import Stream, event_type_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, format_time, new_event

Strategy = Literal["per-user", "meeting", "hybrid"]
"""Whether a meeting becomes a recording for each participant, one of all of them mixed, or both."""

stream = Stream("recordings")

_SUBJECT = "meeting/{meeting_id}"
_NAMESPACE = UUID("0b8f3c0e-0c55-5d0b-8a07-3f6c9a1d7e52")

_Payload = TypeVar("_Payload", bound="OfMeeting")


class OfMeeting(msgspec.Struct, frozen=True, kw_only=True):
    """What every payload has."""

    meeting_id: str


@stream.event("meeting.started", subject=_SUBJECT)
class MeetingStarted(OfMeeting, frozen=True, kw_only=True):
    """A session began; `started_at` is RFC 3339, as every time here."""

    guild_id: str
    channel_id: str
    strategy: Strategy
    started_at: str


@stream.event("meeting.stopped", subject=_SUBJECT)
class MeetingStopped(OfMeeting, frozen=True, kw_only=True):
    """No chunk of the session comes any more; `reason` says who ended it, if that was not the recorder."""

    user_ids: list[str]
    stopped_at: str
    reason: str | None = None


class OfChunk(OfMeeting, frozen=True, kw_only=True):
    """What every payload about a chunk has."""

    temp_recording_id: str
    user_id: str


@stream.event("chunk.flushed", subject=_SUBJECT)
class ChunkFlushed(OfChunk, frozen=True, kw_only=True):
    """PCM is on disk: signed 16-bit little-endian, `rate` frames a second, the first of them at `started_at`."""

    guild_id: str
    sequence: int
    pcm_path: str
    rate: int
    channels: int
    started_at: str


@stream.event("transcode.started", subject=_SUBJECT)
class TranscodeStarted(OfChunk, frozen=True, kw_only=True):
    """An attempt began."""

    attempt: int


@stream.event("transcode.finished", subject=_SUBJECT)
class TranscodeFinished(OfChunk, frozen=True, kw_only=True):
    """The MP3 is on disk; `samples` is its length without the encoder's delay and padding."""

    mp3_path: str
    sha256: str
    duration_ms: int
    samples: int
    rate: int


@stream.event("transcode.failed", subject=_SUBJECT)
class TranscodeFailed(OfChunk, frozen=True, kw_only=True):
    """No attempt follows by itself; `stderr` is the end of what ffmpeg said."""

    error: str
    stderr: str
    attempt: int


@stream.event("chunk.cleaned", subject=_SUBJECT)
class ChunkCleaned(OfChunk, frozen=True, kw_only=True):
    """The PCM of a finished chunk is deleted."""

    pcm_path: str


@stream.event("chunk.expired", subject=_SUBJECT)
class ChunkExpired(OfChunk, frozen=True, kw_only=True):
    """A chunk of a session that never ended, and of which nothing was finished, is deleted."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Silence that was left out of a recording: `length_ms` of it, `at_ms` after the recording's beginning."""

    at_ms: int
    length_ms: int


@stream.event("recording.promoted", subject=_SUBJECT)
class RecordingPromoted(OfMeeting, frozen=True, kw_only=True, omit_defaults=True):
    """A persistent recording is on disk; without `user_id` it is of all participants.

    `cuts` say where silence of all participants was too long to be kept; all recordings of a meeting have the same.
    """

    recording_id: str
    user_id: str | None
    strategy: Strategy
    filename: str
    sha256: str
    duration_in_ms: int
    chunk_ids: list[str]
    missing_chunk_ids: list[str]
    created_at: str
    cuts: list[Cut] = []


@stream.event("recording.promotion_failed", subject=_SUBJECT)
class PromotionFailed(OfMeeting, frozen=True, kw_only=True):
    """No recording was made."""

    strategy: Strategy
    error: str
    missing_chunk_ids: list[str]


def read_payload(event: Event, type: type[_Payload]) -> _Payload:
    """Read the payload of an event.

    Raises:
        InvalidEvent: it has another shape, or its subject is not its meeting.
    """
    try:
        payload = msgspec.json.decode(event.data, type=type)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent("data", str(error)) from error
    if event.subject != subject_of(payload.meeting_id):
        raise InvalidEvent("subject", "is not meeting/ and the meeting_id of the payload")
    return payload


def subject_of(meeting_id: str) -> str:
    """The subject of every event of a meeting."""
    return _SUBJECT.format(meeting_id=meeting_id)


def meeting_event(payload: OfMeeting, source: str, *, about: str = "", time: str | None = None) -> Event:
    """Make an event of a meeting.

    Its id follows from its type, the meeting and what it is `about`, such as a chunk: whoever says so, it is one event.
    """
    declared = event_type_of(payload)
    return new_event(
        declared.name,
        subject=subject_of(payload.meeting_id),
        data=payload,
        source=source,
        id=make_event_id(declared.name, payload.meeting_id, about),
        time=time,
        correlationid=make_event_id("meeting", payload.meeting_id),
        dataschema=declared.dataschema,
    )


def stopped_event(meeting_id: str, user_ids: Iterable[str], source: str, *, reason: str) -> Event:
    """The end of a meeting that somebody else than its recorder says, now."""
    stopped_at = format_time(datetime.now(UTC))
    payload = MeetingStopped(
        meeting_id=meeting_id, user_ids=sorted(set(user_ids)), stopped_at=stopped_at, reason=reason
    )
    return meeting_event(payload, source)


def make_chunk_id(meeting_id: str, user_id: str, sequence: int) -> str:
    """The id of a chunk, the same whenever it is flushed: 16 characters."""
    return _short("chunk", meeting_id, user_id, str(sequence))


def make_recording_id(meeting_id: str, user_id: str | None) -> str:
    """The id of a recording, the same whenever it is promoted: 16 characters."""
    return _short("recording", meeting_id) if user_id is None else _short("recording", meeting_id, user_id)


def make_event_id(*parts: str) -> str:
    """An id that a program which repeats itself makes again."""
    return str(uuid5(_NAMESPACE, "\0".join(_escape(part) for part in parts)))


def _short(*parts: str) -> str:
    data = "\0".join(_escape(part) for part in parts).encode("utf-8", "surrogatepass")
    return base64.b32encode(hashlib.sha256(data).digest()[:10]).decode().lower()


def _escape(part: str) -> str:
    r"""Keep ("a\0", "b") and ("a", "\0b") apart."""
    return part.replace("\\", "\\\\").replace("\0", "\\0")
