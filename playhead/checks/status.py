"""The state of the whole: every consumer, and what is damaged, parked or missing."""

from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

from playhead.checks.consumer_status import ConsumerStatus, PartitionStatus, UnknownGroup, clocks, read_partition
from playhead.checks.subscriptions import SubscriptionStatus, read_subscriptions
from playhead.checks.unlogged import UnloggedShown, find_unlogged
from playhead.consumers.halts import UNKNOWN, Halt, read_halts
from playhead.consumers.reading.keys import find_wrong_keys
from playhead.consumers.reading.parked import parked_by_unknown
from playhead.eventlog.replay.runs import Unfinished, unfinished
from playhead.eventlog.segments import partition_count
from playhead.settings.core import CURSORS_DIR
from playhead.settings.servers import servers
from playhead.settings.settings import Settings
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import KeyDamaged
from playhead.streams.partitions import Partition
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.terminal.exit_codes import BEHIND, DONE
from playhead.wiring import lacking


class Floor(msgspec.Struct, frozen=True):
    """A partition is trimmed below `position`: the consumer `held_by` has not read further, or has it in hand."""

    partition: str
    position: str
    held_by: str


class Status(msgspec.Struct, frozen=True):
    """All consumers; caught up means that every event took effect everywhere or is parked, and every replay has ended.

    One that was interrupted has ended once it is resumed or canceled. `parked` counts the events that took no
    effect somewhere, those of consumers in `unknown`, which this installation does not have, included. `unknown_groups`
    says where these read. `not_running` names the consumers without a process that are neither paused nor retired,
    `damaged` says what is wrong with keys in Redis, `unlogged` what the log lacks. Retired consumers do not count.
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
    unknown_groups: list[UnknownGroup] = []

    @property
    def exit_code(self) -> int:
        """0 only if everything that was promised is so, and every consumer is ready."""
        troubled = self.not_running or self.damaged or self.unlogged or any(one.problem for one in self.consumers)
        return DONE if self.caught_up and not troubled else BEHIND


def read_status(
    client: "Redis | RedisCluster",
    partitions: int | None = None,
    not_needed: Container[str] = frozenset[str](),
    *,
    log: Path | None = None,
) -> Status:
    """Ask Redis, a few round trips a partition; consumers in `not_needed` may be without a process.

    Raises:
        PartitionsChanged: `partitions` is set, and another number than that of a stream.
    """
    counts = read_counts(client, partitions, log)
    everywhere = {
        Partition(stream, number): names
        for stream, names in installed().readers.items()
        for number in range(counts[stream])
    }
    halts = _halts(client)
    read = {partition: read_partition(client, partition, names, halts) for partition, names in everywhere.items()}
    in_order = [
        read[Partition(stream, number)].standings[name]
        for name, streams in installed().reads.items()
        for stream in streams
        for number in range(counts[stream])
    ]
    consumers = [one.status for one in in_order]
    damaged = [wrong.problem for wrong in find_wrong_keys(client, everywhere)]
    replays = [] if damaged else unfinished(client, everywhere)
    # A Redis in which no consumer ever reported, or that was emptied, is not caught up.
    caught_up = all(one.is_settled for one in in_order) and any(one.has_reported for one in in_order)
    caught_up = caught_up and not replays
    consumers += clocks(client, halts)
    unknown_groups = [group for one in read.values() for group in one.unknown]
    unknown = {group.name: 0 for group in unknown_groups}
    unknown |= {} if damaged else parked_by_unknown(client, everywhere, halts)
    return Status(
        caught_up and not damaged,
        consumers,
        replays,
        list(_held(read)),
        parked=sum(one.parked for one in consumers) + sum(unknown.values()),
        unknown=unknown,
        not_running=[
            name
            for name in installed().consumers
            if name not in not_needed and all(one.state == "stopped" for one in consumers if one.name == name)
        ],
        damaged=damaged,
        unknown_groups=unknown_groups,
    )


def read_whole_status(client: "Redis | RedisCluster", settings: Settings, complain: Callable[[str], object]) -> Status:
    """The same, with what this machine has beside: the log, which may lack events, and cursors of subscriptions.

    Raises:
        PartitionsChanged: another number is set than that of a stream.
    """
    found = read_status(client, settings.partitions, lacking(settings), log=settings.event_log_dir)
    unlogged = [] if found.damaged else find_unlogged(client, settings, servers(settings), complain)
    return msgspec.structs.replace(found, unlogged=unlogged, subscriptions=_subscriptions(client, settings, complain))


def _subscriptions(
    client: "Redis | RedisCluster", settings: Settings, complain: Callable[[str], object]
) -> list[SubscriptionStatus]:
    try:
        return list(read_subscriptions(client, settings, settings[CURSORS_DIR]))
    except (OSError, ResponseError, ValueError) as error:  # what consumers do is worth knowing all the same
        complain(f"the cursors of subscriptions cannot be read: {error}")
        return []


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


def _halts(client: "Redis | RedisCluster") -> Mapping[str, Halt]:
    """The consumers that are halted; every one may be if the key is no hash, which `find_wrong_keys` says."""
    try:
        return read_halts(client)
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return dict.fromkeys((name for name in installed().consumers if name != LOG), UNKNOWN)


def _held(read: Mapping[Partition, PartitionStatus]) -> Iterator[Floor]:
    """Partitions in which some consumer is further than another, which keeps entries from being trimmed."""
    for partition, one in read.items():
        floors = one.floors()
        last = min(floors, key=lambda name: floors[name], default=None)
        if last is not None and floors[last] < max(floors.values()):
            yield Floor(str(partition), str(floors[last]), last)
