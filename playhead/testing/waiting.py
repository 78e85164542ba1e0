"""Waiting until consumers, in this process or in others, have taken every event."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from redis import Redis, RedisCluster

from playhead.streams.names import again_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

PATIENCE = 30.0
"""Seconds that a test waits before it counts as broken."""
_LOOK_SECONDS = 0.02


class NotCaughtUp(AssertionError):
    """Consumers have not taken every event: the message says where each stands."""

    def __init__(self, message: str, behind: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.behind = behind or {}
        """Where each consumer stands that is not at the end."""


def caught_up(
    redis: "Redis | RedisCluster",
    consumers: Mapping[str, Iterable[str]],
    *,
    partitions: int | Mapping[str, int] = 1,
    seconds: float = PATIENCE,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Wait until every consumer has taken all of the streams that it reads, by its name.

    A worker has when nothing is in hand or deferred; a parked event counts as taken. `look` is called again and again
    meanwhile, and may raise what ends the waiting.

    Raises:
        NotCaughtUp: one has not after so many seconds in which nothing moved.
    """
    before: tuple[object, ...] = ()
    moved = time.monotonic()
    while True:
        behind, ends = behind_of(redis, consumers, partitions)
        look()
        now = (behind, ends)
        if not behind and now == before:  # else a worker may have appended where we had looked already
            return
        if now != before:
            before, moved = now, time.monotonic()
        elif time.monotonic() - moved > seconds:
            raise NotCaughtUp("\n".join(f"{name}: {where}" for name, where in behind.items()), behind)
        if behind:
            time.sleep(_LOOK_SECONDS)


def behind_of(
    redis: "Redis | RedisCluster", consumers: Mapping[str, Iterable[str]], partitions: int | Mapping[str, int] = 1
) -> tuple[dict[str, str], dict[str, Position]]:
    """Where each consumer stands that is behind, and the last position of each partition."""
    client = cast("Any", redis)
    behind: dict[str, str] = {}
    ends: dict[str, Position] = {}
    for name, streams in consumers.items():
        for partition in partitions_of(streams, partitions):
            if not client.exists(partition.key):
                continue
            last = Position.parse(client.xinfo_stream(partition.key)["last-generated-id"])
            ends[str(partition)] = last
            groups = {
                group["name"].decode("utf-8", "backslashreplace"): group for group in client.xinfo_groups(partition.key)
            }
            group = groups.get(name)
            if group is None:
                behind[name] = f"has not begun with {partition}"
                continue
            position = Position.parse(group["last-delivered-id"])
            pending = int(group["pending"]) + int(client.xlen(again_key(partition.key, name)))
            if position < last or pending:
                behind[name] = f"at {position} of {last} in {partition}, {pending} in hand"
    return behind, ends


def partitions_of(streams: Iterable[str], counts: int | Mapping[str, int]) -> list[Partition]:
    """Every partition of some streams, which have so many, or each its own number."""
    return [
        Partition(stream, number)
        for stream in streams
        for number in range(counts if isinstance(counts, int) else counts[stream])
    ]
