"""What the outside sees of a reader."""

from playhead.streams.partitions import Partition
from playhead.streams.sinks import Batch

REASONS = ("undecodable", "refused", "behind", "killed")
"""Classes of reasons for which an event is parked."""


class Observer:
    """What the outside sees of a reader; the default sees nothing."""

    def standing_by(self, partition: Partition) -> None:
        """A reader has started, and holds nothing yet."""

    def applied(self, batch: Batch, seconds: float) -> None:
        """A batch is durable in the sink, which took so long."""

    def failed(self, batch: Batch, seconds: float, error: BaseException) -> None:
        """The sink did not take a batch, after so long."""

    def settled(self, batch: Batch, seconds: float) -> None:
        """The group was moved past a batch, which took so long."""

    def caught_up(self, partition: Partition, *, caught_up: bool) -> None:
        """A read found nothing more, or found something."""

    def holding(self, partition: Partition, parked_subjects: int) -> None:
        """The lease is ours; so many subjects wait behind a parked event."""

    def let_go(self, partition: Partition) -> None:
        """The lease is no longer ours, or will not be in a moment."""

    def parked(self, partition: Partition, reason_class: str) -> None:
        """An event was set aside."""

    def retried(self, partition: Partition) -> None:
        """A batch is tried again after a transient failure."""

    def lost(self, partition: Partition, count: int) -> None:
        """The sequence has a gap: events are gone from the stream unread."""
