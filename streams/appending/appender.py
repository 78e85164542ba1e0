"""One call of the append script: on the right node, confirmed by replicas if asked, with typed errors."""

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis, RedisCluster
from redis.commands.core import Script
from redis.exceptions import AskError, MovedError, RedisError, ResponseError

from playhead.streams.entries import columns
from playhead.streams.errors import InvalidSetting, KeyDamaged, NotReplicated, RedisUnavailable
from playhead.streams.events import Event
from playhead.streams.names import meta_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.partition_counts import PartitionCounts
from playhead.streams.redis.refusals import AWAY, is_passing

SCRIPT = Path(__file__).with_name("append.lua").read_text()

DEFAULT_WINDOW = 24 * 3600
"""Seconds for which the same event id again adds nothing."""

_REPLICA_SECONDS = 1.0
_EXHAUSTED = "exhausted the last possible ID"
"""What Redis says if no id is left in a stream; it has no error code."""
_DURABILITY = re.compile(r"server|replicas:([1-9]\d?)", re.ASCII)


class AppendSettings(msgspec.Struct, frozen=True):
    """`window` is seconds for which the same id adds nothing, `replicas` how many must confirm an append.

    The window must be the same for all who append to a stream, as the memory of ids is divided by it.
    `timeout` is seconds after which the client counts a silent connection as dead.
    """

    window: int
    replicas: int
    timeout: float

    @property
    def replica_milliseconds(self) -> int:
        """How long replicas have: their answer must come before the client gives up. 0 would be for ever."""
        return max(1, round(1000 * min(_REPLICA_SECONDS, self.timeout / 2)))


def replicas_of(durability: str) -> int:
    """Read `server` or `replicas:N`.

    Raises:
        InvalidSetting: it is neither.
    """
    found = _DURABILITY.fullmatch(durability)
    if found is None:
        raise InvalidSetting(f"durability is {durability!r}; it must be server or replicas:N, such as replicas:1")
    return int(found[1] or 0)


class Appender:
    """Appends to one partition at a time; connects when it is first needed."""

    def __init__(
        self,
        connect: "Callable[[], Redis | RedisCluster]",
        settings: AppendSettings,
        partitions: int | None = None,
    ) -> None:
        self.counts = PartitionCounts(lambda: self._client, partitions)
        self._connect = connect
        self._settings = settings
        self._connecting = threading.Lock()  # many threads may need the first connection at once
        self._connected: Redis | RedisCluster | None = None

    def append(self, partition: Partition, events: Sequence[Event]) -> list[Position]:
        """Append a batch to its partition and give the positions in the order of the events.

        Raises:
            NotReplicated: the events are in, but too few replicas confirmed them.
            RedisUnavailable: Redis cannot be reached, or refuses writes for now.
            PartitionsChanged: the stream has another number of partitions by now.
            KeyDamaged: names the key.
        """
        key = partition.key
        keys = [key, meta_key(key), f"{key}:ids:0", f"{key}:ids:1"]
        arguments: list[Any] = [self.counts.of(partition.stream), 0, self._settings.window]
        for names, alike in groupby(map(columns, events), key=itemgetter(0)):
            values = [value for _, each in alike for value in each]
            arguments += (len(names), *names, len(values) // len(names), *values)
        try:
            reply = self._ask(keys, arguments, partition)
        except AWAY as error:
            raise RedisUnavailable(f"Redis did not accept the events: {error}") from error
        except ResponseError as error:
            if str(error).startswith("PARTITIONS"):
                self.counts.confirm(partition.stream)
                raise KeyDamaged(
                    f"partitions of {keys[1]} is not what is recorded for the stream: {error}. The log writer"
                    f" corrects it: check that `playhead run log` runs. {KeyDamaged.__doc__}"
                ) from error
            if str(error).startswith("DAMAGED"):
                raise KeyDamaged(f"{str(error).removeprefix('DAMAGED ')}. {KeyDamaged.__doc__}") from error
            if _EXHAUSTED in str(error):
                raise RedisUnavailable(
                    f"{partition} has no ids left, as an entry was added with the last one; the log writer makes"
                    " room: check that `playhead run log` runs"
                ) from error
            if "WRONGTYPE" in str(error):
                wrong = ", ".join(self._wrong(keys)) or f"a key beside {key}"
                raise KeyDamaged(
                    f"{wrong}: not of its type, so that nothing can be appended. {KeyDamaged.__doc__}"
                ) from error
            if is_passing(error):
                raise RedisUnavailable(f"Redis refuses writes: {error}") from error
            raise
        return [Position.parse(position) for position in reply]

    def close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            self._connected.close()

    @property
    def _client(self) -> "Redis | RedisCluster":
        if self._connected is None:
            with self._connecting:
                if self._connected is None:
                    self._connected = self._connect()
        return self._connected

    @cached_property
    def _script(self) -> Script:
        return self._client.register_script(SCRIPT)

    def _ask(self, keys: list[str], arguments: list[Any], partition: Partition) -> list[bytes]:
        """Run the script; in a partition without a number, once more when the record was asked for it."""
        try:
            return self._run(keys, arguments)
        except ResponseError as error:
            if not str(error).startswith("UNCONFIRMED"):
                raise
        self.counts.confirm(partition.stream)
        arguments[1] = 1
        return self._run(keys, arguments)

    def _run(self, keys: list[str], arguments: list[Any]) -> list[bytes]:
        if self._settings.replicas:
            return self._confirmed(keys, arguments)
        return cast("list[bytes]", self._script(keys=keys, args=arguments))

    def _wrong(self, keys: list[str]) -> list[str]:
        """The keys that are not of their type, as far as the user may ask."""
        with suppress(RedisError):
            kinds = [cast("Any", self._client).type(key).decode() for key in keys]
            wanted = ("stream", "hash", "hash", "hash")
            return [key for key, kind, want in zip(keys, kinds, wanted, strict=True) if kind not in {want, "none"}]
        return []

    def _confirmed(self, keys: list[str], arguments: list[Any]) -> list[bytes]:
        """WAIT speaks of the writes of its own connection, so it must be the one that ran the script."""
        wanted = self._settings.replicas
        try:
            replies = self._on_node(keys, arguments)
        except (MovedError, AskError):
            cast("RedisCluster", self._client).nodes_manager.initialize()
            replies = self._on_node(keys, arguments)
        confirmed = cast("int", replies[1])
        if confirmed < wanted:
            raise NotReplicated(f"{NotReplicated.__doc__} ({confirmed} of {wanted} did)")
        return cast("list[bytes]", replies[0])

    def _on_node(self, keys: list[str], arguments: list[Any]) -> list[object]:
        client = self._client
        if isinstance(client, RedisCluster):
            node = client.get_node_from_key(keys[0])  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
            if node is None:
                raise RedisUnavailable("Redis Cluster has no node for the partition")
            client = client.get_redis_connection(node)
        with client.pipeline(transaction=False) as pipeline:  # pyright: ignore[reportUnknownMemberType]  # as above
            self._script(keys=keys, args=arguments, client=pipeline)
            pipeline.execute_command("WAIT", self._settings.replicas, self._settings.replica_milliseconds)  # pyright: ignore[reportUnknownMemberType]  # untyped in redis-py
            replies = cast("list[object]", pipeline.execute(raise_on_error=False))
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies
