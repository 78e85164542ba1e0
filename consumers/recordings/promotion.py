"""The promotion of a meeting: its finished chunks become persistent recordings."""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from playhead.consumers.recordings.ffmpeg import Children, Ffmpeg
from playhead.consumers.recordings.rendering import Rendering
from playhead.projections.recordings.rows import Meeting, TempRecording
from playhead.streams.events import Event, format_time, new_event
from playhead.streams.recordings.events import (
    PromotionFailed,
    RecordingPromoted,
    Strategy,
    make_event_id,
    make_recording_id,
    subject_of,
)
from playhead.streams.recordings.files import RecordingFiles

_SOURCE = "playhead/promote"
LONGEST_GAP = 3600.0
"""Seconds of silence that recordings keep."""


class Promotion(msgspec.Struct, frozen=True):
    """What came of it; `complete` if every chunk of the meeting is in its recordings."""

    events: list[Event]
    complete: bool


class Promoter:
    """Makes recordings, and the events that say so. The same chunks give the same files and the same event ids.

    Silence of all participants that is longer than `longest_gap` seconds is cut.
    """

    def __init__(self, files: RecordingFiles, ffmpeg: Ffmpeg, *, longest_gap: float = LONGEST_GAP) -> None:
        self._files, self._ffmpeg = files, ffmpeg
        self._longest_gap = longest_gap

    def promote(
        self,
        meeting: Meeting,
        chunks: Sequence[TempRecording],
        children: Children,
        *,
        strategy: Strategy | None = None,
        cause: Event | None = None,
    ) -> Promotion:
        """Make the recordings of a meeting from those of its chunks that are finished.

        Raises:
            FfmpegFailed: it may work another time.
            InvalidAudio: a chunk is no MP3.
        """
        chosen: Strategy = strategy or strategy_of(meeting)
        done = [chunk for chunk in chunks if chunk.transcode_status == "DONE"]
        missing = [chunk.id for chunk in chunks if chunk.transcode_status != "DONE"]
        if not done:
            return Promotion([self.failed(meeting.id, chosen, _no_chunk(missing), missing, cause)], complete=False)
        rendering = Rendering(self._files, self._ffmpeg, done, children, self._longest_gap)
        wanted: list[str | None] = [] if chosen == "meeting" else list(rendering.user_ids)
        if chosen != "per-user":
            wanted.append(None)
        made = self._render(rendering, meeting.id, wanted, chosen, done, missing)
        return Promotion([self._promoted(payload, cause) for payload in made], complete=not missing)

    def failed(self, meeting_id: str, strategy: Strategy, error: str, missing: list[str], cause: Event | None) -> Event:
        """Make the event that says that there is no recording."""
        payload = PromotionFailed(meeting_id=meeting_id, strategy=strategy, error=error, missing_chunk_ids=missing)
        about = format_time(datetime.now(UTC)) if cause is None else cause.id
        return self._event("recording.promotion_failed", payload, about, cause)

    def _render(
        self,
        rendering: Rendering,
        meeting_id: str,
        user_ids: Sequence[str | None],
        strategy: Strategy,
        done: Sequence[TempRecording],
        missing: list[str],
    ) -> list[RecordingPromoted]:
        """Make the recordings at once; each has its name when all are whole."""
        ids = {user_id: make_recording_id(meeting_id, user_id) for user_id in user_ids}
        names = {user_id: self._files.recording(meeting_id, user_id, ids[user_id]) for user_id in user_ids}
        with ExitStack() as stack:
            temporary = {user_id: stack.enter_context(self._files.new(names[user_id])) for user_id in user_ids}
            mp3s = rendering.render(temporary)
            return [
                RecordingPromoted(
                    meeting_id=meeting_id,
                    recording_id=ids[user_id],
                    user_id=user_id,
                    strategy=strategy,
                    filename=names[user_id],
                    sha256=_sha256(temporary[user_id]),
                    duration_in_ms=mp3s[user_id].duration_ms,
                    chunk_ids=[chunk.id for chunk in done if user_id in {None, chunk.user_id}],
                    missing_chunk_ids=missing,
                    created_at=format_time(datetime.now(UTC)),
                    cuts=rendering.cuts,
                )
                for user_id in user_ids
            ]

    def _promoted(self, payload: RecordingPromoted, cause: Event | None) -> Event:
        about = "\0".join([payload.recording_id, payload.strategy, payload.sha256, *payload.missing_chunk_ids])
        return self._event("recording.promoted", payload, about, cause)

    def _event(self, type: str, payload: RecordingPromoted | PromotionFailed, about: str, cause: Event | None) -> Event:
        return new_event(
            type,
            subject=subject_of(payload.meeting_id),
            data=payload,
            source=_SOURCE,
            id=make_event_id(type, payload.meeting_id, about),
            dataschema=f"{type}/1",
            correlationid=make_event_id("meeting", payload.meeting_id),
            causationid=cause.id if cause else None,
            traceparent=cause.traceparent if cause else None,
            tracestate=cause.tracestate if cause else None,
        )


def strategy_of(meeting: Meeting) -> Strategy:
    """What the recorder asked for; `hybrid` if its wish is not known."""
    match meeting.strategy:
        case "per-user" | "meeting" as known:
            return known
        case _:
            return "hybrid"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_chunk(missing: Sequence[str]) -> str:
    return f"none of {len(missing)} chunks is finished" if missing else "the meeting has no chunk"
