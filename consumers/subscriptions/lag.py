"""How far a subscription is behind: from the stream, or from the log if the stream was trimmed past it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.reading.recovery import just_before
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.following import Follower
from playhead.streams.entries import sequence_number
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import last_position


class Lag(msgspec.Struct, frozen=True):
    """Unread events, and the age of the oldest in seconds; None if not known."""

    events: int | None
    seconds: float | None


def lag_behind(client: "Redis | RedisCluster", log: Path, partition: Partition, position: Position) -> Lag:
    """What a partition has behind a position."""
    if last_position(client, partition) <= position:
        return Lag(0, 0.0)
    redis: Any = client
    newest = redis.hget(f"{partition.key}:meta", "sequence")
    sequence, first = _in_stream(redis, partition, position) or _in_log(log, partition, position) or (None, None)
    return Lag(
        None if newest is None or sequence is None else max(0, int(newest) - sequence),
        None if first is None else max(0.0, time.time() - first.milliseconds / 1000),
    )


def _in_stream(redis: Any, partition: Partition, position: Position) -> tuple[int | None, Position | None] | None:
    """The sequence number at a position and the entry behind it; None if the stream does not have the position."""
    found = redis.xrange(partition.key, str(position), "+", count=2)
    if not found or Position.parse(found[0][0]) != position:
        return None
    number = found[0][1].get(b"ce_sequence")
    first = Position.parse(found[1][0]) if len(found) > 1 else None
    return (None if number is None else sequence_number(number)), first


def _in_log(log: Path, partition: Partition, position: Position) -> tuple[int | None, Position | None] | None:
    """The same of the log, if this process can read it."""
    follower = Follower(log, partition)
    if not follower.is_readable:
        return None
    events: Iterator[Any] = follower.behind(just_before(position) if position != START else START)
    with suppress(LogCorrupt, OSError):
        at = next(events, None)
        if position == START and at is not None:
            return 0, at.position
        if at is not None and at.position == position:
            behind = next(events, None)
            return at.sequence, None if behind is None else behind.position
    return None
