"""Comparison: the files of a projection with the log, while both go on."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis, RedisCluster

from playhead.comparison.partitions import chunks
from playhead.consumers.reading.parked import ParkedEvents
from playhead.eventlog.reader import partitions, read_partition
from playhead.eventlog.replay.replay import Replay
from playhead.projections.file_verification import FileFault, FileVerification
from playhead.streams.domains.catalogue import LOG
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.stream_info import group_position, last_position

_LOG_SECONDS = 10.0
"""How long the log may stand still before it counts as behind."""
_LOOK_SECONDS = 0.05


class Comparison(msgspec.Struct, frozen=True):
    """Files that are wrong, those that cannot be judged as they may hold events that the log lacks, and why."""

    faults: Sequence[FileFault] = ()
    undecided: Sequence[str] = ()
    reason: str = ""


class StreamEnd(msgspec.Struct, frozen=True):
    """The last entry of a partition's stream, and the last sequence number that was given."""

    last: Position
    sequence: int


class FileComparison:
    """Compares, and repairs, the files of one projection."""

    def __init__(
        self,
        client: "Redis | RedisCluster",
        root: Path,
        name: str,
        streams: Sequence[str],
        *,
        numbered: Iterable[Partition],
    ) -> None:
        """`root` is that of the log, `streams` those that the projection reads, `numbered` their partitions."""
        self._client, self._root, self._name = client, root, name
        logged = {partition for partition in partitions(root) if partition.stream in streams}
        self.partitions = sorted({*numbered, *logged})
        self.checked = self.behind = 0

    def compare(
        self, verification: FileVerification, reached: Mapping[Partition, Position], *, log_is_whole: bool
    ) -> Comparison:
        """Find every file that is wrong; what is newer than `reached`, where the projection was, is no fault."""
        aside = {partition: self._set_aside(partition) for partition in self.partitions}
        for partition in self.partitions:
            for chunk in chunks(self._root, partition):
                within = [one for one in chunk if one.position <= reached[partition]]
                self.checked, self.behind = self.checked + len(within), self.behind + len(chunk) - len(within)
                verification.follow(partition, [one for one in within if str(one.position) not in aside[partition]])
        if not verification.has_doubts():
            return Comparison()
        ends = self._ends()
        problem = self._wait_for_log(ends)
        logged = dict.fromkeys(self.partitions, 0)
        for partition in self.partitions:
            now = self._set_aside(partition)
            is_due = _Due(reached[partition], aside[partition])
            for chunk in chunks(self._root, partition):
                logged[partition] = max([logged[partition], *(one.sequence or 0 for one in chunk)])
                verification.follow_again(partition, [one for one in chunk if str(one.position) not in now], is_due)
        short = [partition for partition, end in ends.items() if logged[partition] < end.sequence]
        if short and problem is None:
            problem = f"the log lacks events of {', '.join(map(str, short))} that its stream had"
        if not log_is_whole:
            problem = "the log is damaged"
        faults, undecided = verification.judge(log_is_whole=problem is None)
        return Comparison(faults, undecided, problem or "")

    def repair(self, verification: FileVerification, faults: Sequence[FileFault], replay: Replay) -> Iterator[Path]:
        """Replay every event of the files that a replay mends; gives where those are that it took out of the way."""
        mended = [fault for fault in faults if fault.repair != "none"]
        for fault in mended:
            if fault.repair == "replace" and (place := verification.replace(fault)) is not None:
                yield place
        # What the projection wrote to a file before it was taken away must be in the log when that is read.
        self._wait_for_log(self._ends())
        paths = {fault.path for fault in mended}
        replay.send(self._events_of(verification, paths))

    def _events_of(
        self, verification: FileVerification, paths: set[tuple[str, ...]]
    ) -> Iterator[tuple[Partition, Recorded]]:
        for partition in self.partitions:
            aside = self._set_aside(partition)
            for recorded in read_partition(self._root, partition, None, strict=False):
                if verification.key(recorded) in paths and str(recorded.position) not in aside:
                    yield partition, recorded

    def _set_aside(self, partition: Partition) -> frozenset[str]:
        return ParkedEvents(self._client, self._name, partition).positions()

    def _ends(self) -> dict[Partition, StreamEnd]:
        return {partition: self._end(partition) for partition in self.partitions}

    def _end(self, partition: Partition) -> StreamEnd:
        redis: Any = self._client
        sequence = redis.hget(f"{partition.key}:meta", "sequence")
        return StreamEnd(last_position(self._client, partition), int(sequence or 0))

    def _wait_for_log(self, ends: Mapping[Partition, StreamEnd]) -> str | None:
        """Wait until the log writer is past what the streams had; why it is not, or None."""
        before: dict[Partition, Position] = {}
        moved_at = time.monotonic()
        while True:
            now = {partition: group_position(self._client, partition, LOG) for partition in ends}
            waiting = [partition for partition, end in ends.items() if now[partition] < end.last]
            if not waiting:
                return None
            if now != before:
                before, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > _LOG_SECONDS:
                return f"the log writer has not written all of {', '.join(map(str, waiting))}: check `playhead status`"
            time.sleep(_LOOK_SECONDS)


class _Due:
    """Whether an event took effect before the files were looked at."""

    def __init__(self, reached: Position, aside: frozenset[str]) -> None:
        self._reached, self._aside = reached, aside

    def __call__(self, recorded: Recorded) -> bool:
        return recorded.position <= self._reached and str(recorded.position) not in self._aside
