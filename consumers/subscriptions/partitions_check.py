"""Whether a subscription was given the number of partitions that its streams have."""

from collections.abc import Sequence
from pathlib import Path

from playhead.consumers.subscriptions.stream import PartitionStream
from playhead.eventlog.reader import partitions as logged_partitions
from playhead.streams.errors import PartitionsChanged
from playhead.streams.partitions import Partition


class PartitionsCheck:
    """Compares the number of partitions that was given with what the streams have, as soon as they have any."""

    def __init__(
        self,
        streams: Sequence[str],
        partitions: int,
        log: Path | None,
        sources: Sequence[tuple[Partition, PartitionStream]],
    ) -> None:
        self._unknown, self._partitions, self._log, self._sources = set(streams), partitions, log, sources

    def __call__(self) -> None:
        """Raise if they differ.

        Raises:
            PartitionsChanged: with the number that there is.
        """
        if self._log is not None and self._unknown:
            for partition in logged_partitions(self._log):
                if partition.stream in self._unknown and partition.number >= self._partitions:
                    raise PartitionsChanged(f"{partition} is in the log: pass partitions=, that of PLAYHEAD_PARTITIONS")
        for partition, source in self._sources:
            if partition.stream in self._unknown and (recorded := source.recorded_partitions()) is not None:
                if recorded != self._partitions:
                    raise PartitionsChanged(
                        f"{partition.stream} has {recorded} partitions, not {self._partitions}:"
                        f" pass partitions={recorded}"
                    )
                self._unknown.discard(partition.stream)
