"""What a projection that can be checked against the log offers `playhead verify`; nothing of it is on the hot path."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from playhead.streams.events import Recorded

LackKind = Literal["missing", "stale", "altered"]


class Lack(msgspec.Struct, frozen=True):
    """An event that has not the effect it should have. `key` names the row or file, `place` where it belongs.

    A replay of the event mends it; of every event with its key if `whole`, and of none if not `replayed`.
    """

    kind: LackKind
    key: str
    recorded: Recorded
    place: str
    problem: str
    whole: bool = False
    replayed: bool = True


class Stray(msgspec.Struct, frozen=True):
    """Something that no event gave: `key` names it, `place` where it is. No replay mends it."""

    key: str
    place: str
    problem: str


class Compared(Protocol):
    """What a projection can be compared by."""

    def key(self, recorded: Recorded) -> str | None:
        """What the event is about in this projection, None if it takes no notice of it."""
        ...

    def discard(self, lack: Lack) -> None:
        """Remove what keeps a replay from putting the event in its place."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Verifiable(Compared, Protocol):
    """Compares events with what a projection holds: the last event of a key says all of it."""

    def rank(self, recorded: Recorded) -> str:
        """Sorts as the projection chooses between events of a key: the last one stands."""
        ...

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events that the projection does not show; one that a newer event of its key replaced may be among them."""
        ...


@runtime_checkable
class Foldable(Compared, Protocol):
    """Compares what comes of all events of a key with what a projection holds."""

    def follow(self, recorded: Recorded) -> None:
        """Take the next event."""
        ...

    def differences(self) -> Iterator[Lack]:
        """What the projection holds otherwise, after all events that were followed."""
        ...


@runtime_checkable
class Searchable(Protocol):
    """Finds what it holds of no event at all."""

    def strays(self) -> Iterator[Stray]:
        """What should not be there; asked once, when all events were compared."""
        ...
