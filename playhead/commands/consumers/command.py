"""`playhead consumers`: what consumers there are, and pausing, retiring and resuming them."""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal, cast

import msgspec
from cyclopts import App
from redis import Redis, RedisCluster

from playhead.checks.consumer_status import Kind, kind_of
from playhead.commands.consumers.retirement import remove_groups
from playhead.consumers.halts import Halt, read_halts
from playhead.consumers.reading.parked import ParkedEvents
from playhead.settings.producers import partition_counts
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, load
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting
from playhead.streams.names import HALTS, STREAMS
from playhead.streams.partitions import Partition
from playhead.streams.redis.connections import connect
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.redis.stream_info import groups_of
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import counted, moment, print_json, print_lines, print_table

consumers_app = App(
    name="consumers", help="List every consumer, the streams that it reads, and the package that declares it."
)


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


@consumers_app.default
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


@consumers_app.command
def pause(name: str, /, *, data_dir: DataDir = None) -> None:
    """Let the processes of a consumer stand by until `resume`; trimming still waits for it.

    Args:
        name: The consumer; `playhead consumers` lists them.

    Example:
        playhead consumers pause jobs
    """
    with closing(_connect(settings := load(data_dir))) as client:
        halts = read_halts(client)
        _partitions(client, settings, name, halts)
        if name in halts and halts[name].state == "retired":
            raise InvalidSetting(f"{name} is retired: resume it first, with `playhead consumers resume {name}`")
        halt = _halt(client, name, "paused", halts.get(name))
    print_lines(f"{name} is paused since {moment(halt.since)}; `playhead consumers resume {name}` continues it")


@consumers_app.command
def retire(name: str, /, *, data_dir: DataDir = None) -> None:
    """Give up a consumer: its processes stand by, nothing waits for it, and `status` expects none until `resume`.

    Also for a consumer whose domain is no longer installed. Parked events stay.

    Args:
        name: The consumer; `playhead status` shows those that hold trimming.

    Example:
        playhead consumers retire search-index
    """
    with closing(_connect(settings := load(data_dir))) as client:
        halts = read_halts(client)
        partitions = _partitions(client, settings, name, halts)
        halt = _halt(client, name, "retired", halts.get(name))
        removed = remove_groups(client, name, halts.get(name, halt), partitions)
        parked = sum(1 for one in partitions for _ in ParkedEvents(client, name, one))
    print_lines(f"{name} is retired since {moment(halt.since)}; {counted(removed.groups, 'consumer group')} removed")
    for partition, ids in removed.gone.items():
        what = f"{partition}: {counted(len(ids), 'event')} in hand, gone from Redis"
        print_lines(f"{what}; read from the log when {name} resumes: {', '.join(ids)}")
    if parked:
        print_lines(f"{counted(parked, 'parked event')} kept: `playhead parked list {name}`")
    print_lines(f"`playhead consumers resume {name}` brings it back where it stood")


@consumers_app.command
def resume(name: str, /, *, data_dir: DataDir = None) -> None:
    """Continue a consumer that was paused or retired; it reads from the log what was trimmed meanwhile.

    Args:
        name: The consumer; `playhead status` shows which are paused or retired.

    Example:
        playhead consumers resume jobs
    """
    with closing(_connect(settings := load(data_dir))) as client:
        halts = read_halts(client)
        _partitions(client, settings, name, halts)
        cast("Any", client).hdel(HALTS, name)
    if name not in halts:
        print_lines(f"{name} is neither paused nor retired")
        return
    state = halts[name].state
    was = f"{name} has no unreadable record any more" if state == "unknown" else f"{name} is no longer {state}"
    print_lines(f"{was}; its processes continue within seconds, or `playhead run {name}`")


def _listed(name: str) -> Consumer:
    domain = installed().domain_of(name)
    streams = installed().reads[name]
    if domain is None:
        return Consumer(name, kind_of(name), streams, None, "playhead")
    return Consumer(name, kind_of(name), streams, domain.name, domain.package)


def _connect(settings: Settings) -> "Redis | RedisCluster":
    return connect(servers(settings, postgres=False).redis_url, settings.redis_timeout)


def _partitions(
    client: "Redis | RedisCluster", settings: Settings, name: str, halts: Mapping[str, Halt]
) -> list[Partition]:
    """Where a consumer that may be halted reads, or has a group left from when its domain was installed.

    Raises:
        InvalidSetting: it may not, or there is none of that name.
    """
    if name == LOG:
        raise InvalidSetting(
            "the log cannot be paused or retired: nothing is trimmed that it has not, and every other consumer recovers"
            " from it; stop its process instead"
        )
    declared = installed().streams
    recorded = {raw.decode("utf-8", "backslashreplace") for raw in cast("Any", client).hkeys(STREAMS)}
    everywhere = partition_counts(client, settings).every(declared)
    everywhere += PartitionCounts(lambda: client).every(sorted(recorded - set(declared)))
    groups = {partition: groups_of(client, partition) for partition in everywhere}
    known = dict.fromkeys([*installed().consumers, *(one for of in groups.values() for one in of), *halts])
    if name not in known:
        names = ", ".join(one for one in known if one != LOG)
        raise InvalidSetting(f"there is no projection, worker, clock or consumer group {name!r}; there are {names}")
    reads = installed().reads.get(name, ())
    return [partition for partition, of in groups.items() if name in of or partition.stream in reads]


def _halt(client: "Redis | RedisCluster", name: str, state: Literal["paused", "retired"], known: Halt | None) -> Halt:
    """Write the record, unless it says so already."""
    if known is not None and known.state == state:
        return known
    halt = Halt(state, time.time())
    cast("Any", client).hset(HALTS, name, msgspec.json.encode(halt))
    return halt
