"""`playhead log`: the event log by itself."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from redis.exceptions import RedisError

from playhead.checks.unlogged import accept_lost, find_unlogged
from playhead.commands.types import tell_undeclared
from playhead.eventlog.following import Follower
from playhead.eventlog.gaps import Gap, note_gap
from playhead.eventlog.lines import encode_line
from playhead.eventlog.log import EventLog
from playhead.eventlog.reader import Holes, find_holes, partitions, read, read_last, stat, verify
from playhead.eventlog.segments import partition_directory
from playhead.eventlog.selection import Selection, streams_of
from playhead.settings.errors import ServersNotRunning
from playhead.settings.servers import servers
from playhead.settings.settings import event_log, load
from playhead.streams.errors import InvalidSetting, RedisUnavailable
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.connections import connect
from playhead.streams.telemetry import plain
from playhead.terminal.exit_codes import CORRUPT, DONE
from playhead.terminal.options import DataDir, Json, moment
from playhead.terminal.output import counted, print_json, print_lines, print_table, say, write

_POLL_SECONDS = 0.2

log_app = App(name="log", help="Read and check the event log.")


class PartitionShown(msgspec.Struct, frozen=True):
    """A partition of the log; `bytes` is its size on disk."""

    partition: str
    segments: int
    events: int
    bytes: int
    first: str | None
    last: str | None


class LogShown(msgspec.Struct, frozen=True):
    """What the log holds."""

    events: int
    bytes: int
    partitions: list[PartitionShown]


class FaultShown(msgspec.Struct, frozen=True):
    """Something wrong with the log."""

    kind: str
    file: str
    line: int | None
    position: str | None
    problem: str


class VerificationShown(msgspec.Struct, frozen=True):
    """How many good events there are, and every fault."""

    events: int
    faults: list[FaultShown]


class GapsShown(msgspec.Struct, frozen=True):
    """Places where the log does not follow on, and how many events are known to be missing there."""

    gaps: int
    events: int


@log_app.command(name="stat")
def log_stat(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show how many events the log has, and how large it is.

    Example:
        playhead log stat
    """
    found = stat(event_log(load(data_dir)))
    partitions = [
        PartitionShown(str(one.partition), one.segments, one.events, one.bytes, _text(one.first), _text(one.last))
        for one in found.partitions
    ]
    if json:
        print_json(LogShown(found.events, found.bytes, partitions))
        return
    print_table(
        ("PARTITION", "SEGMENTS", "EVENTS", "BYTES", "FIRST", "LAST"),
        [(one.partition, one.segments, one.events, one.bytes, one.first or "-", one.last or "-") for one in partitions],
    )
    print_lines(f"{counted(found.events, 'event')}, {counted(found.bytes, 'byte')}")


@log_app.command(name="verify")
def log_verify(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Read the whole log and check every checksum; exit code 4 if something is wrong.

    Example:
        playhead log verify --json
    """
    from playhead.terminal.progress import Progress  # Rich, which the other commands do without

    directory = event_log(load(data_dir))
    with Progress("checking the log") as progress:
        found = verify(directory, progress.advanced)
    faults = [
        FaultShown(fault.kind, str(fault.file), fault.line, _text(fault.position), fault.problem)
        for fault in found.faults
    ]
    if json:
        print_json(VerificationShown(found.events, faults))
    else:
        for fault in faults:
            place = fault.file if fault.line is None else f"{fault.file}, line {fault.line}"
            print_lines(f"{place}: {fault.problem}")
        print_lines(f"{counted(found.events, 'event')}, {counted(len(faults), 'fault')}")
    return CORRUPT if faults else DONE


@log_app.command(name="accept-gaps")
def log_accept_gaps(*, dry_run: bool = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Note the events that the log lacks as lost, so that commands and consumers continue without them.

    Use it only if there is no backup to restore them from. `playhead log verify` names the places before and after.

    Args:
        dry_run: Only count; note nothing.

    Example:
        playhead log accept-gaps --dry-run
    """
    settings = load(data_dir)
    root = event_log(settings)
    places = count = 0
    for partition in partitions(root):
        holes = find_holes(root, partition)
        for hole in holes.found if not dry_run else ():
            note_gap(partition_directory(root, partition), Gap(hole.after, hole.position, hole.missing))
        places, count = places + len(holes.found), count + holes.missing
    try:
        reached = servers(settings)
        client = connect(reached.redis_url, settings.redis_timeout)
        for one in find_unlogged(client, settings, reached, say):
            places, count = places + 1, count + one.count
            if not dry_run:
                accept_lost(client, one)
    except (RedisError, RedisUnavailable, ServersNotRunning) as error:
        say(f"only files were looked at: {plain(error)}")
    if json:
        print_json(GapsShown(places, count))
    else:
        would = "would be " if dry_run else ""
        print_lines(f"{counted(places, 'gap')} {would}noted, {counted(count, 'event')} missing")


@log_app.command(name="cat")
def log_cat(
    *,
    stream: list[str] | None = None,
    type: list[str] | None = None,
    subject: str | None = None,
    since: str | None = None,
    until: str | None = None,
    allow_gaps: Annotated[bool, Parameter(negative=())] = False,
    data_dir: DataDir = None,
) -> None:
    """Print events as the log has them, one JSON object a line with position, crc32c and the CloudEvent.

    Args:
        stream: Only this stream; may be repeated.
        type: Only this event type; may be repeated.
        subject: Only this subject.
        since: Only events of this time or later, such as 2025-08-09, 2025-08-09T06:30:00Z or '2 hours ago'.
        until: Only events before this time.
        allow_gaps: Continue where events are missing in the log, and say at the end how many.

    Example:
        playhead log cat --type job.failed --since 2025-08-09 | jq .event.data
    """
    directory = event_log(load(data_dir))
    tell_undeclared(type or ())
    holes = Holes() if allow_gaps else None
    selected = read(
        directory,
        streams=streams_of(stream, directory),
        types=type,
        subject=subject,
        since=moment("--since", since),
        until=moment("--until", until),
        holes=holes,
    )
    _print(recorded for _, recorded in selected)
    if holes is not None and holes.found:
        say(about_holes(holes))


@log_app.command(name="tail")
def log_tail(
    *,
    lines: Annotated[int, Parameter(name=["--lines", "-n"])] = 10,
    follow: bool = False,
    stream: list[str] | None = None,
    type: list[str] | None = None,
    subject: str | None = None,
    data_dir: DataDir = None,
) -> None:
    """Print the last events of the log; with --follow, also each new one, until Ctrl-C.

    Args:
        lines: The number of events to print first.
        follow: Wait for new events.
        stream: Only this stream; may be repeated.
        type: Only this event type; may be repeated.
        subject: Only this subject.

    Example:
        playhead log tail --follow --type job.failed | jq .event.data.error
    """
    if lines < 0:
        raise InvalidSetting("-n takes a number of events from 0 up, such as 10")
    directory = event_log(load(data_dir))
    tell_undeclared(type or ())
    streams = streams_of(stream, directory)
    ends = dict(EventLog(directory).end().positions) if follow else {}
    for partition, recorded in read_last(directory, lines, streams=streams, types=type, subject=subject):
        ends[partition] = max(recorded.position, ends.get(partition, START))
        _print([recorded])
    if follow:
        _follow(directory, streams, Selection(type, subject), ends)


def _follow(
    directory: Path, streams: list[str] | None, selection: Selection, positions: dict[Partition, Position]
) -> None:
    followers: dict[Partition, Follower] = {}
    while True:
        for partition in partitions(directory):
            if streams is None or partition.stream in streams:
                follower = followers.setdefault(partition, Follower(directory, partition))
                _print(_new(follower, partition, selection, positions))
        time.sleep(_POLL_SECONDS)


def _new(
    follower: Follower, partition: Partition, selection: Selection, positions: dict[Partition, Position]
) -> Iterator[Recorded]:
    for recorded in follower.behind(positions.get(partition, START)):
        positions[partition] = recorded.position
        if selection.takes(recorded):
            yield recorded


def _print(events: Iterable[Recorded]) -> None:
    write(map(encode_line, events))


def about_holes(holes: Holes) -> str:
    """How many events are missing in the log."""
    places = counted(len(holes.found), "place")
    return f"{counted(holes.missing, 'event')} missing in the log, at {places}; `playhead log verify` names them"


def _text(position: object | None) -> str | None:
    return None if position is None else str(position)
