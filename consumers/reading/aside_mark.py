"""The mark in Redis of the notes that it knows of: a Redis that lost its data lost it, an older copy has an older one.

The mark says what is about to be noted before it is. So the process may die at any time: what changes in Redis until
the next one starts is not taken for what Redis forgot (docs/decisions/0023-parked-and-dropped.md).
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import msgspec

from playhead.consumers.errors import StateLost
from playhead.consumers.reading.group import Group
from playhead.eventlog.asides import AsideNote

_NUMBER = b"number"


class Known(msgspec.Struct, frozen=True):
    """Redis knows of the notes up to `number`, below all of them if it lost its data, and maybe of those up to `most`.

    If `is_restoring`, it has not been given back all that it lost.
    """

    number: int
    most: int
    is_restoring: bool = False


class AsideMark:
    """The mark of one partition, changed only if it is what it was: a flush in between is noticed."""

    def __init__(self, group: Group) -> None:
        self._client, self._partition = group.client, group.partition
        self.key = f"{group.partition.key}:asides"
        self._exchange = group.client.register_script(Path(__file__).with_name("exchange.lua").read_text())
        self._is = b""

    async def read(self) -> Known:
        """What it says."""
        return known_of(cast("bytes | None", await cast("Any", self._client.hget(self.key, _NUMBER))))

    async def begin(self) -> Known:
        """What it says; it is to stay so until it is changed here."""
        self._is = cast("bytes | None", await cast("Any", self._client.hget(self.key, _NUMBER))) or b""
        return known_of(self._is)

    async def note(self, number: int, most: int) -> None:
        """Say that notes behind a number are about to be written.

        Raises:
            StateLost: Redis lost its data meanwhile.
        """
        await self._become(f"noting {number} {most}")

    async def know(self, number: int) -> None:
        """Say that Redis knows of all notes up to a number.

        Raises:
            StateLost: Redis lost its data meanwhile.
        """
        await self._become(str(number))

    async def restore(self, known: Known) -> None:
        """Say that Redis is given back what is noted behind what it knows; what it was given already stays known."""
        if known.is_restoring:
            return
        self._is = f"restoring {known.number} {uuid4()}".encode()
        await cast("Any", self._client.hset(self.key, cast("Any", _NUMBER), cast("Any", self._is)))

    async def given(self) -> frozenset[tuple[bytes, int]]:
        """What Redis was given back when a restore was cut short: a field of each, and the number of its note."""
        fields = cast("dict[bytes, bytes]", await cast("Any", self._client.hgetall(self.key)))
        return frozenset((field, int(number)) for field, number in fields.items() if field != _NUMBER)

    async def give(self, notes: Collection[AsideNote]) -> None:
        """Say that Redis was given these back."""
        if notes:
            fields = {field_of(note): note.number for note in notes}
            await cast("Any", self._client.hset(self.key, mapping=cast("Any", fields)))

    async def _become(self, text: str) -> None:
        if not await self._exchange(keys=[self.key], args=[_NUMBER, self._is, text]):
            raise StateLost(f"{self._partition}: Redis forgot what is parked")
        self._is = text.encode()


def field_of(note: AsideNote) -> bytes:
    """The field of the mark that says that Redis was given a note back."""
    return f"{note.position} {note.consumer}".encode()


def known_of(raw: bytes | None) -> Known:
    """What a mark says; of one that says nothing, that Redis lost its data."""
    match (raw or b"").split():
        case [number] if number.isdigit():
            return Known(int(number), int(number))
        case [b"noting", number, most] if number.isdigit() and most.isdigit():
            return Known(int(number), int(most))
        case [b"restoring", number, _] if number.isdigit():
            return Known(int(number), int(number), is_restoring=True)
        case [b"restoring", *_]:
            return Known(-1, -1, is_restoring=True)
        case _:
            return Known(-1, -1)
