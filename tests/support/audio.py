"""Audio that tests make, and what became of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from playhead.consumers.recordings.ffmpeg import Children, Ffmpeg, Pcm, find_ffmpeg
from playhead.consumers.recordings.mp3 import read_mp3
from playhead.streams.entries import RawEntry, decode
from playhead.streams.events import parse_time
from playhead.streams.partitions import Partition
from playhead.streams.recordings.events import ChunkFlushed, make_chunk_id, make_event_id, subject_of
from playhead.streams.recordings.files import Chunk, RecordingFiles
from playhead.streams.recordings.recorder import Recorder

RECORDINGS = Partition("recordings", 0)
STEREO = Pcm()


def tone(seconds: float, hertz: float = 440, form: Pcm = STEREO, start: float = 0) -> bytes:
    """A sine, the same in every channel, as PCM."""
    frames = np.arange(round(seconds * form.rate)) + round(start * form.rate)
    wave = (8000 * np.sin(2 * np.pi * hertz * frames / form.rate)).astype("<i2")
    return np.repeat(wave[:, None], form.channels, axis=1).tobytes()


def samples(pcm: bytes, form: Pcm = STEREO):
    """The first channel."""
    return np.frombuffer(pcm, "<i2").reshape(-1, form.channels)[:, 0].astype(int)


def decoded(path: Path, form: Pcm = STEREO):
    """The first channel of an MP3, without what its encoder put around it."""
    content = read_mp3(path.read_bytes())
    return samples(Ffmpeg(find_ffmpeg(None), 60).decode(path, content.samples, form, Children()), form)


def flush(producer, files: RecordingFiles, pcm: bytes | None, chunk: Chunk, **members: object):
    """What a recorder does with a chunk; `pcm` None leaves the file out."""
    if pcm is not None:
        files.write(files.pcm(chunk), pcm)
    flushed = ChunkFlushed(
        temp_recording_id=make_chunk_id(chunk.meeting_id, chunk.user_id, chunk.sequence),
        meeting_id=chunk.meeting_id,
        user_id=chunk.user_id,
        guild_id="guild",
        sequence=chunk.sequence,
        pcm_path=files.pcm(chunk),
        rate=48000,
        channels=2,
        started_at="2026-01-31T12:00:00Z",
    )
    data = {name: getattr(flushed, name) for name in flushed.__struct_fields__} | members
    return producer.append(
        "chunk.flushed",
        subject=subject_of(chunk.meeting_id),
        data=data,
        id=make_event_id("chunk.flushed", flushed.temp_recording_id),
    )


def open_session(recorder: Recorder, meeting_id: str):
    """The note of a session that was opened by a recorder that died in the next moment."""
    return recorder._open(meeting_id, "g", "c", "meeting")[0]  # noqa: SLF001  # `session` ends what it opens


def facts(redis, type: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Type and payload of each event on the stream."""
    found = [
        decode(RawEntry(entry_id, [part for pair in fields.items() for part in pair])).event
        for entry_id, fields in redis.xrange(RECORDINGS.key)
    ]
    return [(event.type, json.loads(event.data)) for event in found if type in {None, event.type}]


def offsets(redis) -> dict[tuple[str, int], float]:
    """Where each chunk stands, in seconds since the session began."""
    (_, started), *_ = facts(redis, "meeting.started")
    zero = parse_time(started["started_at"])
    return {
        (chunk["user_id"], chunk["sequence"]): (parse_time(chunk["started_at"]) - zero).total_seconds()
        for _, chunk in facts(redis, "chunk.flushed")
    }


def content(files: RecordingFiles, user: str = "u", meeting: str = "m") -> bytes:
    """All PCM of a user."""
    return b"".join(
        files.path(files.pcm(chunk)).read_bytes() for chunk in files.chunks("pcm", meeting) if chunk.user_id == user
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
