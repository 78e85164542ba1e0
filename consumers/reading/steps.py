"""What a feed yields: the steps that bring a sink from its checkpoint to the end of the stream."""

from collections.abc import Sequence

import msgspec

from playhead.consumers.reading.ahead import Decoded
from playhead.streams.events import Recorded


class Entries(msgspec.Struct, frozen=True):
    """Entries of one stream, one at least, with nothing missing before or between them.

    `logged` ones are handled as if the stream still had them.
    """

    key: str
    found: Sequence[Decoded]
    logged: bool = False


class Again(msgspec.Struct, frozen=True):
    """A logged event that may have been passed over. Applying it changes nothing if it took effect."""

    recorded: Recorded


class Waiting(msgspec.Struct, frozen=True):
    """Nothing can be read until somebody else has acted."""

    why: str


class Recovered(msgspec.Struct, frozen=True):
    """Redis was given what it had lost, also of what is parked or dropped."""


Step = Entries | Again | Waiting | Recovered
