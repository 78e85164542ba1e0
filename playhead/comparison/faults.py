"""Faults: what is wrong with a projection, as the comparison found it, without the events that show it."""

from collections.abc import Sequence
from typing import Literal, Self, cast

import msgspec

from playhead.projections.verification import Inventory, Lack, Repair, Stray
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

FaultKind = Literal["missing", "stale", "altered", "stray", "unlogged"]

_UNLOGGED = "append the event again, or restore the log from a backup"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A row or file that is not as the log says, or that the log says nothing of.

    The event is the one that should stand there. `standing` and `content` say what stood there when it was judged: a
    repair touches nothing else.
    """

    kind: FaultKind
    key: str
    place: str
    problem: str
    repair: Repair = "none"
    whole: bool = False
    partition: Partition | None = None
    position: Position | None = None
    subject: str | None = None
    standing: str | None = None
    content: bytes | None = None

    @classmethod
    def of(cls, partition: Partition, lack: Lack, kind: FaultKind | None = None) -> Self:
        """What an event lacks; `kind` if the log told more than what is there."""
        assert kind is not None or lack.kind != "other", "the log must say what that is"
        return cls(
            kind=kind or cast("FaultKind", lack.kind),
            key=lack.key,
            place=lack.place,
            problem=lack.problem,
            repair=lack.repair,
            whole=lack.whole,
            partition=partition,
            position=lack.recorded.position,
            subject=lack.recorded.event.subject,
            standing=lack.standing,
            content=lack.content,
        )

    @classmethod
    def of_unlogged(cls, key: str, place: str, projection: object) -> Self:
        """Something of an event that the log does not have."""
        way = projection.unlogged if isinstance(projection, Inventory) else _UNLOGGED
        return cls(kind="unlogged", key=key, place=place, problem=f"the log has no event for it; {way}")

    @classmethod
    def of_stray(cls, stray: Stray) -> Self:
        """What belongs to no event."""
        return cls(kind="stray", key=stray.key, place=stray.place, problem=stray.problem)

    def is_still(self, lack: Lack) -> bool:
        """Whether what stands there is what was judged."""
        return (self.kind == "missing") == (lack.kind == "missing") and (self.standing, self.content) == (
            lack.standing,
            lack.content,
        )


class Comparison(msgspec.Struct, frozen=True):
    """What is wrong, the keys of what cannot be judged as the log may lack its events, and why."""

    faults: Sequence[Fault] = ()
    undecided: Sequence[str] = ()
    reason: str = ""


def without_payload(lack: Lack) -> Lack:
    """The same without what makes it large."""
    event = msgspec.structs.replace(lack.recorded.event, data=b"")
    return msgspec.structs.replace(lack, recorded=msgspec.structs.replace(lack.recorded, event=event))
