"""`playhead recordings`: meetings, their chunks and their recordings."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cyclopts import App

from playhead.commands.spool import open_producer
from playhead.consumers.recordings.ffmpeg import Children
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.promote import lock
from playhead.consumers.recordings.sweep import Sweep
from playhead.projections.migrations import require_upgraded
from playhead.projections.postgres import Connection, connect
from playhead.projections.recordings.overview import list_files, lost_files
from playhead.projections.recordings.rows import (
    Meeting,
    Recording,
    TempRecording,
    chunks_of,
    find_meetings,
    recordings_of,
)
from playhead.recordings.audio_import import import_files
from playhead.recordings.domain import KEEP_CHUNKS, RECORDINGS_DIR, SWEEP_SECONDS
from playhead.recordings.workers import make_promoter
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, load
from playhead.streams.events import Event
from playhead.streams.recordings.events import Strategy, stopped_event
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.ids import text_of
from playhead.streams.redis.connections import connect as connect_redis
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir, Json, not_negative
from playhead.terminal.output import print_json, print_lines, print_table, say

recordings_app = App(name="recordings", help="List, promote, sweep and import recordings of meetings.")
recordings_app.command(import_files, name="import")

_FAILED = 1


class Stuck(msgspec.Struct, frozen=True):
    """A meeting that does not come to its end."""

    meeting_id: str
    last_event_at: datetime
    reason: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All there is about a meeting; `missing_files` are recordings that are not in the directory of recordings."""

    meeting: Meeting
    chunks: list[TempRecording]
    recordings: list[Recording]
    missing_files: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether its recordings lack nothing; a chunk that came later must not take the place of all the others."""
        return self.meeting.status == "PROMOTED" and not any(one.missing_chunk_ids for one in self.recordings)


@recordings_app.command(name="list")
def list_meetings(*, data_dir: DataDir = None, json: Json = False) -> None:
    """List meetings, the newest first, with the number of their chunks and recordings.

    A promoted meeting whose recordings are not all in PLAYHEAD_RECORDINGS_DIR has the status FILES_MISSING.

    Example:
        playhead recordings list
    """
    settings = load(data_dir)
    with _database(settings) as connection:
        found = list_files(connection, RecordingFiles(settings[RECORDINGS_DIR]))
    if json:
        print_json(found)
        return
    print_table(
        ("MEETING", "STATUS", "STRATEGY", "STARTED", "DONE", "FAILED", "UNFINISHED", "RECORDINGS"),
        [
            (
                one.id,
                one.status,
                one.strategy or "-",
                _time(one.started_at),
                one.done,
                one.failed,
                one.unfinished,
                one.recordings,
            )
            for one in found
        ],
    )


@recordings_app.command
def show(meeting: str, /, *, data_dir: DataDir = None, json: Json = False) -> int:
    """Show a meeting, its chunks and its recordings.

    Args:
        meeting: The meeting's id.

    Example:
        playhead recordings show meeting-7
    """
    settings = load(data_dir)
    with _database(settings) as connection:
        found = _find(connection, settings, meeting)
    if found is None:
        return _FAILED
    if json:
        print_json(found)
        return 0
    status = "FILES_MISSING" if found.missing_files else found.meeting.status
    print_lines(f"{meeting}: {status}" + (f", {found.meeting.problem}" if found.meeting.problem else ""))
    if found.chunks:
        print_table(
            ("CHUNK", "USER", "SEQUENCE", "STATUS", "MILLISECONDS", "PROBLEM"),
            [
                (one.id, one.user_id, one.sequence, one.transcode_status, one.duration_ms or "-", one.error or "-")
                for one in found.chunks
            ],
        )
    _print_recordings(settings, found)
    return 0


@recordings_app.command
def stuck(*, idle: float = 300, data_dir: DataDir = None, json: Json = False) -> None:
    """List unfinished meetings, with the reason.

    Args:
        idle: Only meetings with no event for this many seconds.

    Example:
        playhead recordings stuck
    """
    not_negative("--idle", idle)
    settings = load(data_dir)
    with _database(settings) as connection:
        found = [
            Stuck(one.id, one.last_event_at, reason)
            for one in list_files(connection, RecordingFiles(settings[RECORDINGS_DIR]))
            if (reason := one.stuck(datetime.now(UTC), timedelta(seconds=idle))) is not None
        ]
    if json:
        print_json(found)
    else:
        print_table(
            ("MEETING", "LAST EVENT", "REASON"),
            [(one.meeting_id, _time(one.last_event_at), one.reason) for one in found],
        )


@recordings_app.command
def promote(
    meeting: str,
    /,
    *,
    strategy: Strategy | None = None,
    end: bool = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Make the recordings of a meeting now, from finished chunks; exit code 1 if there is none.

    Args:
        meeting: The meeting's id.
        strategy: The strategy; the recorder's if omitted.
        end: End the meeting first, if its recorder is gone for good.

    Example:
        playhead recordings promote meeting-7 --strategy meeting
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    promoter = make_promoter(settings)
    with _database(settings) as connection, open_producer(settings) as producer:
        found = _find(connection, settings, meeting)
        if found is None:
            return _FAILED
        if not lock(connection, found.meeting.id):
            say("another process promotes it now")
            return _FAILED
        if found.is_whole and not (found.chunks and settings[KEEP_CHUNKS]):
            say("it is promoted, and its chunks are deleted: see `playhead recordings show`")
            return _FAILED
        if found.meeting.status == "ACTIVE" and not end:
            say("it has not ended; if its recorder is gone for good, pass --end")
            return _FAILED
        ending = [_ended(found)] if found.meeting.status == "ACTIVE" else []
        promotion = promoter.promote(found.meeting, found.chunks, Children(), strategy=strategy)
        producer.append_events([*ending, *promotion.events])
        if promotion.complete and not settings[KEEP_CHUNKS]:
            RecordingFiles(settings[RECORDINGS_DIR]).remove_promoted(found.meeting.id)
    payloads: list[dict[str, Any]] = [msgspec.json.decode(event.data) for event in promotion.events]
    if json:
        print_json(payloads)
    for payload in payloads:
        _say_promoted(settings, payload, json=json)
    return _FAILED if any("error" in payload for payload in payloads) else 0


@recordings_app.command
def sweep(*, older: float | None = None, data_dir: DataDir = None, json: Json = False) -> None:
    """End abandoned sessions, so that they are promoted; if nothing is finished, remove their audio.

    Args:
        older: Only sessions without a heartbeat for this many seconds; PLAYHEAD_SWEEP_SECONDS if omitted.

    Example:
        playhead recordings sweep
    """
    not_negative("--older", older)
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    with _database(settings) as connection, open_producer(settings) as producer:
        swept, left = Sweep(
            RecordingFiles(settings[RECORDINGS_DIR]),
            Progress(connect_redis(servers(settings, postgres=False).redis_url, settings.redis_timeout)),
            producer.append_events,
            older=timedelta(seconds=settings[SWEEP_SECONDS] if older is None else older),
        ).run(connection)
    for one in left:
        say(f"{one.meeting_id} is skipped: {one.reason}")
    if json:
        print_json(swept)
    else:
        print_table(("MEETING", "FINISHED", "EXPIRED"), [(one.meeting_id, one.finished, one.expired) for one in swept])


@contextmanager
def _database(settings: Settings) -> Generator[Connection, None, None]:
    reached = servers(settings, redis=False)
    with closing(connect(reached.database_url, "playhead-recordings-command", schema=reached.schema)) as connection:
        require_upgraded(connection)
        yield connection


def _find(connection: Connection, settings: Settings, meeting: str) -> Shown | None:
    meeting_id = text_of(meeting)
    meetings = find_meetings(connection, [meeting_id])
    if not meetings:
        say(f"there is no meeting {meeting!r}; see `playhead recordings list`")
        return None
    recordings = recordings_of(connection, meeting_id)
    return Shown(
        meeting=meetings[0],
        chunks=chunks_of(connection, meeting_id),
        recordings=recordings,
        missing_files=lost_files(RecordingFiles(settings[RECORDINGS_DIR]), recordings),
    )


def _ended(found: Shown) -> Event:
    users = (chunk.user_id for chunk in found.chunks)
    return stopped_event(found.meeting.id, users, "playhead", reason="ended by hand")


def _say_promoted(settings: Settings, payload: dict[str, Any], *, json: bool) -> None:
    if "error" in payload:
        say(f"not promoted: {payload['error']}")
    elif not json:
        print_lines(f"{settings[RECORDINGS_DIR] / payload['filename']}  {payload['duration_in_ms'] / 1000:.1f} seconds")
    for cut in payload.get("cuts", []):
        say(f"{cut['length_ms'] / 1000:.1f} seconds of silence are cut at {cut['at_ms'] / 1000:.1f} seconds")


def _print_recordings(settings: Settings, found: Shown) -> None:
    if found.recordings:
        print_table(
            ("RECORDING", "USER", "SECONDS", "LACKS", "CUT", "FILE"),
            [
                (
                    one.id,
                    "all" if one.user_id is None else one.user_id,
                    f"{one.duration_in_ms / 1000:.1f}",
                    len(one.missing_chunk_ids),
                    f"{sum(cut.length_ms for cut in one.cuts) / 1000:.1f}",
                    _place(settings, found, one),
                )
                for one in found.recordings
            ],
        )


def _place(settings: Settings, found: Shown, recording: Recording) -> str:
    place = str(settings[RECORDINGS_DIR] / recording.filename)
    return f"{place} (not there)" if recording.filename in found.missing_files else place


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.astimezone(UTC).isoformat(" ", "seconds")
