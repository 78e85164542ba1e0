"""What a projection that can be checked against the log offers `playhead verify`; nothing of it is on the hot path."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from playhead.streams.events import Recorded

LackKind = Literal["missing", "stale", "altered", "other"]
"""`missing`: nothing stands there. `stale`: an older event does. `altered`: the event does, and was changed. `other`:
another event does, a newer one or one that only the log can place; that alone is no fault.
"""

Repair = Literal["replay", "replace", "none"]
"""`replay`: its events bring back what is missing. `replace`: what stands there is taken out of the way first."""


class Lack(msgspec.Struct, frozen=True):
    """An event that has not the effect it should have. `key` names the row or file, `place` where it belongs.

    `standing` is the mark of the event that stands there, None if nothing tells it; `content` a digest of what stands
    there, if the mark does not say all. If it is `whole`, all events of the key, or of the group of that key, are
    replayed; otherwise this one is.
    """

    kind: LackKind
    key: str
    recorded: Recorded
    place: str
    problem: str
    whole: bool = False
    repair: Repair = "replay"
    standing: str | None = None
    content: bytes | None = None


class Stray(msgspec.Struct, frozen=True):
    """Something that no event gave: `key` names it, `place` where it is. No replay mends it."""

    key: str
    place: str
    problem: str


class Held(msgspec.Struct, frozen=True):
    """Something that a projection holds, with the mark of the event that it says it is of."""

    key: str
    mark: str
    place: str


class Remark(msgspec.Struct, frozen=True):
    """Something that a person should know, and that is no fault."""

    text: str


class Compared(Protocol):
    """What a projection can be compared by."""

    def key(self, recorded: Recorded) -> str | None:
        """What the event is about in this projection, None if it takes no notice of it."""
        ...

    def rank(self, recorded: Recorded) -> str:
        """Sorts as the projection chooses between events of a key: the last one stands."""
        ...

    def mark(self, recorded: Recorded) -> str:
        """What the projection keeps of an event beside its effect, so that one can tell whose effect it is."""
        ...

    def discard(self, lack: Lack) -> bool:
        """Take what keeps a replay from putting the event in its place out of the way; asked if `repair` is `replace`.

        False, and nothing is done, if it is not what the lack was found with: it has changed since.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Verifiable(Compared, Protocol):
    """Compares events with what a projection holds: the last event of a key says all of it."""

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events that the projection does not show, also those that a newer event of their key replaced."""
        ...


@runtime_checkable
class Foldable(Compared, Protocol):
    """Compares what comes of all events of a key with what a projection holds."""

    def follow(self, recorded: Recorded) -> None:
        """Take the next event; those of a key come together."""
        ...

    def differences(self) -> Iterator[Lack]:
        """What the projection holds otherwise, after all events that were followed; then begin anew."""
        ...


@runtime_checkable
class Grouped(Protocol):
    """Keeps something of many keys together; a lack of it is `whole`, and has the group's key."""

    def group(self, recorded: Recorded) -> str | None:
        """The key of what an event is in together with others, None if it is in none."""
        ...


@runtime_checkable
class Inventory(Protocol):
    """Lists what it holds, so that what no event of the log gave is found."""

    compares: str
    """What is compared, in a few words."""
    unlogged: str
    """What to do about something whose event the log does not have."""

    def held(self) -> Iterator[Held | Stray | Remark]:
        """All that it holds, in bounded memory; asked once, when all events were compared."""
        ...
