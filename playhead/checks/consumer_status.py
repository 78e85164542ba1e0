"""How each consumer stands on each partition, as Redis says."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.consumers.halts import Halt, unreadable
from playhead.consumers.processes.beats import Beat
from playhead.consumers.reading.group import Report
from playhead.consumers.reading.recovery import Lost, lost_key
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.entries import sequence_number
from playhead.streams.names import CLOCKS, again_key, meta_key, parked_key, presence_key, reports_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import is_missing
from playhead.terminal.output import moment, one_line

Kind = Literal["log", "projection", "worker", "clock"]

_NOWHERE = "?"
"""The position of a consumer of which Redis does not say it."""
_ABSENT = frozenset({"stopped", "paused"})
"""States of a consumer that does not go on, and for which trimming waits."""
_NOT_READY_SECONDS = 60.0
"""A process that cannot serve says so again after half of this at the latest."""


class ConsumerStatus(msgspec.Struct, frozen=True):
    """One consumer on one partition; `lag_seconds` is the age of its oldest unread event, None if not known.

    `since` is when a stopped consumer last reported, or when it was paused or retired. `holds` is how many entries a
    consumer that does not run keeps from being trimmed. A clock reads no partition: its `partition` is `-`.
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
    since: str | None = None
    holds: int | None = None


class UnknownGroup(msgspec.Struct, frozen=True):
    """A group of a partition that no installed domain has; `holds` is how many entries could be trimmed without it."""

    name: str
    partition: str
    position: str
    pending: int
    holds: int | None = None


class PartitionStatus(msgspec.Struct, frozen=True):
    """How each consumer stands on a partition, other groups there, and the oldest entry that each has in hand."""

    standings: "dict[str, Standing]"
    unknown: list[UnknownGroup]
    oldest: dict[str, str]

    def floors(self) -> dict[str, Position]:
        """What each keeps from being trimmed: what it has in hand, and what it has not read, as `trim.lua` does."""
        positions = {one.status.name: one.status.position for one in self.standings.values() if _waited_for(one.status)}
        positions |= {group.name: group.position for group in self.unknown}
        found = {name: Position.parse(position) for name, position in positions.items()}
        return {name: min(at, Position.parse(self.oldest.get(name, str(at)))) for name, at in found.items()}


class Standing(msgspec.Struct, frozen=True):
    """A consumer on one partition, whether nothing is left for it to do there, and whether it ever reported."""

    status: ConsumerStatus
    is_settled: bool
    has_reported: bool


def read_partition(
    client: "Redis | RedisCluster", partition: Partition, names: Sequence[str], halts: Mapping[str, Halt]
) -> PartitionStatus:
    """How each of some consumers stands on a partition, in two round trips; a third if an absent one has work.

    Raises:
        RedisError: Redis did not answer.
    """
    redis, key = cast("Any", client), partition.key
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.hmget(reports_key(key), names)
        for name in names:
            pipeline.exists(presence_key(key, name))
            pipeline.xlen(again_key(key, name))
            pipeline.xlen(parked_key(key, name))
        pipeline.lrange(lost_key(partition), 0, -1)
        pipeline.xinfo_stream(key)  # after the reports: what is appended between them is not yet done
        pipeline.xinfo_groups(key)
        reports, *counts, lost, stream, groups = pipeline.execute(raise_on_error=False)
    found: dict[str, Standing] = {}
    for number, name in enumerate(names):
        try:
            held, again, parked = map(_answer, counts[3 * number : 3 * number + 3])
            raw, group = _answer(reports)[number], _group(groups, name)
            report = None if raw is None else msgspec.json.decode(raw, type=Report)
            halt = halts.get(name)
            state = _state(name, report, held=bool(held)) if halt is None else halt.state
            status = ConsumerStatus(
                name=name,
                kind=kind_of(name),
                partition=str(partition),
                state=state,
                position=str(_position(group, report)),
                lag_events=0,
                lag_seconds=0.0,
                pending=(int(group["pending"]) if group else 0) + (int(again) if name in installed().workers else 0),
                parked=int(parked),
                retries=report.retries if report else 0,
                problem=_problem(name, report, halt),
                lost=_lost(_answer(lost), name),
                since=_since(state, halt, None if report is None else report.at),
            )
            found[name] = _standing(status, report, _last(stream))
        except (ResponseError, ValueError) as error:  # msgspec's and ours are ValueErrors
            found[name] = _unread(name, str(partition), error)
    unknown, oldest = _unknown(groups, partition, names), _oldest(redis, key, groups)
    return _measured(redis, key, PartitionStatus(found, unknown, oldest))


def _answer(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _last(stream: Any) -> Position:
    """The last position that the partition ever had, from what XINFO STREAM says."""
    if isinstance(stream, ResponseError) and is_missing(stream):
        return START
    return Position.parse(_answer(stream)["last-generated-id"])


def _group(groups: Any, name: str) -> Mapping[str, Any] | None:
    if isinstance(groups, ResponseError) and is_missing(groups):
        return None
    return next((group for group in _answer(groups) if group["name"] == name.encode()), None)


def _unknown(groups: Any, partition: Partition, names: Sequence[str]) -> list[UnknownGroup]:
    if isinstance(groups, Exception):
        return []
    found = ((group["name"].decode("utf-8", "backslashreplace"), group) for group in groups)
    return [
        UnknownGroup(name, str(partition), group["last-delivered-id"].decode(), int(group["pending"]))
        for name, group in found
        if name not in names
    ]


def _waited_for(one: ConsumerStatus) -> bool:
    return one.state != "retired" and one.position != _NOWHERE


def _since(state: str, halt: Halt | None, reported: float | None) -> str | None:
    if halt is not None:
        return None if halt.state == "unknown" else moment(halt.since)
    return moment(reported) if state == "stopped" and reported is not None else None


def _problem(name: str, report: Report | None, halt: Halt | None) -> str | None:
    if halt is not None:
        return unreadable(name) if halt.state == "unknown" else None
    return report.problem if report is not None else None


def _position(group: Mapping[str, Any] | None, report: Report | None) -> Position:
    return max(
        Position.parse(group["last-delivered-id"]) if group else START,
        Position.parse(report.position) if report else START,
    )


def _state(name: str, report: Report | None, *, held: bool) -> str:
    if name in installed().workers:
        return "running" if held else "stopped"
    state = report.state if report and (held or _waits(report)) else "stopped"
    # A process that holds its partition and has not reported yet is new; what is there is of the one before.
    return "starting" if held and state == "stopped" else state


def _standing(status: ConsumerStatus, report: Report | None, last: Position) -> Standing:
    """What a consumer has still to do; how far it lags is asked later, if it lags."""
    is_behind = Position.parse(status.position) < last
    if status.kind == "worker":
        is_settled = not is_behind and status.pending == 0
    else:
        is_settled = not is_behind and report is not None and Position.parse(report.settled) >= last
    if is_behind:
        status = msgspec.structs.replace(status, lag_events=None, lag_seconds=None)
    is_settled = is_settled or last == START or status.state == "retired"
    return Standing(status, is_settled, report is not None)


def _measured(redis: Any, key: str, found: PartitionStatus) -> PartitionStatus:
    """The same with how many events each consumer lags, how old the first of these is, and what each holds."""
    everybody = [one.status for one in found.standings.values() if one.status.state not in {"unknown", "retired"}]
    behind = [one for one in everybody if one.lag_events is None]
    absent = [one for one in everybody if one.state in _ABSENT and one.kind != "log"]
    floor = min((Position.parse(one.position) for one in everybody if one not in absent), default=START)
    holders = [*absent, *found.unknown]
    if not behind and not holders:
        return found
    with redis.pipeline(transaction=False) as pipeline:
        for one in behind:
            pipeline.xrange(key, f"({one.position}", "+", count=1)
        for one in holders:
            # What it has in hand or deferred, or what it has not read.
            pipeline.xrange(key, found.oldest.get(one.name, f"({one.position}"), str(floor), count=1)
        pipeline.xrange(key, f"({floor}", "+", count=1)
        pipeline.hget(meta_key(key), "sequence")
        *unread, behind_floor, newest = pipeline.execute(raise_on_error=False)
    standings, unknown = dict(found.standings), list[UnknownGroup]()
    for one, entries in zip(behind, unread[: len(behind)], strict=True):
        try:
            status = _lagging(one, _answer(entries), sequence_number(_answer(newest)))
            standings[one.name] = msgspec.structs.replace(standings[one.name], status=status)
        except ResponseError as error:
            standings[one.name] = _unread(one.name, one.partition, error)
    for one, entries in zip(holders, unread[len(behind) :], strict=True):
        holds = _between(entries, behind_floor, newest)
        if isinstance(one, UnknownGroup):
            unknown.append(msgspec.structs.replace(one, holds=holds))
        else:
            standing = standings[one.name]
            status = msgspec.structs.replace(standing.status, holds=holds)
            standings[one.name] = msgspec.structs.replace(standing, status=status)
    return PartitionStatus(standings, unknown, found.oldest)


def _oldest(redis: Any, key: str, groups: Any) -> dict[str, str]:
    """The oldest entry that each group has in hand, of those that have any."""
    working = [] if isinstance(groups, Exception) else [group["name"] for group in groups if group["pending"]]
    if not working:
        return {}
    with redis.pipeline(transaction=False) as pipeline:
        for name in working:
            pipeline.xpending(key, name)
        replies = pipeline.execute(raise_on_error=False)
    return {
        name.decode("utf-8", "backslashreplace"): pending["min"].decode()
        for name, pending in zip(working, replies, strict=True)
        if not isinstance(pending, Exception) and pending["min"] is not None
    }


def _between(first: Any, behind: Any, newest: Any) -> int | None:
    """How many entries there are from one up to that before another, by their sequence numbers, if these say so."""
    if any(isinstance(reply, Exception) for reply in (first, behind, newest)):
        return None
    if not first:
        return 0
    begin = sequence_number(first[0][1].get(b"ce_sequence"))
    end = sequence_number(behind[0][1].get(b"ce_sequence")) if behind else sequence_number(newest)
    return None if begin is None or end is None else max(0, end - begin + (0 if behind else 1))


def _lagging(status: ConsumerStatus, unread: Sequence[Any], newest: int | None) -> ConsumerStatus:
    if not unread:
        return status
    ((entry_id, fields),) = unread
    first = sequence_number(fields.get(b"ce_sequence"))
    return msgspec.structs.replace(
        status,
        lag_events=None if first is None or newest is None else newest - first + 1,
        lag_seconds=max(0.0, time.time() - Position.parse(entry_id).milliseconds / 1000),
    )


def _unread(name: str, partition: str, error: Exception) -> Standing:
    """What is shown where Redis does not say how a consumer is."""
    said = one_line(error)
    status = ConsumerStatus(name, kind_of(name), partition, "unknown", _NOWHERE, None, None, 0, 0, 0, said, 0)
    return Standing(status, is_settled=False, has_reported=False)


def clocks(client: "Redis | RedisCluster", halts: Mapping[str, Halt]) -> list[ConsumerStatus]:
    """Whether each clock runs, by its heartbeat."""
    try:
        beats = cast("dict[bytes, bytes]", cast("Any", client).hgetall(CLOCKS))
    except ResponseError:  # `damaged` says so
        beats = {}
    found: list[ConsumerStatus] = []
    for name in installed().clocks:
        beat, halt = _beat(beats.get(name.encode())), halts.get(name)
        state, problem = ("running", beat.problem) if beat is not None and beat.is_running else ("stopped", None)
        if halt is not None:
            state, problem = halt.state, _problem(name, None, halt)
        since = _since(state, halt, None if beat is None else beat.at)
        found.append(ConsumerStatus(name, "clock", "-", state, "-", 0, 0.0, 0, 0, 0, problem, 0, since))
    return found


def _beat(raw: bytes | None) -> Beat | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=Beat)
    except msgspec.MsgspecError:
        return None


def _waits(report: Report | None) -> bool:
    """Whether a process gave its lease back, because it cannot serve, and still tries."""
    return report is not None and report.state == "not ready" and time.time() - report.at < _NOT_READY_SECONDS


def _lost(noted: Sequence[bytes], name: str) -> int:
    losses = (msgspec.json.decode(raw, type=Lost) for raw in noted)
    return sum(lost.count for lost in losses if lost.projection == name)


def kind_of(name: str) -> Kind:
    """What kind of consumer has a name."""
    if name in installed().projections:
        return "projection"
    if name in installed().workers:
        return "worker"
    return "log" if name == LOG else "clock"
