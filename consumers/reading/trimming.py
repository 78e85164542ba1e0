"""Trim a partition below what every registered group has made durable, the event log among them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from playhead.consumers.halts import Halt, halts_of
from playhead.streams.domains.catalogue import LOG
from playhead.streams.names import HALTS
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.refusals import AWAY
from playhead.streams.redis.stream_info import is_missing

INTERVAL = 5.0
"""Seconds between two looks at the floor."""


class Floor(msgspec.Struct, frozen=True):
    """Entries below the position are durable everywhere; `held_by` is the group that is least far."""

    position: Position
    held_by: str


async def find_floor(client: Redis, partition: Partition, groups: Sequence[str]) -> Floor:
    """The lowest of each group's position and oldest pending entry; one of `groups` that is missing holds all."""
    positions: dict[str, Position] = dict.fromkeys(groups, START)
    for group in await client.xinfo_groups(partition.key):
        name = group["name"].decode()
        position = Position.parse(group["last-delivered-id"])
        if group["pending"]:
            pending = await client.xpending(partition.key, name)
            position = min(position, Position.parse(pending["min"]))
        positions[name] = position
    held_by = min(positions, key=lambda name: positions[name])
    return Floor(positions[held_by], held_by)


async def trim(client: Redis, partition: Partition, groups: Sequence[str]) -> tuple[Floor, int]:
    """Remove and count what lies below the floor; the entry at it stays, so that the next gap can be seen."""
    floor = await find_floor(client, partition, groups)
    removed = 0
    if floor.position > START:
        removed = await client.xtrim(partition.key, minid=str(floor.position), approximate=True)
    return floor, removed


async def keep_trimmed(
    client: Redis,
    groups: Mapping[Partition, Sequence[str]],
    observe: Callable[[Partition, Floor, int], None],
    observe_halts: Callable[[Mapping[str, Halt]], None],
) -> None:
    """Trim every partition again and again, until canceled; groups that are retired are not waited for."""
    log = structlog.get_logger()
    while True:
        await asyncio.sleep(INTERVAL)
        halts = await _halts(client)
        observe_halts(halts)
        retired = {name for name, halt in halts.items() if halt.state == "retired"}
        for partition, names in groups.items():
            try:
                observe(partition, *await trim(client, partition, [name for name in names if name not in retired]))
            except ResponseError as error:
                if not is_missing(error):
                    log.warning("not trimmed", partition=str(partition), error=str(error))
            except (*AWAY, RedisError) as error:
                log.warning("not trimmed", partition=str(partition), error=str(error))


async def _halts(client: Redis) -> dict[str, Halt]:
    """The consumers that are halted; none if Redis does not say, so that all are waited for. The log's never is."""
    try:
        records = cast("dict[bytes, bytes]", await cast("Any", client).hgetall(HALTS))
    except (*AWAY, RedisError) as error:
        structlog.get_logger().warning("retired consumers are waited for", error=f"{HALTS} cannot be read: {error}")
        return {}
    return {name: halt for name, halt in halts_of(records).items() if name != LOG and halt.state != "unknown"}
