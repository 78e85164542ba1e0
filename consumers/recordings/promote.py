"""The worker `promote`: recordings of a meeting once it ended and each of its chunks is finished or failed.

Whichever event completes a meeting finds it complete: each waits until the projection shows it, then looks. One process
promotes a meeting at a time; should a lock be lost, the same chunks still give the same files and the same event ids.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import msgspec
import psycopg

from playhead.consumers.errors import LONGEST_WAIT, Retry
from playhead.consumers.recordings.errors import NotMounted
from playhead.consumers.recordings.ffmpeg import run
from playhead.consumers.recordings.progress import BEHIND, Progress
from playhead.consumers.recordings.promotion import Promoter, strategy_of
from playhead.consumers.work.task import Task
from playhead.projections.migrations import DatabaseNotUpgraded
from playhead.projections.postgres import Connection, connect
from playhead.projections.recordings.rows import (
    Meeting,
    Recording,
    TempRecording,
    chunks_of,
    find_meetings,
    recordings_of,
)
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event
from playhead.streams.names import SCHEMA
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.recordings.events import OfMeeting, read_payload
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.session_file import noted_strategy

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('playhead promote ' || %s, 0))"
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 2.0


class PromoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """After `wait_seconds` a meeting is promoted without what is not finished; `keep` keeps its chunks.

    `patience` is for how many seconds one attempt waits for a projection that is a little behind.
    """

    wait_seconds: float = 300.0
    keep: bool = False
    patience: float = 10.0


class _State(msgspec.Struct, frozen=True):
    meeting: Meeting
    chunks: list[TempRecording]
    recordings: list[Recording]

    @property
    def is_open(self) -> bool:
        return any(chunk.transcode_status in {"QUEUED", "IN_PROGRESS"} for chunk in self.chunks)

    @property
    def has_finished(self) -> bool:
        return any(chunk.transcode_status == "DONE" for chunk in self.chunks)

    @property
    def is_whole(self) -> bool:
        return self.meeting.status == "PROMOTED" and not any(one.missing_chunk_ids for one in self.recordings)

    @property
    def has_late_chunks(self) -> bool:
        """Whether chunks are finished that recordings lack; of such recordings every chunk is still there."""
        missing = {chunk_id for one in self.recordings for chunk_id in one.missing_chunk_ids}
        return any(chunk.id in missing and chunk.transcode_status == "DONE" for chunk in self.chunks)


class Promote:
    """A handler for what may complete a meeting."""

    name = "promote"
    streams: tuple[str, ...] = ("recordings",)
    types = frozenset({"meeting.stopped", "transcode.finished", "transcode.failed"})
    ends = frozenset({"recording.promoted", "recording.promotion_failed"})

    def __init__(
        self,
        files: RecordingFiles,
        promoter: Promoter,
        database_url: str,
        progress: Progress,
        settings: PromoteSettings,
        schema: str = SCHEMA,
    ) -> None:
        self._files, self._promoter = files, promoter
        self._connect = partial(connect, database_url, "playhead-promote", schema=schema)
        self._progress, self._settings = progress, settings

    def key(self, event: Event) -> str | None:
        """Give the meeting."""
        try:
            return read_payload(event, OfMeeting).meeting_id
        except InvalidEvent:
            return None

    async def handle(self, task: Task) -> Sequence[Event]:
        """Promote the meeting if it is complete, or if it is over and has waited long enough.

        Raises:
            InvalidEvent: the event names no meeting.
            Retry: the meeting is over but not complete, the projection is behind, or the database is not upgraded.
        """
        event = task.cause.event
        meeting_id = read_payload(event, OfMeeting).meeting_id
        partition = await asyncio.to_thread(self._progress.partition_of, event.subject)
        if event.type == "meeting.stopped":
            await task.listen(meeting_id)
        connection = await asyncio.to_thread(self._connect)
        with closing(connection):
            try:
                state = await self._look(connection, partition, meeting_id, task.cause.position)
            except psycopg.errors.UndefinedTable as error:
                raise Retry(str(DatabaseNotUpgraded.__doc__), counts=False) from error
            if self._is_due(state, event):
                await self._promote(task, connection, partition, meeting_id)
        if event.type != "meeting.stopped" and not state.is_open:
            await task.wake(meeting_id)
        return []

    async def _promote(self, task: Task, connection: Connection, partition: Partition, meeting_id: str) -> None:
        """Promote the meeting, unless another process does.

        Raises:
            Retry: it may have to be done again.
            NotMounted: no audio at all is there for now.
        """
        event = task.cause.event
        if not await asyncio.to_thread(lock, connection, meeting_id):
            if event.type == "meeting.stopped":
                why = "the meeting is being promoted, perhaps by another process"
                raise Retry(why, after=_AGAIN_SECONDS, counts=False)
            return  # should that one die, its event comes again
        newest = await asyncio.to_thread(self._progress.newest, partition)
        state = await self._look(connection, partition, meeting_id, newest)
        if self._is_due(state, event):
            if state.has_finished and not self._files.has_any("mp3"):
                raise NotMounted(self._files.directory)
            promotion = await run(
                lambda children: self._promoter.promote(state.meeting, state.chunks, children, cause=event)
            )
            await task.append(promotion.events)
            if promotion.complete:
                await asyncio.to_thread(self._clean, meeting_id)

    def give_up(self, task: Task, reason: str) -> Sequence[Event]:
        """Say that the meeting is not promoted, if its end was what we were told of."""
        event = task.cause.event
        if event.type != "meeting.stopped":
            return []
        try:
            meeting_id = read_payload(event, OfMeeting).meeting_id
            if self._files.has_recording(meeting_id):
                return []
        except ValueError:
            return []  # there is no meeting of which to say it
        strategy = strategy_of(Meeting(id=meeting_id, strategy=noted_strategy(self._files, meeting_id)))
        return [self._promoter.failed(meeting_id, strategy, reason, [], event)]

    def _is_due(self, state: _State, event: Event) -> bool:
        """Whether the meeting is to be promoted now.

        Raises:
            Retry: later, unless its last chunk is finished before.
            InvalidEvent: the projection has set its end aside.
        """
        if state.meeting.status == "PROMOTED":
            if state.is_whole and not state.chunks:
                self._clean(state.meeting.id)  # a process may have died before it did
            return state.has_late_chunks and not state.is_open
        if state.meeting.status == "ACTIVE":
            if event.type == "meeting.stopped":
                raise InvalidEvent("meeting.stopped", "the projection recordings has parked it: retry it there first")
            return False
        if not state.is_open:
            return True
        if event.type == "meeting.stopped":
            waits = self._settings.wait_seconds - (datetime.now(UTC) - event.timestamp).total_seconds()
            if waits > 0:
                raise Retry("some chunks are not finished", after=min(waits, LONGEST_WAIT), counts=False)
            return True
        return False

    async def _look(self, connection: Connection, partition: Partition, meeting_id: str, position: Position) -> _State:
        """What the projection says of a meeting, once it has come as far as the position.

        Raises:
            Retry: it does not for now.
            InvalidEvent: it has set the meeting's events aside.
        """
        deadline = time.monotonic() + self._settings.patience
        while await asyncio.to_thread(self._progress.reached, connection, partition) < position:
            if time.monotonic() > deadline:
                raise Retry(BEHIND, after=_AGAIN_SECONDS, counts=False)
            await asyncio.sleep(_LOOK_SECONDS)
        state = await asyncio.to_thread(_read, connection, meeting_id)
        if state is None:
            raise InvalidEvent(
                "data.meeting_id", "the projection recordings has no such meeting: see its parked events"
            )
        return state

    def _clean(self, meeting_id: str) -> None:
        self._files.remove_leftovers(meeting_id)
        if not self._settings.keep:
            self._files.remove_promoted(meeting_id)


def lock(connection: Connection, meeting_id: str) -> bool:
    """Let nobody else promote the meeting until the connection is closed; False if somebody does."""
    row = connection.execute(_LOCK, (meeting_id,)).fetchone()
    return row is not None and bool(row[0])


def _read(connection: Connection, meeting_id: str) -> _State | None:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            meetings = find_meetings(connection, [meeting_id])
        except psycopg.DataError:
            return None  # an id that Postgres cannot hold
        if not meetings:
            return None
        return _State(meetings[0], chunks_of(connection, meeting_id), recordings_of(connection, meeting_id))
