"""One consumer group on one partition: its cursor, its lease, its parked events.

A projection reads with XREAD from a cursor, and the group in Redis only records how far it is: nothing is ever
pending, so nothing can be stranded with a dead consumer (docs/decisions/0002-cursor-not-pending-list.md).
"""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from playhead.consumers.errors import LeaseLost, StateLost
from playhead.consumers.reading.parked import (
    BEHIND,
    UNPARK,
    Aside,
    original,
    parked_fields,
    retry_key,
    subjects_key,
)
from playhead.streams.appending.appender import DEFAULT_WINDOW
from playhead.streams.entries import RawEntry, sequence_number, subject_of
from playhead.streams.names import parked_key, parked_positions_key, restarts_key
from playhead.streams.parked_positions import ParkedPositions, split_positions
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.stream_info import is_missing

_LOOK_BACK = 20
"""Entries among which the last sequence number is looked for; other clients may have added some without."""


class Report(msgspec.Struct, frozen=True):
    """What a consumer says of itself for `status`; `settled` is the position up to which no work is deferred,
    `replays` the runs whose events may still be on their way.
    """

    state: str
    position: str
    settled: str
    owner: str
    at: float
    retries: int = 0
    problem: str | None = None
    replays: tuple[str, ...] = ()


Became = Literal["parked", "parked already", "need not wait"]
_BECAME: dict[int, Became] = {1: "parked", 2: "need not wait", 3: "parked already"}
_PAGE = 100
"""Parked entries that are read at once; each may be large."""
_GONE = ("NOGROUP", "no such key", "requires the key to exist")
"""What Redis says of a group or stream that is no longer there; its wordings have no error code in common."""


@contextmanager
def _state_lost(partition: Partition) -> Generator[None, None, None]:
    try:
        yield
    except ResponseError as error:
        if any(words in str(error) for words in _GONE):
            raise StateLost(f"{partition}: {error}") from error
        raise


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


CREATE = _script("create.lua")


class Group:
    """A consumer group on a partition, used by one process at a time."""

    def __init__(self, client: "Redis", name: str, partition: Partition, *, owner: str, lease: float) -> None:
        self.name = name
        self.partition = partition
        self.epoch = 0
        self.client = client
        self.owner = owner
        self._lease_ms = int(lease * 1000)
        key = partition.key
        self.lease_key, self._attempts = f"{key}:lease:{name}", f"{key}:attempts:{name}"
        self._parked, self._subjects = parked_key(key, name), subjects_key(partition, name)
        self._positions = parked_positions_key(key, name)
        self._retries, self._restarts = retry_key(partition, name), restarts_key(key)
        self._acquire = client.register_script(_script("acquire.lua"))
        self._advance = client.register_script(_script("advance.lua"))
        self._park = client.register_script(_script("park.lua"))
        self._release = client.register_script(_script("release.lua"))
        self._unpark = client.register_script(UNPARK)
        self._first = client.register_script(_script("first.lua"))
        self._first_parked = client.register_script(_script("first_parked.lua"))
        self._create = client.register_script(CREATE)
        self._attempt = client.register_script(_script("attempt.lua"))
        self._report = client.register_script(_script("report.lua"))

    async def create(self) -> None:
        """Create the group, unless it is there: where it stood when it was retired, or at the beginning."""
        await self._create(keys=[self.partition.key, self._restarts], args=[self.name])

    async def acquire(self, above: int = 0) -> bool:
        """Take the lease if it is free, with an epoch above every one before, whatever Redis remembers of them."""
        keys = [self.lease_key, f"{self.lease_key}:epoch"]
        epoch = cast("int", await self._acquire(keys=keys, args=[self.owner, self._lease_ms, above]))
        self.epoch = epoch
        return epoch > 0

    async def renew(self) -> None:
        """Hold the lease for another term.

        Raises:
            LeaseLost: another process has it.
        """
        await self.advance(self.partition.key, None)

    async def advance(self, stream_key: str, position: Position | None) -> None:
        """Move the group past what its sink made durable, and renew the lease, in one round trip.

        Raises:
            LeaseLost: another process has the partition; its own position counts.
            StateLost: the group or its stream is gone.
        """
        with _state_lost(self.partition):
            moved = await self._advance(
                keys=[self.lease_key, stream_key],
                args=[self.holder, self._lease_ms, self.name, "" if position is None else str(position)],
            )
        if not moved:
            raise LeaseLost(str(self.partition))

    async def park(self, stream_key: str, entries: Sequence[Aside], *, block: bool) -> list[Became]:
        """Set entries that follow one another aside, whole, with the reasons; what became of each, in one round trip.

        `block` makes later events of their subjects wait behind them. A live entry that is parked already stays as it
        is. One of the class `behind` need not wait if an operator has dropped what it would wait for: it is the last
        in the list, and it and those behind it are where they were.

        Raises:
            LeaseLost: another process has the partition.
            StateLost: the group or its stream is gone.
        """
        arguments: list[str | bytes | int] = []
        for one in entries:
            subject = one.subject if block else ""
            fields = parked_fields(one, self.name, blocks=bool(subject))
            arguments += [one.entry.entry_id, subject, int(one.reason_class == BEHIND), len(fields), *fields]
        with _state_lost(self.partition):
            became = await self._park(
                keys=[self.lease_key, stream_key, self._parked, self._subjects, self._positions],
                args=[self.holder, self.name, int(stream_key == self.partition.key), *arguments],
            )
        if became is None:
            raise LeaseLost(str(self.partition))
        return [_BECAME[one] for one in cast("list[int]", became)]

    async def retries(self) -> AsyncGenerator[tuple[str, RawEntry, str], None]:
        """Parked entries that an operator wants tried again, in order, with its parked id and the subject it blocks."""
        wanted = {name.decode() for name in cast("set[bytes]", await cast("Any", self.client.smembers(self._retries)))}
        if not wanted:
            return
        await cast("Any", self.client.srem(self._retries, *wanted))
        first = "-"
        while page := await self.client.xrange(self._parked, first, count=_PAGE):
            for parked_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", page):
                entry, first = original(fields), f"({parked_id.decode()}"
                if f"={parked_id.decode()}" in wanted or subject_of(entry) in wanted:
                    subject = (subject_of(entry) or "") if fields.get(b"parked_blocks") == b"1" else ""
                    yield parked_id.decode(), entry, subject

    async def unpark(self, parked_id: str, subject: str, position: Position) -> bool:
        """Remove a parked entry that took effect at last; whether its subject still waits for another one."""
        keys = [self._parked, self._subjects, self._positions]
        _, waits = cast("list[int]", await self._unpark(keys=keys, args=[parked_id, subject, 0, str(position)]))
        return bool(waits)

    async def dropped(self) -> set[bytes]:
        """Ids of live entries that an operator has given up."""
        return set((await self._known_positions()).dropped)

    async def set_aside(self) -> frozenset[bytes]:
        """Positions that are parked, or were dropped."""
        return (await self._known_positions()).all

    async def release(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        await self._release(keys=[self.lease_key, self._attempts], args=[self.holder])

    async def parked_subjects(self) -> set[str]:
        """Subjects with a parked event; their later events wait behind it."""
        reply = cast("list[bytes]", await cast("Any", self.client.hkeys(self._subjects)))
        return {subject.decode() for subject in reply}

    async def first_parked(self) -> dict[str, Position]:
        """Where the first parked event of each subject stands that blocks it."""
        found, last = dict[str, Position](), "-"
        while True:
            reply = await self._first_parked(keys=[self._parked], args=[last, _PAGE])
            page = [text.decode("utf-8", "backslashreplace") for text in cast("list[bytes]", reply)]
            if not page[0]:
                return found
            for subject, text in zip(page[1::2], page[2::2], strict=True):
                position = Position.parse(text)
                found[subject] = min(found.get(subject, position), position)
            last = f"({page[0]}"

    async def count_parked_subjects(self) -> int:
        """How many subjects have a parked event."""
        return int(await cast("Any", self.client.hlen(self._subjects)))

    async def position(self, stream_key: str) -> Position:
        """The group's position, the beginning if it has none."""
        return await self.position_of(self.name, stream_key)

    async def position_of(self, name: str, stream_key: str) -> Position:
        """The position of any group of a stream, the beginning if there is no such group or stream."""
        try:
            groups = await self.client.xinfo_groups(stream_key)
        except ResponseError as error:
            if not is_missing(error):
                raise
            return START  # a replay run that ended, or was forgotten
        for group in groups:
            if group["name"] == name.encode():
                return Position.parse(group["last-delivered-id"])
        return START

    async def note_attempt(self, stream_key: str, cursor: Position) -> int:
        """How many processes began to handle what stands behind this very position; all but this one died of it."""
        return cast("int", await self._attempt(keys=[self._attempts], args=[stream_key, str(cursor), self.owner]))

    async def forget_attempts(self) -> None:
        """Take note that this process has failed and lives."""
        await self.client.delete(self._attempts)

    async def sequence_at(self, position: Position) -> int | None:
        """The highest sequence number up to the entry at a position, None if that entry is gone or none has one."""
        if position == START:
            return 0
        reply = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            await self.client.xrevrange(self.partition.key, str(position), "-", count=_LOOK_BACK),
        )
        if not reply or Position.parse(reply[0][0]) != position:
            return None
        numbers = (fields.get(b"ce_sequence", b"") for _, fields in reply)
        return max((number for each in numbers if (number := sequence_number(each)) is not None), default=None)

    async def first_positions(self, entries: Sequence[tuple[str, bytes]]) -> list[Position]:
        """Where each event, given by its id and the id of its entry, stands first in the stream."""
        ids = f"{self.partition.key}:ids:"
        pairs = [part for entry in entries for part in entry]
        reply = await self._first(keys=[f"{ids}0", f"{ids}1"], args=[DEFAULT_WINDOW, *pairs])
        return [Position.parse(position) for position in cast("list[bytes]", reply)]

    async def replays(self) -> list[str]:
        """Replay runs that this group is to read."""
        reply = cast("Mapping[bytes, bytes]", await cast("Any", self.client.hgetall(f"{self.partition.key}:replays")))
        return [run.decode() for run, to in reply.items() if self.name in to.decode().split(",")]

    async def read(
        self, cursors: Mapping[str, Position], *, count: int, block: int | None
    ) -> dict[str, Sequence[RawEntry]]:
        """Read entries behind each cursor, at most `count` a stream; wait up to `block` milliseconds for one."""
        arguments: list[Any] = ["XREAD", "COUNT", count]
        if block is not None:
            arguments += ["BLOCK", block]
        arguments += ["STREAMS", *cursors, *map(str, cursors.values())]
        reply = await cast("Any", self.client).execute_command(*arguments)
        pairs = cast("Any", reply.items() if isinstance(reply, dict) else reply or ())
        return {key.decode(): [RawEntry(*entry) for entry in entries] for key, entries in pairs}

    async def report(self, report: Report) -> None:
        """Publish what `status` shows."""
        content = msgspec.json.encode(report).decode()
        await self._report(keys=[f"{self.partition.key}:consumers"], args=[self.name, content])

    @property
    def holder(self) -> str:
        """What the lease holds while it is ours."""
        return f"{self.owner}/{self.epoch}"

    async def _known_positions(self) -> ParkedPositions:
        return split_positions(await cast("Any", self.client.hgetall(self._positions)))
