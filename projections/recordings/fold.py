"""What an event makes of the rows of its meeting."""

from collections.abc import Callable, Mapping

import msgspec

from playhead.projections.recordings.errors import InvalidTransition
from playhead.projections.recordings.rows import Meeting, MeetingStatus, Recording, TempRecording
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, Recorded, parse_date_or_time, parse_time
from playhead.streams.recordings.events import (
    ChunkCleaned,
    ChunkExpired,
    ChunkFlushed,
    MeetingStarted,
    MeetingStopped,
    OfChunk,
    PromotionFailed,
    RecordingPromoted,
    TranscodeFailed,
    TranscodeFinished,
    TranscodeStarted,
    read_payload,
)
from playhead.streams.recordings.files import Chunk, InvalidId, RecordingFiles

Payload = (
    MeetingStarted
    | MeetingStopped
    | ChunkFlushed
    | TranscodeStarted
    | TranscodeFinished
    | TranscodeFailed
    | ChunkCleaned
    | ChunkExpired
    | RecordingPromoted
    | PromotionFailed
)

_TYPES: Mapping[str, Callable[[Event], Payload]] = {
    "meeting.started": lambda event: read_payload(event, MeetingStarted),
    "meeting.stopped": lambda event: read_payload(event, MeetingStopped),
    "chunk.flushed": lambda event: read_payload(event, ChunkFlushed),
    "transcode.started": lambda event: read_payload(event, TranscodeStarted),
    "transcode.finished": lambda event: read_payload(event, TranscodeFinished),
    "transcode.failed": lambda event: read_payload(event, TranscodeFailed),
    "chunk.cleaned": lambda event: read_payload(event, ChunkCleaned),
    "chunk.expired": lambda event: read_payload(event, ChunkExpired),
    "recording.promoted": lambda event: read_payload(event, RecordingPromoted),
    "recording.promotion_failed": lambda event: read_payload(event, PromotionFailed),
}

_MOVES: Mapping[type[OfChunk], tuple[str, frozenset[str]]] = {
    TranscodeStarted: ("IN_PROGRESS", frozenset({"QUEUED", "IN_PROGRESS", "FAILED"})),
    TranscodeFinished: ("DONE", frozenset({"IN_PROGRESS", "FAILED"})),
    TranscodeFailed: ("FAILED", frozenset({"QUEUED", "IN_PROGRESS", "FAILED"})),
    ChunkCleaned: ("cleaned", frozenset({"DONE"})),
    ChunkExpired: ("expired", frozenset({"QUEUED", "IN_PROGRESS", "FAILED"})),
}
"""Where each event takes a chunk, and from which states it can."""


def read(recorded: Recorded) -> Payload | None:
    """The payload of an event, None if it is none of ours.

    Raises:
        InvalidEvent: its payload has another shape.
    """
    decode = _TYPES.get(recorded.event.type)
    return None if decode is None else decode(recorded.event)


class Fold:
    """Rows as they were, and then as the events leave them; `keep` keeps chunks after their meeting's promotion."""

    def __init__(self, meetings: dict[str, Meeting], chunks: dict[str, TempRecording], *, keep: bool) -> None:
        self.meetings, self.chunks = meetings, chunks
        self.recordings: dict[str, Recording] = {}
        self.removed: set[str] = set()
        self._keep = keep

    def apply(self, recorded: Recorded, payload: Payload) -> None:
        """Apply an event; one that is not behind the meeting's last is a repetition and changes nothing.

        Raises:
            InvalidTransition: it does not follow from what happened before.
        """
        order = str(recorded.order)
        meeting = self.meetings.get(payload.meeting_id) or Meeting(id=payload.meeting_id)
        if order <= meeting.event_order:
            return
        match payload:
            case MeetingStarted():
                meeting = _start(meeting, payload)
            case MeetingStopped():
                meeting = _stop(meeting, payload)
            case RecordingPromoted():
                meeting = self._promote(meeting, payload)
            case PromotionFailed():
                if meeting.status not in {"STOPPED", "PROMOTION_FAILED"}:
                    raise InvalidTransition("meeting", meeting.status, "PROMOTION_FAILED")
                meeting = msgspec.structs.replace(meeting, status="PROMOTION_FAILED", problem=payload.error)
            case ChunkFlushed():
                self._flush(payload, recorded)
            case _:
                self._move(payload, recorded, meeting.status)
        self.meetings[meeting.id] = msgspec.structs.replace(meeting, event_order=order)

    def _flush(self, payload: ChunkFlushed, recorded: Recorded) -> None:
        _require("pcm_path", payload.pcm_path, RecordingFiles.pcm, _chunk_of(payload))
        standing = self.chunks.get(payload.temp_recording_id)
        started_at = parse_time(payload.started_at)
        if standing is not None:
            if (standing.pcm_path, standing.started_at) == (payload.pcm_path, started_at):
                return  # appended again after the window of its id
            raise InvalidTransition("chunk", standing.transcode_status, "QUEUED")
        self._set(
            TempRecording(
                id=payload.temp_recording_id,
                meeting_id=payload.meeting_id,
                user_id=payload.user_id,
                guild_id=payload.guild_id,
                sequence=payload.sequence,
                rate=payload.rate,
                channels=payload.channels,
                started_at=started_at,
                created_at=recorded.event.timestamp,
                pcm_path=payload.pcm_path,
            )
        )

    def _move(self, payload: OfChunk, recorded: Recorded, meeting: MeetingStatus) -> None:
        """Apply what happened to a chunk that was flushed."""
        chunk = self.chunks.get(payload.temp_recording_id)
        if chunk is None and meeting == "PROMOTED":
            return  # its row went with the promotion, which does not wait for the last PCM to be deleted
        before = None if chunk is None else chunk.transcode_status
        if isinstance(payload, TranscodeFinished) and chunk is not None:
            _require("mp3_path", payload.mp3_path, RecordingFiles.mp3, _chunk_of(chunk))
        if isinstance(payload, TranscodeFinished) and chunk is not None and before == "DONE":
            if chunk.sha256 == payload.sha256:
                return  # appended again after the window of its id
            raise InvalidTransition("chunk", before, "DONE")
        after, possible = _MOVES[type(payload)]
        if chunk is None or before not in possible:
            raise InvalidTransition("chunk", before, after)
        if isinstance(payload, ChunkExpired) and not self._keep:
            self._remove([chunk.id])
        else:
            self._set(_moved(chunk, payload, recorded))

    def _promote(self, meeting: Meeting, payload: RecordingPromoted) -> Meeting:
        if meeting.status == "ACTIVE":
            raise InvalidTransition("meeting", meeting.status, "PROMOTED")
        ids = payload.meeting_id, payload.user_id, payload.recording_id
        _require("filename", payload.filename, RecordingFiles.recording, *ids)
        self.recordings[payload.recording_id] = Recording(
            id=payload.recording_id,
            meeting_id=payload.meeting_id,
            created_at=parse_date_or_time(payload.created_at),
            duration_in_ms=payload.duration_in_ms,
            sha256=payload.sha256,
            filename=payload.filename,
            user_id=payload.user_id,
            strategy=payload.strategy,
            missing_chunk_ids=payload.missing_chunk_ids,
            cuts=payload.cuts,
        )
        if not payload.missing_chunk_ids and not self._keep:
            self._remove(payload.chunk_ids)
        return msgspec.structs.replace(meeting, status="PROMOTED", problem=None)

    def _set(self, chunk: TempRecording) -> None:
        self.chunks[chunk.id] = chunk
        self.removed.discard(chunk.id)

    def _remove(self, ids: list[str]) -> None:
        for id_ in ids:
            self.chunks.pop(id_, None)
            self.removed.add(id_)


def _start(meeting: Meeting, payload: MeetingStarted) -> Meeting:
    started_at = parse_time(payload.started_at)
    if meeting.started_at is not None:
        if meeting.started_at == started_at:
            return meeting  # appended again after the window of its id
        raise InvalidTransition("meeting", meeting.status, "ACTIVE")
    return msgspec.structs.replace(
        meeting,
        guild_id=payload.guild_id,
        channel_id=payload.channel_id,
        strategy=payload.strategy,
        started_at=started_at,
    )


def _stop(meeting: Meeting, payload: MeetingStopped) -> Meeting:
    stopped_at = parse_time(payload.stopped_at)
    if meeting.status != "ACTIVE":
        if meeting.stopped_at == stopped_at:
            return meeting
        raise InvalidTransition("meeting", meeting.status, "STOPPED")
    return msgspec.structs.replace(meeting, status="STOPPED", stopped_at=stopped_at, user_ids=payload.user_ids)


def _moved(chunk: TempRecording, payload: OfChunk, recorded: Recorded) -> TempRecording:
    replace = msgspec.structs.replace
    match payload:
        case TranscodeStarted():
            return replace(chunk, transcode_status="IN_PROGRESS", error=None)
        case TranscodeFinished():
            return replace(
                chunk,
                transcode_status="DONE",
                completed_at=recorded.event.timestamp,
                mp3_path=payload.mp3_path,
                sha256=payload.sha256,
                duration_ms=payload.duration_ms,
                samples=payload.samples,
                error=None,
            )
        case TranscodeFailed():
            return replace(chunk, transcode_status="FAILED", error=payload.error)
        case ChunkExpired():
            return replace(chunk, transcode_status="FAILED", error="expired", cleaned=True)
        case _:
            return replace(chunk, cleaned=True)


def _chunk_of(one: ChunkFlushed | TempRecording) -> Chunk:
    return Chunk(one.meeting_id, one.user_id, one.sequence)


def _require(field: str, found: str, place: Callable[..., str], *ids: object) -> None:
    """Refuse a path that is not that of the ids: whoever opens it later would open what somebody else chose.

    Raises:
        InvalidEvent: names the field.
    """
    try:
        expected = place(*ids)
    except InvalidId as error:
        raise InvalidEvent("data", str(error)) from error
    if found != expected:
        raise InvalidEvent(f"data.{field}", f"is not {expected}, the place that its ids give")
