"""What every consumer has done and has yet to do."""

import sys
import time
from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.checks.unlogged import UnloggedShown, find_unlogged
from playhead.commands.subscriptions import SubscriptionStatus, print_subscriptions, read_subscriptions
from playhead.consumers.processes.beats import Beat
from playhead.consumers.reading.group import Report
from playhead.consumers.reading.keys import find_wrong_keys
from playhead.consumers.reading.parked import parked_by_unknown
from playhead.consumers.reading.recovery import Lost, lost_key
from playhead.eventlog.replay.runs import Unfinished, unfinished
from playhead.eventlog.segments import partition_count
from playhead.settings.core import CURSORS_DIR
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, load
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import KeyDamaged
from playhead.streams.names import CLOCKS, again_key, presence_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.connections import connect
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.redis.stream_info import groups_of, last_position
from playhead.terminal.exit_codes import BEHIND, DONE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, one_line, print_json, print_table, say
from playhead.wiring import lacking

Kind = Literal["log", "projection", "worker", "clock"]


class Consumer(msgspec.Struct, frozen=True):
    """A consumer that `playhead run` knows, and the domain and package that declare it."""

    name: str
    kind: Kind
    streams: tuple[str, ...]
    domain: str | None
    package: str


class Consumers(msgspec.Struct, frozen=True):
    """Every consumer there is."""

    consumers: list[Consumer]


class ConsumerStatus(msgspec.Struct, frozen=True):
    """One consumer on one partition; `lag_seconds` is the age of its oldest unread event, None if not known.

    A clock reads no partition: its `partition` and `position` are `-`.
    """

    name: str
    kind: Kind
    partition: str
    state: str
    position: str
    lag_events: int | None
    lag_seconds: float | None
    pending: int
    parked: int
    retries: int
    problem: str | None
    lost: int


class Floor(msgspec.Struct, frozen=True):
    """A partition is trimmed below `position`, which is as far as the consumer `held_by` has come."""

    partition: str
    position: str
    held_by: str


class Status(msgspec.Struct, frozen=True):
    """All consumers; caught up means that every event took effect everywhere or is parked, and no replay is under way.

    A replay that was cut short is under way until what it sent is applied. `parked` counts the events that took no
    effect somewhere, those of consumers in `unknown`, which this installation does not have, included. `not_running`
    names the consumers without a process, `damaged` says what is wrong with keys in Redis, `unlogged` what
    the log lacks.
    """

    caught_up: bool
    consumers: list[ConsumerStatus]
    replays: list[Unfinished]
    held: list[Floor]
    subscriptions: list[SubscriptionStatus] = []
    parked: int = 0
    unknown: dict[str, int] = {}
    not_running: list[str] = []
    damaged: list[str] = []
    unlogged: list[UnloggedShown] = []

    @property
    def exit_code(self) -> int:
        """0 only if everything that was promised is so."""
        return DONE if self.caught_up and not (self.not_running or self.damaged or self.unlogged) else BEHIND


_CLEAR = "\033[H\033[J"
_WATCH_SECONDS = 1.0
_NOT_READY_SECONDS = 60.0
"""A process that cannot serve says so again after half of this at the latest."""


def consumers(*, json: Json = False) -> None:
    """List every consumer, the streams that it reads, and the package that declares it.

    Example:
        playhead consumers
    """
    known = [_listed(name) for name in installed().consumers]
    if json:
        print_json(Consumers(known))
    else:
        print_table(
            ("CONSUMER", "KIND", "STREAMS", "DOMAIN", "PACKAGE"),
            [(one.name, one.kind, ", ".join(one.streams) or "-", one.domain or "-", one.package) for one in known],
        )


def status(*, watch: bool = False, data_dir: DataDir = None, json: Json = False) -> int:
    """Show the position, lag and health of every consumer; exit code 5 if one is behind or does not run.

    A worker that lacks what it works with on this machine, such as ffmpeg, need not run.

    Args:
        watch: Refresh every second, until Ctrl-C; with --json, print one object a line.

    Example:
        playhead status --watch
    """
    settings = load(data_dir)
    client = connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)
    while True:
        found = read_status(client, settings.partitions, lacking(settings), log=settings.event_log_dir)
        found = _with_subscriptions(found, client, settings)
        if not found.damaged:
            unlogged = find_unlogged(client, settings, servers(settings), say)
            found = msgspec.structs.replace(found, unlogged=unlogged)
        if not watch:
            _print(found, json=json)
            return found.exit_code
        if json:
            print(msgspec.json.encode(found).decode(), flush=True)
        else:
            print(_CLEAR if sys.stdout.isatty() else "", end="")
            _print(found, json=False)
            sys.stdout.flush()
        time.sleep(_WATCH_SECONDS)


def read_status(
    client: "Redis | RedisCluster",
    partitions: int | None = None,
    not_needed: Container[str] = frozenset[str](),
    *,
    log: Path | None = None,
) -> Status:
    """Ask Redis, a few commands a partition; consumers in `not_needed` may be without a process.

    Raises:
        PartitionsChanged: `partitions` is set, and another number than that of a stream.
    """
    counts = read_counts(client, partitions, log)
    consumers: list[ConsumerStatus] = []
    caught_up, heard = True, False  # a Redis in which no consumer ever reported, or that was emptied, is not caught up
    for name, streams in installed().reads.items():
        for stream in streams:
            for number in range(counts[stream]):
                partition = Partition(stream, number)
                try:
                    status, settled, reported = _consumer(client, name, partition)
                except (ResponseError, ValueError) as error:  # msgspec's and ours are ValueErrors
                    status, settled, reported = _unreadable(name, partition, error), False, False
                heard = heard or reported
                consumers.append(status)
                caught_up = caught_up and settled
    everywhere = {
        Partition(stream, number): names
        for stream, names in installed().readers.items()
        for number in range(counts[stream])
    }
    damaged = [wrong.problem for wrong in find_wrong_keys(client, everywhere)]
    replays = [] if damaged else unfinished(client, everywhere)
    caught_up = caught_up and all(one.applied and one.state == "interrupted" for one in replays)
    consumers += clocks(client)
    unknown = {} if damaged else parked_by_unknown(client, everywhere)
    return Status(
        caught_up and heard and not damaged,
        consumers,
        replays,
        _held(consumers),
        parked=sum(one.parked for one in consumers) + sum(unknown.values()),
        unknown=unknown,
        not_running=[
            name
            for name in installed().consumers
            if name not in not_needed and all(one.state == "stopped" for one in consumers if one.name == name)
        ],
        damaged=damaged,
    )


def read_counts(client: "Redis | RedisCluster", partitions: int | None, log: Path | None) -> dict[str, int]:
    """The number of partitions of each stream; that of the log if the record is damaged.

    Raises:
        PartitionsChanged: `partitions` is set, and another number than that of a stream.
    """
    logged = partial(partition_count, log)
    try:
        return PartitionCounts(lambda: client, partitions, logged=logged).read(installed().streams)
    except KeyDamaged:  # `find_wrong_keys` says so
        return {stream: logged(stream) or partitions or 1 for stream in installed().streams}


def _with_subscriptions(found: Status, client: "Redis | RedisCluster", settings: Settings) -> Status:
    directory = settings[CURSORS_DIR]
    try:
        return msgspec.structs.replace(found, subscriptions=list(read_subscriptions(client, settings, directory)))
    except (OSError, ResponseError, ValueError) as error:  # what consumers do is worth knowing all the same
        say(f"the cursors of subscriptions cannot be read: {error}")
        return found


def _held(consumers: Sequence[ConsumerStatus]) -> list[Floor]:
    """Partitions in which some consumer is further than another, which keeps entries from being trimmed."""
    found: list[Floor] = []
    for partition in dict.fromkeys(one.partition for one in consumers if one.kind != "clock"):
        positions = {one.name: Position.parse(one.position) for one in consumers if one.partition == partition}
        last = min(positions, key=lambda name: positions[name])
        if positions[last] < max(positions.values()):
            found.append(Floor(partition, str(positions[last]), last))
    return found


def _lost(redis: Any, name: str, partition: Partition) -> int:
    noted = (msgspec.json.decode(raw, type=Lost) for raw in redis.lrange(lost_key(partition), 0, -1))
    return sum(lost.count for lost in noted if lost.projection == name)


def _kind(name: str) -> Kind:
    if name in installed().projections:
        return "projection"
    if name in installed().workers:
        return "worker"
    return "log" if name == LOG else "clock"


def _listed(name: str) -> Consumer:
    domain = installed().domain_of(name)
    streams = installed().reads[name]
    if domain is None:
        return Consumer(name, _kind(name), streams, None, "playhead")
    return Consumer(name, _kind(name), streams, domain.name, domain.package)


def _print(found: Status, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    print_table(
        ("CONSUMER", "PARTITION", "STATE", "POSITION", "LAG", "SECONDS", "PENDING", "PARKED"),
        [
            (
                one.name,
                one.partition,
                one.state,
                one.position,
                "?" if one.lag_events is None else one.lag_events,
                "?" if one.lag_seconds is None else f"{one.lag_seconds:.0f}",
                one.pending,
                one.parked,
            )
            for one in found.consumers
        ],
    )
    if found.subscriptions:
        print_subscriptions(found.subscriptions)
    for one in found.consumers:
        if one.problem:
            print(f"{one.name} {one.partition}: {one.problem}")
        if one.lost:
            print(f"{one.name} {one.partition}: {counted(one.lost, 'event')} lost; `playhead verify` names them")
    for floor in found.held:
        print(f"{floor.partition}: {floor.held_by} holds trimming at {floor.position}")
    for replay in found.replays:
        how = "" if replay.state == "running" else f"; `playhead replay --resume {replay.run}` continues it"
        print(f"replay {replay.run}: {replay.state}{how}")
    _print_summary(found)


def _print_summary(found: Status) -> None:
    """What is not as it should be of the whole, and the verdict."""
    for problem in found.damaged:
        print(f"{problem}; `playhead doctor` says what to do")
    for one in found.unlogged:
        print(f"{one.partition}: {one.problem}; `playhead doctor` says what to do")
    for name, count in found.unknown.items():
        print(f"{name}: {count} parked; no domain that is installed here has it")
    if found.not_running:
        print(f"not running: {', '.join(found.not_running)}; start each with `playhead run`, or all with `playhead up`")
    parked = f", but {found.parked} parked: `playhead parked list`" if found.parked else ""
    print(("caught up" if found.caught_up else "not caught up") + parked)


def _consumer(client: "Redis | RedisCluster", name: str, partition: Partition) -> tuple[ConsumerStatus, bool, bool]:
    redis = cast("Any", client)
    key = partition.key
    raw = redis.hget(f"{key}:consumers", name)
    report = msgspec.json.decode(raw, type=Report) if raw else None
    held = bool(redis.exists(presence_key(key, name)))
    last, group = last_position(client, partition), groups_of(client, partition).get(name)
    position = Position.parse(group["last-delivered-id"]) if group else START
    if report is not None:
        position = max(position, Position.parse(report.position))
    lag_events, lag_seconds = _lag(redis, key, position, last)
    pending = int(group["pending"]) if group else 0
    if name in installed().workers:
        pending += int(redis.xlen(again_key(key, name)))
        settled = lag_events == 0 and pending == 0
        state = "running" if held else "stopped"
    else:
        settled = report is not None and Position.parse(report.settled) >= last and lag_events == 0
        state = report.state if report and (held or _waits(report)) else "stopped"
        if held and state == "stopped":  # its process has not reported yet; what is there is of the one before
            state = "starting"
    status = ConsumerStatus(
        name=name,
        kind=_kind(name),
        partition=str(partition),
        state=state,
        position=str(position),
        lag_events=lag_events,
        lag_seconds=lag_seconds,
        pending=pending,
        parked=int(redis.xlen(f"{key}:parked:{name}")),
        retries=report.retries if report else 0,
        problem=report.problem if report else None,
        lost=_lost(redis, name, partition),
    )
    return status, settled or last == START, report is not None


def _unreadable(name: str, partition: Partition, error: Exception) -> ConsumerStatus:
    """What is shown where Redis does not say how a consumer is."""
    return ConsumerStatus(
        name, _kind(name), str(partition), "unknown", str(START), None, None, 0, 0, 0, f"{one_line(error)}", 0
    )


def clocks(client: "Redis | RedisCluster") -> list[ConsumerStatus]:
    """Whether each clock runs, by its heartbeat."""
    try:
        beats = cast("dict[bytes, bytes]", cast("Any", client).hgetall(CLOCKS))
    except ResponseError:  # `damaged` says so
        beats = {}
    found: list[ConsumerStatus] = []
    for name in installed().clocks:
        beat = _beat(beats.get(name.encode()))
        state, problem = ("running", beat.problem) if beat is not None and beat.is_running else ("stopped", None)
        found.append(ConsumerStatus(name, "clock", "-", state, "-", 0, 0.0, 0, 0, 0, problem, 0))
    return found


def _beat(raw: bytes | None) -> Beat | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Beat)
    except msgspec.MsgspecError:
        return None


def _waits(report: Report | None) -> bool:
    """Whether a process gave its lease back, because it cannot serve, and still tries."""
    return report is not None and report.state == "not ready" and time.time() - report.at < _NOT_READY_SECONDS


def _lag(redis: Any, key: str, position: Position, last: Position) -> tuple[int | None, float | None]:
    if position >= last:
        return 0, 0.0
    unread = redis.xrange(key, f"({position}", "+", count=1)
    if not unread:
        return None, None
    entry_id, fields = unread[0]
    seconds = max(0.0, time.time() - Position.parse(entry_id).milliseconds / 1000)
    newest = redis.hget(f"{key}:meta", "sequence")
    first = fields.get(b"ce_sequence")
    if newest is None or first is None:
        return None, seconds
    return int(newest) - int(first) + 1, seconds
