"""How many partitions each stream has: recorded once in Redis, and read from there by everybody.

Why and how: docs/decisions/0018-partitions-are-recorded-once.md.
"""

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

from redis import Redis, RedisCluster
from redis.exceptions import NoPermissionError, ResponseError

from playhead.streams.errors import KeyDamaged, PartitionsChanged, RedisUnavailable
from playhead.streams.names import STREAMS, meta_key
from playhead.streams.partitions import MOST_PARTITIONS, Partition
from playhead.streams.redis.refusals import AWAY, is_passing
from playhead.streams.telemetry import plain

Client = Redis | RedisCluster

LOOKED_AT = 64
"""Partitions whose `:meta` is asked for the number of a stream that has no record, as an earlier version left it."""
_DEFAULT = 1


class PartitionCounts:
    """The number of partitions of each stream, as it is recorded; read once, and the same for the life of a process.

    `given` is the number that somebody set explicitly, and `logged` tells that of the event log. Both make the record
    of a stream that has none. A record that differs from `given` is refused.
    """

    def __init__(
        self,
        client: Callable[[], Client],
        given: int | None = None,
        *,
        logged: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self.logged = logged
        self._client, self._given = client, given
        self._known: dict[str, int] = {}
        self._asking = threading.Lock()

    @property
    def given(self) -> int | None:
        """The number that was set explicitly."""
        return self._given

    def known(self, stream: str) -> int | None:
        """The number of a stream, if it was read already."""
        return self._known.get(stream)

    def of(self, stream: str) -> int:
        """The number of a stream; makes the record if there is none.

        Raises:
            PartitionsChanged: the number that was set is another one.
            RedisUnavailable: Redis cannot be asked.
            KeyDamaged: the record holds something else.
        """
        count = self._known.get(stream)
        if count is None:
            with self._asking:
                if (count := self._known.get(stream)) is None:
                    count = self._known[stream] = self._recorded(stream)
        return count

    def confirm(self, stream: str) -> None:
        """Make sure that the record says what this process goes by; it is written again if Redis lost it.

        Raises:
            PartitionsChanged: it says another number by now.
            RedisUnavailable: Redis cannot be asked.
            KeyDamaged: the record holds something else.
        """
        count = self.of(stream)
        if (recorded := self._record(stream, count)) != count:
            raise PartitionsChanged(
                f"{stream} had {count} partitions when this process started, and {STREAMS} in Redis says {recorded}"
                " now: if Redis lost its state, the log writer (`playhead run log`) restores the number of the"
                " log; otherwise restart this process"
            )

    def read(self, streams: Iterable[str]) -> dict[str, int]:
        """The number of each stream, without making a record; that which would be made if there is none.

        Raises:
            PartitionsChanged: the number that was set is another one.
            RedisUnavailable: Redis cannot be asked.
            KeyDamaged: the record holds something else.
        """
        names = list(streams)
        if not names:
            return {}
        with _asked():
            client: Any = self._client()
            values = cast("list[bytes | None]", client.hmget(STREAMS, names))
            found = dict(zip(names, values, strict=True))
            return {
                name: self._agreed(name, _number(name, value)) if value is not None else self._first(name)
                for name, value in found.items()
            }

    def every(self, streams: Iterable[str]) -> list[Partition]:
        """Every partition of some streams; raises as `read`."""
        counts = self.read(streams)
        return [Partition(stream, number) for stream, count in counts.items() for number in range(count)]

    def check(self, streams: Iterable[str]) -> None:
        """Make sure that the record still says what this process goes by, of streams that it knows.

        Raises:
            PartitionsChanged: it says another number by now.
            RedisUnavailable: Redis cannot be asked.
            KeyDamaged: the record holds something else.
        """
        names = list(streams)
        with _asked():
            values = cast("list[bytes | None]", cast("Any", self._client()).hmget(STREAMS, names))
        for name, value in zip(names, values, strict=True):
            if value is None or _number(name, value) != self._known.get(name):
                self.confirm(name)

    def restore(self, stream: str, count: int) -> None:
        """Record a number whatever is recorded: that of the log, which is the reference."""
        with _asked():
            cast("Any", self._client()).hset(STREAMS, stream, count)
        self._known[stream] = count

    def recorded(self, stream: str) -> int | None:
        """What is recorded, None if nothing is.

        Raises:
            RedisUnavailable: Redis cannot be asked.
            KeyDamaged: the record holds something else.
        """
        with _asked():
            value = cast("Any", self._client()).hget(STREAMS, stream)
        return None if value is None else _number(stream, value)

    def _recorded(self, stream: str) -> int:
        found = self.recorded(stream)
        if found is None:
            with _asked():
                first = self._first(stream)
            found = self._record(stream, first)
        return self._agreed(stream, found)

    def _record(self, stream: str, count: int) -> int:
        """Record a number if there is none, and give the one that stands."""
        with _asked():
            client: Any = self._client()
            client.hsetnx(STREAMS, stream, count)
        return self.recorded(stream) or count

    def _first(self, stream: str) -> int:
        """The number to record of a stream that has no record: that of its partitions, of the log, or the setting."""
        found = next(iter(noted(self._client(), stream).values()), None)
        found = found or self.logged(stream)
        return self._given or _DEFAULT if found is None else self._agreed(stream, found)

    def _agreed(self, stream: str, count: int) -> int:
        if self._given not in {None, count}:
            raise different(stream, count, self._given)
        return count


def different(stream: str, recorded: int, given: int | None) -> PartitionsChanged:
    """The error of a number that differs from the one of the stream."""
    return PartitionsChanged(
        f"{stream} has {recorded} partitions, as {STREAMS} in Redis or the event log says, and PLAYHEAD_PARTITIONS or"
        f" partitions= is {given}: remove the setting, or set it to {recorded}; a stream keeps its first number"
    )


def noted(client: Client, stream: str) -> dict[Partition, int]:
    """What `:meta` of each partition of a stream says, as far as it is a number; in order."""
    partitions = [Partition(stream, number) for number in range(LOOKED_AT)]
    with cast("Any", client).pipeline(transaction=False) as pipeline:
        for partition in partitions:
            pipeline.hget(meta_key(partition.key), "partitions")
        replies = cast("list[object]", pipeline.execute(raise_on_error=False))
    for reply in replies:
        if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
            raise reply
    return {
        partition: count
        for partition, reply in zip(partitions, replies, strict=True)
        if isinstance(reply, bytes) and (count := count_of(reply)) is not None
    }


def _number(stream: str, value: bytes) -> int:
    if (count := count_of(value)) is None:
        raise KeyDamaged(f"the field {stream} of {STREAMS} is no number of partitions. {KeyDamaged.__doc__}")
    return count


def count_of(value: bytes) -> int | None:
    """The number of partitions that a field holds, None if it holds none."""
    text = value.decode("ascii", "replace")
    count = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_PARTITIONS)) else 0
    return count if 0 < count <= MOST_PARTITIONS else None


@contextmanager
def _asked() -> Generator[None, None, None]:
    """Say in our words why Redis does not answer."""
    try:
        yield
    except AWAY as error:
        raise RedisUnavailable(f"{RedisUnavailable.__doc__} ({plain(error)})") from error
    except NoPermissionError as error:
        raise RedisUnavailable(
            f"the user of REDIS_URL may not read and set fields of {STREAMS}: give it the rules in docs/security.md"
        ) from error
    except ResponseError as error:
        if "WRONGTYPE" in str(error):
            raise KeyDamaged(f"{STREAMS} is no hash. {KeyDamaged.__doc__}") from error
        if is_passing(error):
            raise RedisUnavailable(f"{RedisUnavailable.__doc__} ({plain(error)})") from error
        raise
