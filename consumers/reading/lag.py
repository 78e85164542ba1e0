"""How far behind its partition a reader is, asked of Redis again and again."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from playhead.consumers.reading.reader import Reader
from playhead.streams.names import parked_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.refusals import AWAY

INTERVAL = 2.0
"""Seconds between two looks."""


class Lag(msgspec.Struct, frozen=True):
    """`newest` is the last entry of the partition, `position` the last one durable in the sink.

    `events` between the two are None if not known: after an entry that was added without `append`, and so without a
    sequence number.
    """

    newest: Position
    position: Position
    events: int | None
    parked: int


async def find_lag(client: Redis, reader: Reader) -> Lag | None:
    """None while the reader does not serve its partition."""
    if (progress := reader.progress) is None:
        return None
    key = reader.partition.key
    redis = cast("Any", client)
    newest = Position.parse((await redis.xinfo_stream(key))["last-generated-id"])
    parked = await redis.xlen(parked_key(reader.partition.key, reader.name))
    events: int | None = 0
    if progress.position < newest:
        last = cast("bytes | None", await redis.hget(f"{key}:meta", "sequence"))
        events = None if last is None or progress.sequence is None else max(1, int(last) - progress.sequence)
    return Lag(newest, progress.position, events, parked)


async def keep_known(
    client: Redis, readers: Sequence[Reader], observe: Callable[[Partition, Lag | None], None]
) -> None:
    """Look at every partition again and again, until canceled."""
    while True:
        for reader in readers:
            try:
                lag = await find_lag(client, reader)
            except (*AWAY, RedisError, OSError):
                lag = None
            if lag is None or reader.serving:
                observe(reader.partition, lag)
        await asyncio.sleep(INTERVAL)
