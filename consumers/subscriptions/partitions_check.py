"""Whether a subscription reads as many partitions as its streams have."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from redis import Redis, RedisCluster

from playhead.eventlog.segments import partition_count
from playhead.streams.errors import KeyDamaged, PartitionsChanged, RedisUnavailable
from playhead.streams.redis.partition_counts import PartitionCounts


class PartitionsCheck:
    """Takes the number of partitions from Redis, and compares it with what the subscription reads, as it may change.

    A subscription that begins while Redis is away goes by the log, until Redis says more.
    """

    def __init__(
        self, client: "Redis | RedisCluster", streams: Sequence[str], given: int | None, log: Path | None
    ) -> None:
        self._logged = partial(partition_count, log)
        self._counts = PartitionCounts(lambda: client, given, logged=self._logged)
        self._streams, self._given = streams, given
        self._read: dict[str, int] = {}

    def begin(self) -> dict[str, int]:
        """The number of each stream.

        Raises:
            PartitionsChanged: the number that was given is another one.
            KeyDamaged: what is recorded is no number.
        """
        try:
            self._read = self._counts.read(self._streams)
        except KeyDamaged:
            raise
        except RedisUnavailable:
            self._read = {stream: self._given or self._logged(stream) or 1 for stream in self._streams}
        return self._read

    def __call__(self) -> None:
        """Raise if there are other partitions by now.

        Raises:
            PartitionsChanged: with both numbers.
        """
        try:
            found = self._counts.read(self._streams)
        except RedisUnavailable:  # who reads says so
            return
        for stream, count in found.items():
            if count != self._read[stream]:
                raise PartitionsChanged(
                    f"{stream} has {count} partitions by now, not {self._read[stream]}: subscribe again, without"
                    " partitions="
                )
