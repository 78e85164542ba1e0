"""History: what the log holds of a partition, for whoever must fill a gap in the stream from it."""

import heapq
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from playhead.eventlog.asides import AsideNote, Asides, note_asides, read_asides
from playhead.eventlog.errors import BadLine, LogCorrupt
from playhead.eventlog.gaps import GAPS, Gap, note_gap, read_gaps
from playhead.eventlog.lines import LINE_LIMIT, decode_line, position_if_readable
from playhead.eventlog.reader import Holes, read_partition
from playhead.eventlog.segments import Segment, list_segments, partition_directory, partitions, read_lines
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

_LAST_LINES = 1000


class Tail(msgspec.Struct, frozen=True):
    """The newest event of a partition, and the sequence number that the log has come to, 0 if it knows none."""

    recorded: Recorded
    sequence: int


class History:
    """Reads the log beside its writer; nothing is locked and nothing changed. Not `strict`, it passes over holes."""

    def __init__(self, root: Path, *, strict: bool = True) -> None:
        self._root, self._strict = root, strict

    def readable(self, partition: Partition) -> bool:
        """Whether this process can read the partition's directory."""
        return os.access(partition_directory(self._root, partition), os.R_OK | os.X_OK)

    def first(self, partition: Partition) -> Recorded | None:
        """The oldest event, None if the log has none of the partition.

        Raises:
            LogCorrupt: it cannot be read.
        """
        return next(read_partition(self._root, partition, None, holes=Holes()), None)

    def tail(self, partition: Partition) -> Tail | None:
        """The newest event, None if the log has none of the partition.

        Raises:
            LogCorrupt: it cannot be read.
        """
        return tail_of(partition_directory(self._root, partition))

    def fills(self, partition: Partition, gap: Gap) -> bool:
        """Whether the log has events in a gap that it had once.

        Raises:
            LogCorrupt: it cannot be read there.
        """
        noted = read_gaps(partition_directory(self._root, partition)).between(gap.after, gap.before)
        return not noted and any(True for _ in self.between(partition, gap.after, gap.before))

    def note_first(self, partition: Partition, gaps: Iterable[Gap]) -> None:
        """Note gaps that are known, unless the partition has notes of its own.

        Raises:
            OSError: they cannot be written.
        """
        directory = partition_directory(self._root, partition)
        if not (directory / GAPS).exists():
            for gap in gaps:
                note_gap(directory, gap)

    def asides(self, partition: Partition) -> Asides:
        """What is noted as parked or dropped, in order.

        Raises:
            OSError: it cannot be read.
        """
        return read_asides(partition_directory(self._root, partition))

    def note_asides(self, partition: Partition, asides: Sequence[AsideNote]) -> None:
        """Note what consumers parked and operators dropped.

        Raises:
            OSError: it cannot be written.
        """
        note_asides(partition_directory(self._root, partition), asides)

    def between(self, partition: Partition, after: Position | None, until: Position | None) -> Iterator[Recorded]:
        """Events behind `after`, up to and with `until`, in order and bounded memory.

        Raises:
            EventsMissing: a hole; what comes behind it is not given.
            LogCorrupt: damage, in the same way.
        """
        for recorded in read_partition(self._root, partition, after, holes=self._holes()):
            if until is not None and recorded.position > until:
                return
            yield recorded

    def elsewhere(self, partition: Partition, types: Iterable[str]) -> Iterator[Recorded]:
        """Events of some types in every other partition of every stream, by position; what has none is not read.

        Raises:
            LogCorrupt: damage, or a hole.
        """
        others = (each for each in partitions(self._root) if each != partition)
        chosen = frozenset(types)
        return heapq.merge(
            *(read_partition(self._root, each, None, types=chosen, holes=self._holes()) for each in others),
            key=lambda one: one.position,
        )

    def _holes(self) -> Holes | None:
        return None if self._strict else Holes()


def tail_of(directory: Path) -> Tail | None:
    """The newest event below a partition's directory, None if there is none.

    Raises:
        LogCorrupt: it cannot be read.
    """
    newest: Recorded | None = None
    for segment in reversed(list_segments(directory)):
        lines = _last_lines(segment)
        while lines:
            number, line = lines.pop()
            if segment.is_active and not line.endswith(b"\n"):
                continue
            try:
                recorded = decode_line(line)
            except BadLine as error:
                raise LogCorrupt(segment.file, number, position_if_readable(line), str(error)) from error
            newest = newest or recorded
            if recorded.sequence is not None:
                return Tail(newest, recorded.sequence)
    return None if newest is None else Tail(newest, 0)


def _last_lines(segment: Segment) -> deque[tuple[int, bytes]]:
    """The last lines of a segment, no more than `_LAST_LINES` and, but for the last one, `LINE_LIMIT` bytes."""
    lines: deque[tuple[int, bytes]] = deque()
    size = 0
    for number, line in read_lines(segment):
        lines.append((number, line))
        size += len(line)
        while len(lines) > _LAST_LINES or (size > LINE_LIMIT and len(lines) > 1):
            size -= len(lines.popleft()[1])
    return lines
