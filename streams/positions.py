"""Positions in a partition, and the order of events of one subject."""

from typing import NamedTuple

import msgspec

from playhead.streams.errors import InvalidEvent
from playhead.streams.printable import quoted

_DIGITS, _LARGEST = 20, 2**64 - 1
_LAST_MILLISECONDS, _LAST_COUNTER = 253_402_300_799_999, 9_999_999_999
"""The end of the year 9999, and what `Order` has digits for."""


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """An entry id of a Redis Stream: milliseconds of the server's clock, and a counter. Compares as a pair."""

    milliseconds: int
    counter: int

    @classmethod
    def parse(cls, text: str | bytes) -> "Position":
        """Read `1754541721120-0`.

        Raises:
            InvalidEvent: it has another form.
        """
        if isinstance(text, str):
            text = text.encode("ascii", "replace")
        first, _, second = text.partition(b"-")
        if not (first.isdigit() and second.isdigit() and len(first) <= _DIGITS and len(second) <= _DIGITS):
            raise InvalidEvent("position", f"{quoted(text)} is not a position like 1754541721120-0")
        milliseconds, counter = int(first), int(second)
        if milliseconds > _LARGEST or counter > _LARGEST:
            raise InvalidEvent("position", f"{quoted(text)} is beyond the last one that Redis has")
        return cls(milliseconds, counter)

    @property
    def is_usable(self) -> bool:
        """Whether every sink can hold it: an id beyond that is nobody's clock's, but was given with XADD by hand."""
        return self.milliseconds <= _LAST_MILLISECONDS and self.counter <= _LAST_COUNTER

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.counter}"


START = Position(0, 0)
LAST = Position(_LAST_MILLISECONDS, _LAST_COUNTER)
"""The last usable position."""
BEYOND = Position(_LAST_MILLISECONDS + 1, 0)
"""The first position whose milliseconds are not usable."""


class Order(NamedTuple):
    """Where an event stands among the events of its subject: a total order, the same on every replay.

    A live event stands at its position. An imported one arrived long after its time, so it stands at its
    event time, at its arrival at the latest, and its position only breaks ties
    (docs/decisions/0003-order-against-the-past.md).
    """

    milliseconds: int
    counter: int
    imported_at: Position

    def __str__(self) -> str:
        """A text that sorts bytewise like the tuple."""
        at = self.imported_at
        return "%015d-%010d-%015d-%010d" % (self.milliseconds, self.counter, at.milliseconds, at.counter)  # noqa: UP031  # half the cost

    @classmethod
    def parse(cls, text: str) -> "Order":
        """Read what `str` wrote.

        Raises:
            ValueError: it has another form.
        """
        milliseconds, counter, at_milliseconds, at_counter = (int(part) for part in text.split("-"))
        return cls(milliseconds, counter, Position(at_milliseconds, at_counter))
