"""What a projection that can be checked against the log offers `playhead verify`; nothing of it is on the hot path."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import msgspec

from streams.events import Recorded

LackKind = Literal["missing", "stale", "altered"]


class Lack(msgspec.Struct, frozen=True):
    """An event that has not the effect it should have. `key` names the row or file, `place` where it belongs."""

    kind: LackKind
    key: str
    recorded: Recorded
    place: str
    problem: str


class Verifiable(Protocol):
    """Compares events with what a projection holds."""

    def key(self, recorded: Recorded) -> str | None:
        """What the event is about in this projection, None where it takes no notice of it."""
        ...

    def rank(self, recorded: Recorded) -> str:
        """Sorts as the projection chooses between events of a key: the last one stands."""
        ...

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events that the projection does not show; one that a newer event of its key replaced may be among them."""
        ...

    def discard(self, lack: Lack) -> None:
        """Remove what keeps a replay from putting the event in its place."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
