"""A partition's stream as a subscription reads it: without a group, and without a write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.reading.recovery import Restart, restarts_key
from playhead.streams.domains.catalogue import LOG
from playhead.streams.entries import RawEntry, sequence_number
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import group_position

_HERE = Path(__file__).parent


class Behind(msgspec.Struct, frozen=True):
    """Whether an entry is there, its sequence number if it has one, and the entries behind it."""

    is_there: bool
    sequence: int | None
    entries: Sequence[RawEntry]


class State(msgspec.Struct, frozen=True):
    """Whether the stream was compared with the log since the server started, how far it is, and where it restarted."""

    is_compared: bool
    last: Position
    sequence: int
    restarts: tuple[Restart, ...]


class PartitionStream:
    """Asks Redis about one partition."""

    def __init__(self, client: "Redis | RedisCluster", partition: Partition) -> None:
        self._client: Any = client
        self._partition, self._key = partition, partition.key
        self._keys = [self._key, f"{self._key}:meta", restarts_key(partition)]
        self._behind = client.register_script((_HERE / "behind.lua").read_text())
        self._state = client.register_script((_HERE / "state.lua").read_text())

    def behind(self, position: Position, count: int, size: int) -> Behind:
        """The entries behind a position, `count` or about `size` bytes of them."""
        reply = cast("list[Any]", self._behind(keys=[self._key], args=[str(position), count, size]))
        is_there, sequence, entries = reply
        return Behind(bool(is_there), sequence_number(sequence), [RawEntry(*entry) for entry in entries])

    def state(self) -> State:
        """How the stream is."""
        is_compared, last, sequence, values = cast("list[Any]", self._state(keys=self._keys))
        restarts: list[Restart] = []
        for name, value in zip(values[::2], values[1::2], strict=True):
            if name.isdigit():
                common, tail, number = value.split()
                restarts.append(Restart(int(name), Position.parse(common), Position.parse(tail), int(number)))
        return State(bool(is_compared), Position.parse(last), int(sequence), tuple(restarts))

    def logged(self) -> Position:
        """Up to where the log writer is, the beginning if there is none."""
        return group_position(self._client, self._partition, LOG)

    def first_positions(self, event_ids: Sequence[str]) -> list[Position | None]:
        """Where each event stands first, as far as the memory of `append` goes; it is not changed."""
        found = [self._client.hmget(f"{self._key}:ids:{number}", event_ids) for number in (0, 1)]
        return [
            min((Position.parse(value) for value in values if value), default=None)
            for values in zip(*found, strict=True)
        ]
