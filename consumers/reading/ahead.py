"""Reading ahead: while a batch is made durable, the next one is read and decoded."""

import asyncio
import time
from collections.abc import Mapping

from playhead.consumers.reading.group import Group
from playhead.consumers.tasks import end
from playhead.streams.entries import RawEntry, decode
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.positions import Position

Decoded = tuple[RawEntry, Recorded | InvalidEvent]
Found = dict[str, list[Decoded]]

_FIRST_COUNT = 32
"""Entries of the first read; how large they are is only known then."""
_TRICKLE_SECONDS = 0.003
"""Between two reads of which the first found less than it could: a read costs several times what an event costs."""


class ReadAhead:
    """Reads behind cursors, `most` entries or about so many bytes at once. Reading changes nothing on the server."""

    def __init__(self, group: Group, most: int, batch_bytes: int) -> None:
        self._group, self._most, self._bytes = group, most, batch_bytes
        self._count = min(_FIRST_COUNT, most)
        self._begun: tuple[Mapping[str, Position], asyncio.Task[Found]] | None = None
        self._not_before = 0.0

    async def read(self, cursors: Mapping[str, Position], *, block: int | None, count: int | None = None) -> Found:
        """What follows the cursors, read ahead or read now; wait up to `block` milliseconds for something."""
        if self._begun is not None:
            begun_at, reading = self._begun
            if begun_at == cursors and count is None:
                self._begun = None
                return await reading
            await self.forget()
        await asyncio.sleep(self._not_before - time.monotonic())
        return await self._read(cursors, count or self._count, block)

    def begin(self, cursors: Mapping[str, Position], found: Found) -> None:
        """Read what follows `found`, if there was as much as was asked for."""
        full = any(len(entries) >= self._count for entries in found.values())
        size = sum(sum(map(len, entry.fields)) for entries in found.values() for entry, _ in entries)
        if size > self._bytes:
            self._count = max(1, self._count * self._bytes // size)
        elif full:
            self._count = min(self._count * 2, self._most)
        if full:
            behind = {**cursors, **{key: Position.parse(entries[-1][0].entry_id) for key, entries in found.items()}}
            self._begun = (behind, asyncio.create_task(self._read(behind, self._count, None)))
        else:
            self._not_before = time.monotonic() + _TRICKLE_SECONDS

    async def forget(self) -> None:
        """Drop what was read ahead."""
        if self._begun is not None:
            _, reading = self._begun
            self._begun = None
            await end(reading)

    async def _read(self, cursors: Mapping[str, Position], count: int, block: int | None) -> Found:
        found = await self._group.read(cursors, count=count, block=block)
        live = self._group.partition.key
        return {
            key: [(entry, decoded(entry, copied=key != live)) for entry in entries] for key, entries in found.items()
        }


def decoded(entry: RawEntry, *, copied: bool = False) -> Recorded | InvalidEvent:
    """The event of an entry, or what is wrong with it."""
    try:
        return decode(entry, copied=copied)
    except InvalidEvent as error:
        return error
