"""Entries that the processes of a worker hold while they work on them.

The group's pending entries in Redis are the entries in hand or deferred; a sorted set beside them says from when anyone
may take each: the end of its hold, or the time of its next attempt. Both survive every process
(docs/decisions/0005-workers.md).
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from redis.asyncio import Redis

from playhead.consumers.errors import LONGEST_WAIT, HoldLost
from playhead.consumers.reading.group import CREATE, Group, Report
from playhead.consumers.reading.parked import Aside, parked_fields, retry_key
from playhead.consumers.reading.recovery import Recovery, restarts_key
from playhead.streams.entries import RawEntry, encode
from playhead.streams.events import Recorded
from playhead.streams.names import again_key, parked_key, parked_positions_key, presence_key, waiting_key
from playhead.streams.parked_positions import split_positions
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

HORIZON = LONGEST_WAIT + 3600
"""Seconds beyond which nothing is ever deferred; a later time was written by a clock that went back since, by more than
it is adjusted.
"""

_SILENT_MS = 3600 * 1000

Begun = Literal["done already", "begun", "gap"]
_BEGUN: dict[int, Begun] = {0: "done already", 1: "begun", 2: "gap"}


class Held(msgspec.Struct, frozen=True):
    """An entry in hand; `attempt` counts every time it was given to a process, this one included."""

    entry: RawEntry
    attempt: int


class Taken(msgspec.Struct, frozen=True):
    """What one look into a stream gave; `newest` is the id after which to wait, `lost` are ids of deleted entries."""

    newest: bytes
    lost: Sequence[bytes]
    held: Sequence[Held]


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


class Holds:
    """The work of one group on one partition, or on the private stream of what an operator gave it again."""

    def __init__(
        self, client: "Redis", group: str, partition: Partition, types: frozenset[str], *, owner: str, hold: float
    ) -> None:
        self.partition = partition
        self._client, self._group, self._owner = client, group, owner
        self._types, self._hold_ms = sorted(types), int(hold * 1000)
        self._stream = partition.key
        self._parked, self._retry = parked_key(partition.key, group), retry_key(partition, group)
        self._positions = parked_positions_key(partition.key, group)
        self._presence = presence_key(partition.key, group)
        self._as_group = Group(client, group, partition, owner=owner, lease=hold)
        self.recovery = Recovery(self._as_group)
        self._create = client.register_script(CREATE)
        self._begin = client.register_script(_script("begin.lua"))
        self._take = client.register_script(_script("take.lua"))
        self._keep = client.register_script(_script("keep.lua"))
        self._finish = client.register_script(_script("finish.lua"))
        self._postpone = client.register_script(_script("postpone.lua"))
        self._listen = client.register_script(_script("listen.lua"))
        self._wake = client.register_script(_script("wake.lua"))
        self._again = client.register_script(_script("again.lua"))
        self._leave = client.register_script(_script("leave.lua"))

    def again(self) -> "Holds":
        """The private stream of parked entries that an operator gave to this group again."""
        private = Holds(
            self._client, self._group, self.partition, frozenset(), owner=self._owner, hold=self._hold_ms / 1000
        )
        private._stream = again_key(self.partition.key, self._group)
        private._types = self._types
        return private

    @property
    def is_private(self) -> bool:
        """True if only this group reads the stream, so that a finished entry is deleted."""
        return self._stream != self.partition.key

    async def create(self) -> None:
        """Create the group at the beginning of the stream, unless it is there."""
        await self._create(keys=[self._stream], args=[self._group])

    async def begin(
        self,
        position: Position,
        restart: int,
        unfinished: Sequence[Recorded],
        *,
        sequence: int | None = None,
        accepts_gap: bool = False,
    ) -> Begun:
        """Create the group at a position, and give it what is not finished before that.

        It is not created if entries behind the position are gone, unless that is accepted; `sequence` is the number
        that the stream has come to there, None if not known.
        """
        values: list[str | bytes | int] = []
        for recorded in unfinished:
            fields = encode(recorded.event, position=recorded.position)
            values += [len(fields), *fields]
        number = "" if sequence is None else sequence
        became = await self._begin(
            keys=[self._stream, self._due, again_key(self.partition.key, self._group), restarts_key(self.partition)],
            args=[self._group, str(position), restart, number, int(accepts_gap), *values],
        )
        return _BEGUN[cast("int", became)]

    async def take(self, most: int) -> Taken:
        """Take up to so many entries: what is due again or was left behind before what is new."""
        reply = cast(
            "tuple[bytes, list[bytes], list[tuple[tuple[bytes, list[bytes]], int]]]",
            await self._take(
                keys=[self._stream, self._due],
                args=[self._group, self._owner, most, self._hold_ms, HORIZON * 1000, *self._types],
            ),
        )
        newest, lost, taken = reply
        return Taken(newest, lost, [Held(RawEntry(*entry), attempt) for entry, attempt in taken])

    async def wait(self, newest: bytes, seconds: float) -> None:
        """Wait until the stream has an entry behind this id."""
        command: list[Any] = ["XREAD", "COUNT", 1, "BLOCK", int(seconds * 1000), "STREAMS", self._stream, newest]
        await cast("Any", self._client).execute_command(*command)

    async def keep(self, entries: Sequence[RawEntry] = ()) -> set[bytes]:
        """Hold entries for another term, and be seen; gives the ids that another process has meanwhile."""
        lost = await self._keep(
            keys=[self._stream, self._due, self._presence],
            args=[self._group, self._owner, self._hold_ms, *(entry.entry_id for entry in entries)],
        )
        return set(cast("list[bytes]", lost))

    async def report(self, state: Literal["running", "stopped"]) -> None:
        """Publish that a process is there, or ends, so that `status` knows since when there is none."""
        position = str(START)  # the group says how far it is
        await self._as_group.report(Report(state, position, position, self._owner, time.time()))

    async def finish(self, entry: RawEntry) -> None:
        """End the work on an entry.

        Raises:
            HoldLost: another process has it.
        """
        await self._end(entry, [])

    async def park(self, entry: RawEntry, reason: str, *, reason_class: str) -> None:
        """Set an entry aside, whole, with the reason.

        Raises:
            HoldLost: another process has it.
        """
        fields = parked_fields(Aside(entry, reason, reason_class), self._group, blocks=False)
        await self._end(entry, fields)

    async def set_aside(self) -> frozenset[bytes]:
        """Positions of events that are parked, were dropped, or given again."""
        return split_positions(await cast("Any", self._client.hgetall(self._positions))).all

    async def postpone(self, entry: RawEntry, seconds: float, *, counts: bool = True) -> None:
        """Let any process take an entry after so long; `counts` says whether this was an attempt.

        Raises:
            HoldLost: another process has it.
        """
        delay = min(int(seconds * 1000), LONGEST_WAIT * 1000)
        done = await self._postpone(
            keys=[self._stream, self._due, self._waiting],
            args=[self._group, self._owner, entry.entry_id, delay, int(counts)],
        )
        if not done:
            raise HoldLost(f"{self.partition} {entry.entry_id.decode()}")

    async def listen(self, entry: RawEntry, name: str) -> None:
        """Let an entry in hand wait for something: what comes from now on brings it forward if it is deferred."""
        await self._listen(keys=[self._waiting], args=[entry.entry_id, name])

    async def wake(self, name: str) -> None:
        """Bring the entry forward that waits for this."""
        await self._wake(keys=[self._waiting, self._due], args=[name])

    async def give_again(self) -> int:
        """Move parked entries that an operator wants tried again to the private stream."""
        wanted = cast("set[bytes]", await cast("Any", self._client.smembers(self._retry)))
        moved = 0
        for member in wanted:
            moved += cast(
                "int",
                await self._again(
                    keys=[self._parked, again_key(self.partition.key, self._group), self._retry, self._positions],
                    args=[member.removeprefix(b"="), member],
                ),
            )
        return moved

    async def leave(self) -> None:
        """Remove this process and those long gone from the group, but never one that has something pending."""
        await self._leave(keys=[self._stream], args=[self._group, _SILENT_MS, self._owner])

    def _position(self, entry: RawEntry) -> bytes:
        """Where the event stands in the partition; one that was given again says so."""
        if not self.is_private:
            return entry.entry_id
        return dict(zip(entry.fields[::2], entry.fields[1::2], strict=True)).get(b"ce_position", entry.entry_id)

    @property
    def _due(self) -> str:
        return f"{self._stream}:due:{self._group}"

    @property
    def _waiting(self) -> str:
        return waiting_key(self._stream, self._group)

    async def _end(self, entry: RawEntry, parked: Sequence[str | bytes]) -> None:
        done = await self._finish(
            keys=[self._stream, self._due, self._waiting, self._parked, self._positions],
            args=[self._group, self._owner, entry.entry_id, int(self.is_private), self._position(entry), *parked],
        )
        if not done:
            raise HoldLost(f"{self.partition} {entry.entry_id.decode()}")
