"""Comparison: the files of a projection with the log, while both go on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from redis import Redis, RedisCluster

from playhead.comparison.base import LogComparison
from playhead.comparison.faults import Comparison, Fault
from playhead.comparison.level import LogLevel, chunks
from playhead.eventlog.reader import read_partition
from playhead.projections.file_verification import FileFault, FileVerification
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position


class FileComparison(LogComparison):
    """Compares, and repairs, the files of a `FileProjection`."""

    def __init__(
        self,
        client: "Redis | RedisCluster",
        root: Path,
        name: str,
        partitions: Sequence[Partition],
        verification: FileVerification,
    ) -> None:
        super().__init__(client, root, name, partitions)
        self._verification = verification
        self._wrong: dict[str, FileFault] = {}

    def compare(
        self, reached: Mapping[Partition, Position], checkpoints: Mapping[Partition, Position], *, log_is_whole: bool
    ) -> Comparison:
        """Find every file that is wrong; what is newer than `reached`, where the projection was, is no fault."""
        verification = self._verification
        aside = {partition: self._set_aside(partition) for partition in self.partitions}
        for partition in self.partitions:
            for chunk in chunks(self._root, partition):
                within = [one for one in chunk if one.position <= reached[partition]]
                self.checked, self.behind = self.checked + len(within), self.behind + len(chunk) - len(within)
                verification.follow(partition, [one for one in within if str(one.position) not in aside[partition]])
        if not verification.has_doubts():
            return Comparison()
        level = LogLevel(self._client, self.partitions, checkpoints, is_whole=log_is_whole)
        level.wait()
        for partition in self.partitions:
            now = self._set_aside(partition)
            is_due = _Due(reached[partition], aside[partition])
            for chunk in chunks(self._root, partition):
                level.note(partition, chunk)
                verification.follow_again(partition, [one for one in chunk if str(one.position) not in now], is_due)
        problem = level.problem
        faults, undecided = verification.judge(log_is_whole=problem is None)
        self._wrong = {fault.key: fault for fault in faults}
        return Comparison([_fault(fault) for fault in faults], undecided, problem or "")

    def repair(self, faults: Sequence[Fault]) -> Iterator[tuple[Partition, Recorded]]:
        """Every event of the files that a replay mends; a file that holds something else is moved first."""
        mended = [self._wrong[fault.key] for fault in faults if fault.repair != "none"]
        moved = (self._verification.replace(fault) for fault in mended if fault.repair == "replace")
        self.moved += [place for place in moved if place is not None]
        # What the projection wrote to a file before it was taken away must be in the log when that is read.
        LogLevel(self._client, self.partitions, {}, is_whole=True).wait()
        paths = {fault.path for fault in mended}
        for partition in self.partitions:
            aside = self._set_aside(partition)
            for recorded in read_partition(self._root, partition, None, strict=False):
                if self._verification.key(recorded) in paths and str(recorded.position) not in aside:
                    yield partition, recorded


class _Due:
    """Whether an event took effect before the files were looked at."""

    def __init__(self, reached: Position, aside: frozenset[str]) -> None:
        self._reached, self._aside = reached, aside

    def __call__(self, recorded: Recorded) -> bool:
        return recorded.position <= self._reached and str(recorded.position) not in self._aside


def _fault(fault: FileFault) -> Fault:
    return Fault(kind=fault.kind, key=fault.key, place=fault.place, problem=fault.problem, repair=fault.repair)
