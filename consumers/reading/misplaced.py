"""Entries in a partition that is not that of their subject.

Redis lost its state, and somebody appended under another number of partitions before the log writer restored the
one of the log. That consumer moves the entries, under their ids, before anybody reads them
(docs/decisions/0018-partitions-are-recorded-once.md).
"""

from functools import partial
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from playhead.consumers.errors import StateLost
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.thread import SinkThread
from playhead.eventlog.history import History
from playhead.streams.appending.appender import DEFAULT_WINDOW, SCRIPT
from playhead.streams.entries import RawEntry, subject_of
from playhead.streams.names import meta_key
from playhead.streams.partitions import Partition, partition_of
from playhead.streams.positions import START, Position
from playhead.streams.redis.partition_counts import LOOKED_AT, count_of

_CHUNK = 100
_MARK = "misplaced"
"""The field of `:meta` that stands from when the number is corrected until the entries are moved."""
_ID, _SEQUENCE = b"ce_id", b"ce_sequence"


class Misplaced:
    """Corrects the number of one partition, and moves what is not of it, nor of any of the `count` there are."""

    def __init__(self, group: Group, count: int, thread: SinkThread, history: History) -> None:
        self._client, self._partition, self._count = cast("Any", group.client), group.partition, count
        self._thread, self._history = thread, history
        self._append = group.client.register_script(SCRIPT)
        self._log = structlog.get_logger().bind(projection=group.name, partition=str(group.partition))

    async def is_other(self) -> bool:
        """Whether entries were appended under another number."""
        recorded, mark = await self._client.hmget(meta_key(self._partition.key), "partitions", _MARK)
        return mark is not None or recorded not in {None, str(self._count).encode()}

    async def move(self, behind: Position) -> bool:
        """Move what stands behind a position, up to which the log has it; whether this partition was corrected.

        Also what stands in partitions that there are not: each of them is taken care of by one that there is.

        Raises:
            StateLost: another partition is not corrected yet; begin again.
        """
        if is_other := await self.is_other():
            await self._move(self._partition, behind)
        for number in range(self._partition.number + self._count, LOOKED_AT, self._count):
            other = Partition(self._partition.stream, number)
            if await self._client.exists(other.key):
                tail = await self._thread.call(partial(self._history.tail, other))
                await self._move(other, START if tail is None else tail.recorded.position)
        return is_other

    async def settled(self) -> None:
        """Note that nothing is left to move."""
        await self._client.hdel(meta_key(self._partition.key), _MARK)

    async def _move(self, source: Partition, behind: Position) -> None:
        await self._client.hset(meta_key(source.key), mapping={"partitions": self._count, _MARK: 1})
        count, first = 0, f"({behind}"
        while entries := await self._client.xrange(source.key, first, "+", count=_CHUNK):
            for entry_id, fields in entries:
                entry = RawEntry(entry_id, [part for field in fields.items() for part in field])
                target = partition_of(source.stream, subject_of(entry) or "", self._count)
                if target != source and await self._append_to(target, source, fields):
                    await self._client.xdel(source.key, entry_id)
                    count += 1
            first = f"({entries[-1][0].decode()}"
        if count:
            self._log.error("events of another number of partitions were moved", partition=str(source), count=count)

    async def _append_to(self, target: Partition, source: Partition, fields: dict[bytes, bytes]) -> bool:
        """Append under the same id, which adds nothing a second time; what has no id stays, unless nobody reads it."""
        rest = {name: value for name, value in fields.items() if name not in {_ID, _SEQUENCE}}
        if _ID not in fields or not rest:
            if source.number >= self._count:
                await self._client.xadd(self._partition.key, fields)
            return source.number >= self._count
        names, values = _with_id_second(rest, fields[_ID])
        arguments: list[Any] = [self._count, 1, DEFAULT_WINDOW, len(names), *names, 1, *values]
        key = target.key
        try:
            await self._append(keys=[key, meta_key(key), f"{key}:ids:0", f"{key}:ids:1"], args=arguments)
        except ResponseError as error:
            if str(error).startswith("PARTITIONS"):
                raise StateLost(f"{target} has another number of partitions yet") from error
            raise
        return True


async def refuse_surplus(client: Redis, partition: Partition) -> None:
    """Refuse to go on in a partition that its stream has no more.

    Raises:
        StateLost: its entries are moved, so none that is missing here is lost.
    """
    recorded = cast("bytes | None", await cast("Any", client).hget(meta_key(partition.key), "partitions"))
    count = None if recorded is None else count_of(recorded)
    if count is not None and partition.number >= count:
        raise StateLost(f"{partition} is none of the {count} partitions of its stream: its events are moved")


def _with_id_second(rest: dict[bytes, bytes], event_id: bytes) -> tuple[list[bytes], list[bytes]]:
    """Names and values as the script of `append` takes them."""
    names, values = list(rest), list(rest.values())
    names.insert(1, _ID)
    values.insert(1, event_id)
    return names, values
