"""Cursors: how far somebody has read, and the events that say so."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic

import msgspec

from playhead.streams.errors import InvalidSetting
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.printable import quoted

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Payload = TypeVar("Payload", default=object)
else:
    from typing import TypeVar

    Payload = TypeVar("Payload")

_PART = re.compile(r"([a-z][a-z0-9_-]{0,63})/(0|[1-9]\d{0,8})@(\d{1,19})-(\d{1,19})", re.ASCII)


class Cursor(msgspec.Struct, frozen=True):
    """Where to continue: the position of the last event read, for each partition that one was read from.

    A partition without a position is read from the beginning. `str` and `parse` turn it into text and back, such as
    `jobs/0@1754541721120-0 notes/0@1754541721125-3`; the text of a cursor that has read nothing is empty.
    """

    positions: Mapping[Partition, Position] = msgspec.field(default_factory=dict[Partition, Position])

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what `str` wrote.

        Raises:
            InvalidSetting: it has another form.
        """
        found: dict[Partition, Position] = {}
        for part in text.split():
            match = _PART.fullmatch(part)
            if match is None:
                raise InvalidSetting(f"{quoted(part)} is not part of a cursor such as jobs/0@1754541721120-0")
            partition = Partition(match[1], int(match[2]))
            if partition in found:
                raise InvalidSetting(f"the cursor has two positions of {partition}")
            found[partition] = Position(int(match[3]), int(match[4]))
        return cls(found)

    def moved(self, partition: Partition, position: Position) -> "Cursor":
        """The cursor with one partition at another position."""
        return Cursor({**self.positions, partition: position})

    def __str__(self) -> str:
        return " ".join(f"{partition}@{self.positions[partition]}" for partition in sorted(self.positions))


class Received(Recorded[Payload], Generic[Payload], frozen=True, kw_only=True):
    """An event as a reader gets it: with its partition, and the cursor to continue behind it."""

    partition: Partition
    cursor: Cursor


def cursor_of(after: Cursor | str | None) -> Cursor:
    """A cursor from what a caller gives: itself, its text, or nothing for the beginning.

    Raises:
        InvalidSetting: the text is not that of a cursor.
    """
    if after is None:
        return Cursor()
    return Cursor.parse(after) if isinstance(after, str) else after
