"""What the outside sees of a worker."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition

Ending = Literal["done", "put off", "parked", "taken over"]


class WorkObserver:
    """What the outside sees of a worker; the default sees nothing."""

    def working(self, partition: Partition, cause: Recorded) -> AbstractContextManager[None]:  # noqa: ARG002
        """Surround the work on an event."""
        return nullcontext()

    def ended(self, partition: Partition, how: Ending) -> None:
        """An entry left this process's hands."""

    def lost(self, partition: Partition) -> None:
        """An entry that was pending is gone from the stream."""
