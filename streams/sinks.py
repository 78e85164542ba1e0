"""The interface between a consumer process and the place that it writes to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

Outcome = Literal["applied", "already applied", "fenced"]
"""`fenced`: a newer owner of the partition has opened the sink; this process must stop writing at once."""


Failure = Literal["transient", "lasting", "permanent", "fatal"]
"""What an error of a sink means.

- `transient`: the same call may succeed later. It is retried with exponential backoff, forever.
- `lasting`: the sink itself is in trouble until somebody fixes it, and no event is to blame. The sink is opened again,
  every 30 seconds.
- `permanent`: the event is to blame. It is parked.
- `fatal`: no retry can help in this process. The process ends, with nothing acknowledged since.
"""

PARKED, RECOVERY = "parked", "recovery"


class Source(msgspec.Struct, frozen=True):
    """Where a batch was read: the live stream of a partition, or the private stream of a replay run.

    `PARKED` stands there for events that an operator wants tried again, `RECOVERY` for those that may have been passed
    over.
    """

    partition: Partition
    replay: str | None = None

    def __str__(self) -> str:
        return f"{self.partition}/{self.replay}" if self.replay else str(self.partition)


class Batch(msgspec.Struct, frozen=True):
    """Events in the order of their source, one at least; `last` is the entry id after which reading goes on."""

    source: Source
    events: Sequence[Recorded]
    last: Position

    @property
    def sequence(self) -> int | None:
        """The number of the last event that has one."""
        return next((one.sequence for one in reversed(self.events) if one.sequence is not None), None)


@runtime_checkable
class Sink(Protocol):
    """A projection or the event log, as a consumer process sees it. One thread calls it, blocking is fine."""

    name: str
    streams: tuple[str, ...]
    exclusive: bool
    """True if one process must hold every partition, because events of different subjects share a file."""

    def open(self, partition: Partition, epoch: int) -> Position | None:
        """Take over a partition: fence every owner with a lower epoch, recover, and give the checkpoint.

        None means that the sink keeps none; then the group's position in Redis counts.
        """
        ...

    def apply(self, batch: Batch) -> Outcome:
        """Make the batch durable, all of it or nothing, idempotently.

        Raises:
            Exception: `classify` says whether the batch is retried or parked.
        """
        ...

    def settle(self) -> None:
        """Finish deferred work, such as a summary; called when there are no more events."""
        ...

    def close(self) -> None:
        """Release locks and connections."""
        ...

    def classify(self, error: Exception) -> Failure:
        """What an error of `open`, `apply` or `settle` means.

        `playhead.classify` answers for files, object stores and Postgres.
        """
        ...


@runtime_checkable
class KeepsCheckpoint(Protocol):
    """A sink whose checkpoint can move without an event, past those that are parked."""

    def pass_over(self, partition: Partition, last: Position, sequence: int | None) -> Outcome:
        """Move the checkpoint to `last`; `sequence` is the number of the last event up to there, if one has it.

        Raises:
            Exception: the sink is to be opened again.
        """
        ...


@runtime_checkable
class Examines(Protocol):
    """A sink that tells by an event alone that it cannot take it, so that such events are parked together."""

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for this event, whatever the sink holds and comes before it. Writes nothing.

        Raises:
            Exception: `classify` says whether it is the event's fault.
        """
        ...


@runtime_checkable
class OnDisk(Protocol):
    """A sink that writes files, or objects if it has no directory."""

    @property
    def directory(self) -> Path | None:
        """Where it writes."""
        ...

    def health(self) -> str | None:
        """What an operator must fix, such as a disk that is nearly full; None if nothing is wrong."""
        ...
