"""The sweep ends sessions that never ended, so that they are promoted; if nothing is finished, audio goes.

The tables say which those are, so it leaves alone whatever the tables may lack an event of.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from playhead.consumers.recordings.progress import Progress
from playhead.projections.postgres import Connection
from playhead.projections.recordings.overview import Overview, overview
from playhead.projections.recordings.rows import TempRecording, chunks_of
from playhead.streams.events import Event
from playhead.streams.partitions import Partition
from playhead.streams.recordings.errors import SessionUnreadable
from playhead.streams.recordings.events import ChunkExpired, make_event_id, meeting_event, stopped_event, subject_of
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.session_file import session_events
from playhead.streams.storage.filenames import decode_name

_LOOK_SECONDS = 0.05
_SOURCE = "playhead/sweep"


class Swept(msgspec.Struct, frozen=True):
    """A session that was abandoned; `finished` of its chunks become recordings, or else `expired` ones are gone."""

    meeting_id: str
    finished: int
    expired: int


class Left(msgspec.Struct, frozen=True):
    """A session that seems abandoned, and why it was left alone."""

    meeting_id: str
    reason: str


class Sweep:
    """Ends sessions of which nothing was heard for so long. What a recorder still holds open is left alone.

    `patience` is for how many seconds it waits for a projection that is a little behind.
    """

    def __init__(
        self,
        files: RecordingFiles,
        progress: Progress,
        append: Callable[[Sequence[Event]], object],
        *,
        older: timedelta,
        patience: float = 5.0,
    ) -> None:
        self._files, self._progress, self._append = files, progress, append
        self._older, self._patience = older, patience

    def run(self, connection: Connection) -> tuple[list[Swept], list[Left]]:
        """Sweep once.

        What a recorder that died had on disk and never said is said for it, so it becomes part of the recording.
        """
        before = datetime.now(UTC) - self._older
        doubts = self._doubts(connection)  # first: what the tables show later is no less
        meetings = overview(connection)
        swept: list[Swept] = []
        left: list[Left] = []
        for meeting_id, events in self._unheard_of({meeting.id for meeting in meetings}, before):
            if isinstance(events, SessionUnreadable):
                left.append(Left(meeting_id, str(events)))
            elif reason := self._reason(meeting_id, doubts):
                left.append(Left(meeting_id, reason))
            else:
                self._append(events)
        for meeting in meetings:
            seen = self._files.last_sign_of_life(meeting.id)
            if meeting.status != "ACTIVE" or max(meeting.last_event_at, seen or meeting.last_event_at) > before:
                continue
            done = self._reason(meeting.id, doubts) or self._end(connection, meeting)
            if isinstance(done, Swept):
                swept.append(done)
            else:
                left.append(Left(meeting.id, done))
        return swept, left

    def _doubts(self, connection: Connection) -> dict[Partition, str]:
        """Partitions of which the tables may lack something, with the reason; a projection that runs is waited for."""
        deadline = time.monotonic() + self._patience
        while True:
            found = {each: self._progress.doubt(connection, each) for each in self._progress.partitions}
            doubts = {partition: reason for partition, reason in found.items() if reason is not None}
            if not doubts or time.monotonic() > deadline:
                return doubts
            time.sleep(_LOOK_SECONDS)

    def _reason(self, meeting_id: str, doubts: dict[Partition, str]) -> str | None:
        """Why a meeting is not to be judged by the tables."""
        subject = subject_of(meeting_id)
        partition = self._progress.partition_of(subject)
        if partition in doubts:
            return doubts[partition]
        if self._progress.parks(partition, subject):
            return "the projection recordings has parked events of it: see `playhead parked list recordings`"
        return None

    def _unheard_of(self, known: set[str], before: datetime) -> Iterator[tuple[str, list[Event] | SessionUnreadable]]:
        """The events of sessions that are on disk alone, or why they cannot be made; once known, they can be ended."""
        for path in self._files.sessions():
            with suppress(FileNotFoundError, ValueError):  # gone meanwhile, or of no recorder of ours
                meeting_id = decode_name(path.parent.name)
                if meeting_id in known or datetime.fromtimestamp(path.stat().st_mtime, UTC) >= before:
                    continue
                try:
                    yield meeting_id, session_events(self._files, path)
                except SessionUnreadable as error:
                    if any(self._files.chunks("pcm", meeting_id)):
                        yield meeting_id, error

    def _end(self, connection: Connection, meeting: Overview) -> Swept | str:
        """End a meeting, or say why not. No MP3 goes, nor what the transcoder may yet make one of.

        Its chunks are read again, and after its notes: another sweep may have said some since the meeting was found,
        and what it said may be promoted, and its notes be gone, by now.
        """
        unreadable: SessionUnreadable | None = None
        noted: list[Event] = []
        try:
            noted = session_events(self._files, self._files.path(self._files.session(meeting.id)))
        except FileNotFoundError:
            pass
        except SessionUnreadable as error:
            unreadable = error
        chunks = chunks_of(connection, meeting.id)
        if unreadable is not None and self._has_unsaid_audio(meeting.id, chunks):
            return str(unreadable)
        known = {make_event_id("chunk.flushed", meeting.id, chunk.id) for chunk in chunks}
        done = sum(chunk.transcode_status == "DONE" for chunk in chunks)
        unsaid = [event for event in noted if event.type != "meeting.started" and event.id not in known]
        expired: list[TempRecording] = []
        if not unsaid and not done and not any(self._files.chunks("mp3", meeting.id)):
            partition = self._progress.partition_of(subject_of(meeting.id))
            unfinished = any(chunk.transcode_status in {"QUEUED", "IN_PROGRESS"} for chunk in chunks)
            if unfinished and self._progress.has_work(partition, "transcode"):
                return "the worker transcode has not come to its chunks: see that it runs"
            expired = chunks
            self._files.remove_chunks(meeting.id, "pcm")  # first: a sweep that dies behind it finds the session again
        events = [
            meeting_event(
                ChunkExpired(meeting_id=meeting.id, temp_recording_id=chunk.id, user_id=chunk.user_id),
                _SOURCE,
                about=chunk.id,
            )
            for chunk in expired
        ]
        if not any(event.type == "meeting.stopped" for event in unsaid):
            users = (chunk.user_id for chunk in chunks)
            events.append(stopped_event(meeting.id, users, _SOURCE, reason="abandoned"))
        self._append([*unsaid, *events])
        return Swept(meeting.id, done, len(expired))

    def _has_unsaid_audio(self, meeting_id: str, chunks: Sequence[TempRecording]) -> bool:
        known = {(chunk.user_id, chunk.sequence) for chunk in chunks}
        return any((chunk.user_id, chunk.sequence) not in known for chunk in self._files.chunks("pcm", meeting_id))
