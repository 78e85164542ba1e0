"""What every comparison of a projection with the log has."""

from collections.abc import Sequence
from pathlib import Path

from redis import Redis, RedisCluster

from playhead.consumers.reading.parked import ParkedEvents
from playhead.streams.partitions import Partition


class LogComparison:
    """Counts events, and keeps what is worth saying beside faults."""

    def __init__(self, client: "Redis | RedisCluster", root: Path, name: str, partitions: Sequence[Partition]) -> None:
        """`root` is that of the log, `partitions` those of the streams that the projection reads."""
        self._client, self._root, self._name, self.partitions = client, root, name, partitions
        self.checked = self.behind = 0
        self.remarks: list[str] = []
        self.moved: list[Path] = []
        """Where things are that a repair took out of the way, if it is worth saying."""

    def _set_aside(self, partition: Partition) -> frozenset[str]:
        """Positions of events that are parked, or that an operator dropped."""
        return ParkedEvents(self._client, self._name, partition).positions()
