"""Comparison: the rows, or files, of a projection with one partition of the log."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from redis import Redis, RedisCluster

from playhead.consumers.reading.parked import ParkedEvents
from playhead.eventlog.reader import read_partition
from playhead.projections.verification import Foldable, Lack, Verifiable
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.redis.stream_info import group_position

_CHUNK = 500


class PartitionCompared(msgspec.Struct, frozen=True):
    """What a projection lacks of a partition, and how many events it has come to, and not yet."""

    lacks: Sequence[Lack]
    checked: int
    behind: int


class PartitionComparison:
    """Compares one projection with one partition; an event that is parked, or that an operator gave up, is no fault."""

    def __init__(self, client: "Redis | RedisCluster", root: Path, name: str, partition: Partition) -> None:
        """`root` is that of the log."""
        self._root, self._partition = root, partition
        self._reached = group_position(client, partition, name)
        self._aside = ParkedEvents(client, name, partition).positions()
        self._checked = self._behind = 0

    def compare(self, projection: Verifiable | Foldable) -> PartitionCompared:
        """Find what is missing or wrong; what the projection has not come to yet is neither."""
        lacks = self._folded(projection) if isinstance(projection, Foldable) else self._by_last(projection)
        return PartitionCompared(lacks, self._checked, self._behind)

    def _folded(self, projection: Foldable) -> list[Lack]:
        for within in self._within():
            for recorded in within:
                if not self._is_aside(recorded):
                    projection.follow(recorded)
        return list(projection.differences())

    def _by_last(self, projection: Verifiable) -> list[Lack]:
        doubtful: set[str] = set()
        for within in self._within():
            doubtful.update(lack.key for lack in projection.lacks(within))
        newest: dict[str, tuple[str, Recorded]] = {}
        for chunk in chunks(self._root, self._partition) if doubtful else ():
            for recorded in chunk:
                key = projection.key(recorded)
                if key in doubtful and recorded.position <= self._reached and not self._is_aside(recorded):
                    rank = projection.rank(recorded)
                    if key not in newest or newest[key][0] < rank:
                        newest[key] = rank, recorded
        # A newer event of the same key may have come in since, so what is still wrong now is wrong.
        return list(projection.lacks([recorded for _, recorded in newest.values()]))

    def _within(self) -> Iterator[list[Recorded]]:
        """What the projection has come to, and count it."""
        for chunk in chunks(self._root, self._partition):
            within = [recorded for recorded in chunk if recorded.position <= self._reached]
            self._checked, self._behind = self._checked + len(within), self._behind + len(chunk) - len(within)
            yield within

    def _is_aside(self, recorded: Recorded) -> bool:
        return str(recorded.position) in self._aside


def chunks(root: Path, partition: Partition) -> Iterator[list[Recorded]]:
    """Give the events of a partition of the log, 500 at once; damaged ones are left out."""
    events = read_partition(root, partition, None, strict=False)
    while chunk := list(islice(events, _CHUNK)):
        yield chunk
