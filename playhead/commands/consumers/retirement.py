"""Removing the groups of a consumer, so that trimming no longer waits for it."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.halts import LOOK_SECONDS, Halt, retired_among
from playhead.streams.errors import PlayheadError
from playhead.streams.names import again_key, presence_key, restarts_key, waiting_key
from playhead.streams.partitions import Partition
from playhead.streams.redis.stream_info import groups_of
from playhead.terminal.output import counted, say

_POLL_SECONDS = 0.1
_SILENCE_SECONDS = 5.0
"""After which it is said what the command waits for."""
_PATIENCE_SECONDS = 90.0
"""More than the grace of a worker and its hold."""


class StillServed(PlayheadError):
    """A process still serves the consumer, so its groups stay and hold trimming."""

    def __init__(self, name: str, partition: Partition) -> None:
        super().__init__(
            f"a process still serves {name} on {partition}: stop it, and run `playhead consumers retire {name}` again"
        )


class Resumed(PlayheadError):
    """The consumer was resumed while its groups were removed, so it is not retired."""

    def __init__(self, name: str, removed: int) -> None:
        super().__init__(
            f"{name} is not retired, because it was resumed or paused meanwhile; {counted(removed, 'consumer group')}"
            f" removed, which it makes again where they stood; `playhead consumers retire {name}` retires it"
        )


class Removed(msgspec.Struct, frozen=True):
    """How many groups were removed, and the ids of entries that a worker had in hand and the stream does not have."""

    groups: int
    gone: dict[Partition, list[str]]


def remove_groups(client: "Redis | RedisCluster", name: str, halt: Halt, partitions: Iterable[Partition]) -> Removed:
    """Remove the group of a consumer from partitions, once its processes have stopped.

    Raises:
        StillServed: one does not stop.
        Resumed: the consumer is not retired any more.
    """
    # Until every process has looked, one that stands by may still take over from another that has stopped.
    time.sleep(max(0.0, min(2 * LOOK_SECONDS, halt.since + 2 * LOOK_SECONDS - time.time())))
    started = time.monotonic()
    script = client.register_script(Path(__file__).with_name("retire.lua").read_text())
    removed, said = 0, False
    gone: dict[Partition, list[str]] = {}
    for partition, group in ((each, group) for each in partitions for group in _groups(client, each, name)):
        while retired_among(client, [name]):
            became, *missing = cast("Any", script)(keys=_keys(partition, group), args=[group])
            if became != b"busy":
                removed += became == b"removed"
                gone.setdefault(partition, []).extend(one.decode() for one in missing)
                break
            if time.monotonic() - started > _PATIENCE_SECONDS:
                raise StillServed(name, partition)
            if not said and time.monotonic() - started > _SILENCE_SECONDS:
                say(f"waiting for the processes of {name} to stop")
                said = True
            time.sleep(_POLL_SECONDS)
    if not retired_among(client, [name]):  # asked last: the record is in another slot of a Cluster than the groups
        raise Resumed(name, removed)
    return Removed(removed, {partition: ids for partition, ids in gone.items() if ids})


def _groups(client: "Redis | RedisCluster", partition: Partition, name: str) -> list[bytes]:
    """The groups with a name, as it is shown if it is not UTF-8; one that is not there may be made until we ask."""
    found = groups_of(client, partition).get(name)
    return [name.encode() if found is None else found["name"]]


def _keys(partition: Partition, group: bytes) -> list[bytes]:
    key, name = partition.key, group.decode("utf-8", "surrogateescape")
    keys = [key, restarts_key(key), presence_key(key, name), f"{key}:due:{name}"]
    keys += [waiting_key(key, name), again_key(key, name)]
    return [each.encode("utf-8", "surrogateescape") for each in keys]
