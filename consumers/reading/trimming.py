"""Trim a partition below what every registered group has made durable, the event log among them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from playhead.consumers.halts import Halt, halts_of
from playhead.streams.domains.catalogue import LOG
from playhead.streams.names import HALTS
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.refusals import AWAY
from playhead.streams.redis.stream_info import is_missing
from playhead.streams.telemetry import plain

INTERVAL = 5.0
"""Seconds between two looks at the floor."""

_TRIM = Path(__file__).with_name("trim.lua").read_text()


class Floor(msgspec.Struct, frozen=True):
    """Entries below the position are durable everywhere; `held_by` is the group that is least far."""

    position: Position
    held_by: str


async def trim(client: Redis, partition: Partition, groups: Sequence[str]) -> tuple[Floor, int]:
    """Remove and count what lies below the lowest of each group's position and oldest pending entry.

    One of `groups` that is missing holds everything.
    """
    script = client.register_script(_TRIM)
    floor, held_by, removed = cast(
        "tuple[bytes, bytes, int]", await cast("Any", script)(keys=[partition.key], args=list(groups))
    )
    return Floor(Position.parse(floor), held_by.decode("utf-8", "backslashreplace")), removed


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
            except Exception as error:  # noqa: BLE001  # whatever it is, the other partitions are trimmed
                if not (isinstance(error, ResponseError) and is_missing(error)):
                    log.warning("not trimmed", partition=str(partition), error=plain(error))


async def _halts(client: Redis) -> dict[str, Halt]:
    """The consumers that are halted; none if Redis does not say, so that all are waited for. The log's never is."""
    try:
        records = cast("dict[bytes, bytes]", await cast("Any", client).hgetall(HALTS))
    except (*AWAY, RedisError) as error:
        structlog.get_logger().warning("retired consumers are waited for", error=f"{HALTS} cannot be read: {error}")
        return {}
    return {name: halt for name, halt in halts_of(records).items() if name != LOG and halt.state != "unknown"}
