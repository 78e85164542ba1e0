"""What the log lacks at its end: whatever Redis, Postgres or files show that it had, or should have."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.checks.check import Check
from playhead.checks.marks import find_marks
from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.reading.recovery import Lost, lost_key
from playhead.consumers.reading.unlogged import NOWHERE, UNLOGGED, SinkMark, StreamState, Unlogged, find_missing
from playhead.eventlog.ends import LogEnd, end_of
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.reader import check_chain as check_partition
from playhead.eventlog.reader import partitions
from playhead.settings.producers import partition_counts
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.entries import sequence_number
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import group_position, last_position
from playhead.wiring import file_source

_LOOKS = 3
_BETWEEN_LOOKS = 0.1


class UnloggedShown(msgspec.Struct, frozen=True):
    """Events that the log lacks between two positions, and the projections that have them."""

    partition: str
    count: int
    after: str
    before: str
    kept_by: list[str]
    is_noted: bool

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence."""
        many = "1 event is" if self.count == 1 else f"{self.count} events are"
        kept = f"; {', '.join(self.kept_by)} may have them" if self.kept_by else ""
        return f"{many} missing in the log between {self.after} and {self.before}{kept}"

    def advice(self, settings: Settings) -> str:
        """What to do."""
        accept, source = "`playhead log accept-gaps` notes them as lost", file_source(settings)
        if source is not None and source.projection in self.kept_by:
            return (
                "restore the event log from a backup that has them, or run `playhead replay --use-default-output-dir"
                f" --include-failed`, which imports them from the files; what is left then, {accept}"
            )
        return f"restore the event log from a backup that has them; if there is none, {accept}"


def find_unlogged(
    client: "Redis | RedisCluster", settings: Settings, servers: Servers, complain: Callable[[str], object]
) -> list[UnloggedShown]:
    """What the log lacks, in every partition: what is noted, and what nobody has noted yet.

    What the stream still has is not missing: the log writer writes it. Nothing is compared where the log is not.

    Raises:
        RedisError: Redis did not answer.
    """
    root, found = settings.event_log_dir, list[UnloggedShown]()
    if not root.is_dir():
        return found
    marks = find_marks(settings, servers, complain)
    numbered = partition_counts(client, settings).every(installed().streams)
    for partition in sorted({*numbered, *partitions(root)}):
        try:
            found += _unlogged_of(client, settings, partition, marks)
        except LogCorrupt as error:
            complain(f"{partition}: the end of the log cannot be read, so nothing is compared with it: {error}")
        except ValueError as error:  # msgspec's and ours are ValueErrors
            complain(f"{partition}: what Redis notes of it cannot be read, so it is not compared with the log: {error}")
    return found


def _unlogged_of(
    client: "Redis | RedisCluster", settings: Settings, partition: Partition, marks: Sequence[SinkMark]
) -> list[UnloggedShown]:
    noted = [one for one in losses(client, partition) if one.projection == LOG]
    shown = [(one.count, one.after, one.before, True) for one in noted if is_unlogged(one)]
    missing = _missing_now(client, settings, partition, marks)
    if missing is not None and missing.is_known:
        count = missing.count - sum(one.count for one in noted if _overlap(one, missing))
        if count > 0:
            shown.append((count, str(missing.after), str(missing.before), False))
    return [
        UnloggedShown(
            str(partition), count, after, before, _keepers(marks, partition, Position.parse(before)), is_noted
        )
        for count, after, before, is_noted in shown
    ]


def check_unlogged(client: "Redis | RedisCluster", settings: Settings, servers: Servers) -> Iterator[Check]:
    """Say what the log lacks, and what could not be compared with it.

    Raises:
        RedisError: Redis did not answer.
    """
    if not settings.event_log_dir.is_dir():
        yield Check("event log", "ok", f"there is none in {settings.event_log_dir}, so nothing is compared with it")
        return
    doubts: list[str] = []
    unlogged = find_unlogged(client, settings, servers, doubts.append)
    for one in unlogged:
        yield Check(f"event log {one.partition}", "fail", one.problem, one.advice(settings))
    for doubt in doubts:
        yield Check("event log", "warn", doubt, "fix what it names, and run `playhead doctor` again")
    if not unlogged and not doubts:
        yield Check("event log", "ok", "it has what Redis and the sinks had")


def check_chain(root: Path) -> Iterator[Check]:
    """Look whether each segment of the log follows the one before, by their manifests."""
    for partition in partitions(root):
        try:
            check_partition(root, partition)
        except LogCorrupt as error:
            place = f"{error.file}: {error.problem}"
            advice = "see `playhead log verify`; restore it from a backup, or run `playhead log accept-gaps`"
            yield Check(f"event log {partition}", "fail", place, advice)


def is_unlogged(lost: Lost) -> bool:
    """Whether the log had the events, or a sink has them."""
    return lost.projection == LOG and (lost.reason == UNLOGGED or lost.reason.startswith("only "))


def losses(client: "Redis | RedisCluster", partition: Partition) -> list[Lost]:
    """What is noted as lost in a partition."""
    found = cast("list[bytes]", cast("Any", client).lrange(lost_key(partition), 0, -1))
    return [msgspec.json.decode(raw, type=Lost) for raw in found]


def accept_lost(client: "Redis | RedisCluster", missing: UnloggedShown) -> None:
    """Note that nobody expects events any more that the log lacks."""
    stream, _, number = missing.partition.rpartition("/")
    partition = Partition(stream, int(number))
    if missing.is_noted:
        _change(client, partition, lambda lost: msgspec.structs.replace(lost, reason=NOWHERE))
    else:
        lost = Lost(LOG, missing.count, missing.after, missing.before, NOWHERE, time.time())
        cast("Any", client).rpush(lost_key(partition), msgspec.json.encode(lost))


def take_back(client: "Redis | RedisCluster", partition: Partition, count: int) -> None:
    """Note that so many events that the log lacked were appended again."""

    def less(lost: Lost) -> Lost:
        nonlocal count
        taken = min(count, lost.count)
        count -= taken
        return msgspec.structs.replace(lost, count=lost.count - taken)

    _change(client, partition, less)


def _change(client: "Redis | RedisCluster", partition: Partition, change: Callable[[Lost], Lost]) -> None:
    redis, key = cast("Any", client), lost_key(partition)
    for raw in redis.lrange(key, 0, -1):
        lost = msgspec.json.decode(raw, type=Lost)
        if is_unlogged(lost) and (changed := change(lost)) != lost:
            redis.lrem(key, 1, raw)
            if changed.count:
                redis.rpush(key, msgspec.json.encode(changed))


def _missing_now(
    client: "Redis | RedisCluster", settings: Settings, partition: Partition, marks: Iterable[SinkMark]
) -> Unlogged | None:
    """What is missing at this instant; what moves while it is looked at is looked at again.

    Raises:
        LogCorrupt: the end of the log cannot be read.
    """
    seen: LogEnd | None = None
    missing: Unlogged | None = None
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_LOOKS)
        end = end_of(settings.event_log_dir, partition)
        missing = find_missing(partition, end, _state(client, partition, end), marks)
        if missing is None or end == seen:
            return missing
        seen = end
    return None


def _state(client: "Redis | RedisCluster", partition: Partition, end: LogEnd) -> StreamState:
    redis, key = cast("Any", client), partition.key
    behind = redis.xrange(key, f"({end.position}", "+", count=1)
    position, fields = cast("tuple[bytes, dict[bytes, bytes]]", behind[0]) if behind else (None, {})
    parked = ParkedEvents(client, LOG, partition).positions()
    return StreamState(
        last_position(client, partition),
        int(redis.hget(f"{key}:meta", "sequence") or 0),
        None if position is None else Position.parse(position),
        sequence_number(fields.get(b"ce_sequence", b"")),
        group_position(client, partition, LOG),
        sum(Position.parse(one) > end.position for one in parked),
    )


def _overlap(lost: Lost, missing: Unlogged) -> bool:
    return Position.parse(lost.after) < missing.before and missing.after < Position.parse(lost.before)


def _keepers(marks: Iterable[SinkMark], partition: Partition, before: Position) -> list[str]:
    return sorted(mark.projection for mark in marks if mark.partition == partition and mark.position >= before > START)
