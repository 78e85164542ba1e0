"""Append events: durably, idempotently, in one round trip a batch."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from redis import Redis, RedisCluster
from redis.commands.core import Script
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streams.connections import connect
from streams.entries import encode
from streams.errors import PartitionsChanged, RedisUnavailable
from streams.events import DEFAULT_SIZE_LIMIT, Event, Recorded, check, new_event
from streams.partitions import Partition, partition_of, stream_of
from streams.positions import Position
from streams.telemetry import sending

DEFAULT_WINDOW = 24 * 3600
"""Seconds for which the same event id again adds nothing."""

_SCRIPT = Path(__file__).with_name("append.lua").read_text()
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_EVENTS = 500
_UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError)


class Producer:
    """Appends events to their partitions; safe to share between threads.

    The same event id twice within `window` seconds adds nothing and gives the first position again.
    """

    def __init__(
        self,
        redis: "str | Redis | RedisCluster",
        *,
        source: str = "playhead",
        partitions: int = 1,
        window: int = DEFAULT_WINDOW,
        size_limit: int = DEFAULT_SIZE_LIMIT,
    ) -> None:
        self.source = source
        self.partitions = partitions
        self._client = connect(redis) if isinstance(redis, str) else redis
        self._script = self._client.register_script(_SCRIPT)
        self._window = window
        self._size_limit = size_limit

    def append(
        self, type: str, *, subject: str, data: object, id: str | None = None, time: datetime | str | None = None
    ) -> Position:
        """Append one event; when this returns, it is as durable as the server is set to make it.

        Raises:
            InvalidEvent: names the field that is wrong; nothing was sent.
            RedisUnavailable: Redis did not take it; appending the same id again is safe.
        """
        event = new_event(type, subject=subject, data=data, source=self.source, id=id, time=time)
        return self.append_events([event])[0]

    def append_events(self, events: Sequence[Event]) -> list[Position]:
        """Append a batch, one round trip for each partition and 8 MiB; positions come in the order of the events.

        Raises:
            InvalidEvent: names the field that is wrong; nothing of the batch was sent.
            RedisUnavailable: part of the batch may be in; appending all of it again is safe.
        """
        for event in events:
            check(event, self._size_limit)
        by_partition: defaultdict[Partition, list[int]] = defaultdict(list)
        for index, event in enumerate(events):
            by_partition[partition_of(stream_of(event.type), event.subject, self.partitions)].append(index)
        positions: dict[int, Position] = {}
        for partition, indexes in by_partition.items():
            for batch in _batches(events, indexes):
                with sending(partition, [events[index] for index in batch]) as traced:
                    reply = self._append(partition, traced)
                positions.update(zip(batch, map(Position.parse, reply), strict=True))
        return [positions[index] for index in range(len(events))]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, partition: Partition, events: Sequence[Event]) -> list[bytes]:
        key = partition.key
        values = chain.from_iterable((event.id, len(fields), *fields) for event in events if (fields := encode(event)))
        try:
            return self._script(
                keys=[key, f"{key}:meta", f"{key}:ids:0", f"{key}:ids:1"],
                args=[self.partitions, self._window, *values],
            )
        except _UNAVAILABLE as error:
            raise RedisUnavailable(f"Redis did not take the events: {error}") from error
        except ResponseError as error:
            if str(error).startswith("PARTITIONS"):
                raise PartitionsChanged(f"{PartitionsChanged.__doc__} ({error})") from error
            if str(error).startswith(("OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN")):
                raise RedisUnavailable(f"Redis refuses writes: {error}") from error
            raise


def load_script(client: Redis) -> Script:
    """Register the append script with a client."""
    return client.register_script(_SCRIPT)


def append_replayed(script: Script, key: str, events: Sequence[Recorded], run: str) -> list[Position]:
    """Append recorded events to the private stream of a replay run, with their original positions."""
    values = chain.from_iterable(
        (f"{recorded.event.id}@{recorded.position}", len(fields), *fields)
        for recorded in events
        if (fields := encode(recorded.event, replay=run, position=recorded.position))
    )
    keys = [key, f"{key}:meta", f"{key}:ids:0", f"{key}:ids:1"]
    reply = cast("list[bytes]", script(keys=keys, args=[1, DEFAULT_WINDOW, *values]))
    return [Position.parse(position) for position in reply]


def _batches(events: Sequence[Event], indexes: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for index in indexes:
        length = len(events[index].data)
        if batch and (size + length > _BATCH_BYTES or len(batch) >= _BATCH_EVENTS):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += length
    if batch:
        yield batch
