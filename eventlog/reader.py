"""Readers: events of the log by stream, type, subject, time and position, and what is wrong with it."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from playhead.eventlog.continuity import Continuity, Hole
from playhead.eventlog.errors import BadLine, EventsMissing, LogCorrupt
from playhead.eventlog.lines import decode_line, event_id_of, position_if_readable, position_of, sequence_of
from playhead.eventlog.segments import Manifest, Segment, list_segments, partition_directory, partitions, read_lines
from playhead.eventlog.segments import read_manifest as _read_manifest
from playhead.eventlog.verification import Fault, Verification, verify
from playhead.streams.events import Recorded, parse_time
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

__all__ = [
    "Fault",
    "Holes",
    "LogStat",
    "PartitionStat",
    "Verification",
    "check_chain",
    "find_holes",
    "partitions",
    "read",
    "read_last",
    "read_ordered",
    "read_partition",
    "stat",
    "verify",
]


class PartitionStat(msgspec.Struct, frozen=True):
    """Files, events and bytes on disk of a partition, and its first and last position."""

    partition: Partition
    segments: int
    events: int
    bytes: int
    first: Position | None
    last: Position | None


class LogStat(msgspec.Struct, frozen=True):
    """What the log holds, by partition."""

    partitions: list[PartitionStat]

    @property
    def events(self) -> int:
        return sum(each.events for each in self.partitions)

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.partitions)


class Holes:
    """The holes that a reader passed over."""

    def __init__(self) -> None:
        self.found: list[Hole] = []

    @property
    def missing(self) -> int:
        """How many events are known to be missing there."""
        return sum(hole.missing - hole.noted for hole in self.found)


class _Selection(msgspec.Struct, frozen=True):
    types: frozenset[str] | None
    subject: str | None
    since: datetime | None
    until: datetime | None
    wanted: Callable[[str], bool] | None

    def takes(self, recorded: Recorded) -> bool:
        event = recorded.event
        if (self.types is not None and event.type not in self.types) or self.subject not in (None, event.subject):
            return False
        if self.since is None and self.until is None:
            return True
        return self._in_time(event.timestamp, event.timestamp)

    def may_take(self, manifest: Manifest, after: Position | None) -> bool:
        return (
            (after is None or Position.parse(manifest.last) > after)
            and (self.types is None or not self.types.isdisjoint(manifest.types))
            and self._in_time(parse_time(manifest.first_time), parse_time(manifest.last_time))
        )

    def _in_time(self, earliest: datetime, latest: datetime) -> bool:
        return (self.since is None or latest >= self.since) and (self.until is None or earliest < self.until)


def read(
    root: Path,
    *,
    streams: Iterable[str] | None = None,
    types: Iterable[str] | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: Mapping[Partition, Position] | None = None,
    wanted: Callable[[str], bool] | None = None,
    strict: bool = True,
    holes: Holes | None = None,
) -> Iterator[tuple[Partition, Recorded]]:
    """Events in position order, one partition after the other, in bounded memory.

    `since` (inclusive) and `until` (exclusive) are aware datetimes of the event time. `wanted` chooses by event id,
    before a line is decoded or its checksum looked at. Events that are missing raise unless `holes` takes note of
    them. Without `strict`, what is damaged or missing is passed over.

    Raises:
        EventsMissing: the log has a hole behind `after`; one between segments is found before anything is given.
        LogCorrupt: damage, when strict.
    """
    selection = _selection(types, subject, since, until, wanted)
    selected = _selected(root, streams)
    if strict and holes is None:
        for partition in selected:
            check_chain(root, partition, (after or {}).get(partition))
    for partition in selected:
        yield from _read_partition(root, partition, selection, (after or {}).get(partition), strict=strict, holes=holes)


def read_ordered(
    root: Path,
    *,
    streams: Iterable[str] | None = None,
    types: Iterable[str] | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: Mapping[Partition, Position] | None = None,
    wanted: Callable[[str], bool] | None = None,
    holes: Holes | None = None,
) -> Iterator[tuple[Partition, Recorded]]:
    """Like `read`, but merged over partitions by event time, position and id: the same order every time.

    Within a partition the order of positions is kept, even if an imported event is older than the one before it.
    """
    selection = _selection(types, subject, since, until, wanted)
    selected = _selected(root, streams)
    if holes is None:
        for partition in selected:
            check_chain(root, partition, (after or {}).get(partition))
    yield from _merged(
        _read_partition(root, partition, selection, (after or {}).get(partition), holes=holes) for partition in selected
    )


def read_last(
    root: Path,
    count: int,
    *,
    streams: Iterable[str] | None = None,
    types: Iterable[str] | None = None,
    subject: str | None = None,
) -> list[tuple[Partition, Recorded]]:
    """The last `count` events in the order of `read_ordered`; segments are read from the newest back.

    Raises:
        LogCorrupt: damage in a segment that was read.
    """
    selection = _selection(types, subject)
    last = (_last_of_partition(root, partition, selection, count) for partition in _selected(root, streams))
    return list(deque(_merged(last), count))


def read_partition(
    root: Path,
    partition: Partition,
    after: Position | None,
    *,
    types: Iterable[str] | None = None,
    strict: bool = True,
    holes: Holes | None = None,
) -> Iterator[Recorded]:
    """Events of one partition behind a position, as `read` gives them; a hole is found where it is."""
    selection = _selection(types)
    found = _read_partition(root, partition, selection, after, strict=strict, holes=holes)
    return (recorded for _, recorded in found)


def find_holes(root: Path, partition: Partition) -> Holes:
    """Every hole of a partition that is not noted, by reading all of it.

    Raises:
        LogCorrupt: damage of another kind.
    """
    holes = Holes()
    for _ in read_partition(root, partition, None, holes=holes):
        pass
    return holes


def stat(root: Path) -> LogStat:
    """Count what is there; sealed segments by their manifest, active ones by their lines.

    Raises:
        LogCorrupt: a segment, manifest or line is missing or cannot be read.
    """
    return LogStat([stat_partition(root, partition) for partition in partitions(root)])


def stat_partition(root: Path, partition: Partition) -> PartitionStat:
    """The same for one partition.

    Raises:
        LogCorrupt: as `stat`.
    """
    segments = list_segments(partition_directory(root, partition))
    events = size = 0
    first: Position | None = None
    last: Position | None = None
    for segment in segments:
        if segment.is_sealed:
            manifest = _read_manifest(segment)
            events, last = events + manifest.count, Position.parse(manifest.last)
            first = first or Position.parse(manifest.first)
            size += manifest.bytes
            continue
        if not segment.is_active and not segment.sealed.exists():
            raise LogCorrupt(segment.sealed, None, segment.first, "the segment is missing")
        for number, line in read_lines(segment):
            if line.endswith(b"\n"):
                try:
                    last = position_of(line)
                except BadLine as error:
                    raise LogCorrupt(segment.file, number, last, str(error)) from error
                first = first or last
                events, size = events + 1, size + len(line)
    return PartitionStat(partition, len(segments), events, size, first, last)


def _selection(
    types: Iterable[str] | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> _Selection:
    return _Selection(None if types is None else frozenset(types), subject, since, until, wanted)


def _selected(root: Path, streams: Iterable[str] | None) -> list[Partition]:
    wanted = None if streams is None else frozenset(streams)
    return [partition for partition in partitions(root) if wanted is None or partition.stream in wanted]


def _read_partition(
    root: Path,
    partition: Partition,
    selection: _Selection,
    after: Position | None,
    *,
    strict: bool = True,
    holes: Holes | None = None,
) -> Iterator[tuple[Partition, Recorded]]:
    directory = partition_directory(root, partition)
    if not strict:
        for segment in list_segments(directory):
            with suppress(LogCorrupt):
                if segment.is_sealed and not selection.may_take(_read_manifest(segment), after):
                    continue
            for recorded in _read_leniently(segment, selection.wanted):
                if (after is None or recorded.position > after) and selection.takes(recorded):
                    yield partition, recorded
        return
    walk = _Walk(directory, after, holes)
    for segment in walk.segments():
        manifest = walk.enter(segment)
        if manifest is not None and not selection.may_take(manifest, after):
            walk.pass_over()
        else:
            for recorded in walk.read(segment, selection.wanted):
                if (after is None or recorded.position > after) and selection.takes(recorded):
                    yield partition, recorded


def check_chain(root: Path, partition: Partition, after: Position | None = None) -> None:
    """Look at the segments of a partition by their manifests, or their first line, alone.

    Raises:
        EventsMissing: one of them, or something before it, is missing.
    """
    walk = _Walk(partition_directory(root, partition), after, None)
    for segment in walk.segments():
        if walk.enter(segment) is not None:
            walk.pass_over()
        else:
            walk.peek(segment)


def _last_of_partition(
    root: Path, partition: Partition, selection: _Selection, count: int
) -> list[tuple[Partition, Recorded]]:
    found: list[tuple[Partition, Recorded]] = []
    check_chain(root, partition)
    segments = list_segments(partition_directory(root, partition))
    for before, segment in reversed(list(zip([None, *segments], segments, strict=False))):
        if len(found) >= count:
            break
        if segment.is_sealed and not selection.may_take(_read_manifest(segment), None):
            continue
        walk = _Walk(segment.directory, None, None)
        if before is not None:
            walk.begin_behind(before)
        walk.enter(segment)
        taken = ((partition, each) for each in walk.read(segment, None) if selection.takes(each))
        found = [*deque(taken, count - len(found)), *found]
    return found


def _merged(partitions: Iterable[Iterable[tuple[Partition, Recorded]]]) -> Iterator[tuple[Partition, Recorded]]:
    return heapq.merge(
        *partitions, key=lambda item: (item[1].event.timestamp, item[1].position, item[1].event.id, item[0])
    )


class _Walk:
    """A strict way through the segments of a partition, in order. A hole raises, or goes to `holes`."""

    def __init__(self, directory: Path, after: Position | None, holes: Holes | None) -> None:
        self._continuity = Continuity(directory)
        self._directory, self._after, self._holes = directory, after or START, holes

    def segments(self) -> Iterator[Segment]:
        """Those that may hold something behind `after`; a segment ends before the next one begins."""
        segments = list_segments(self._directory)
        first = max(0, sum(segment.first <= self._after for segment in segments) - 1)
        if first:
            self.begin_behind(segments[first - 1])
        yield from segments[first:]

    def begin_behind(self, segment: Segment) -> None:
        """Start with the segment that follows this one."""
        self._continuity.begin_behind(segment)

    def enter(self, segment: Segment) -> Manifest | None:
        """Go on to a segment, and give its manifest if it is sealed."""
        self._judge(self._continuity.enter(segment))
        return self._continuity.manifest

    def pass_over(self) -> None:
        """Go on behind the sealed segment that was entered."""
        self._judge(self._continuity.pass_over())

    def peek(self, segment: Segment) -> None:
        """Look at the first line of a segment that is not sealed."""
        with suppress(FileNotFoundError, BadLine):
            for number, line in read_lines(segment):
                self._judge(self._continuity.event(segment.file, number, position_of(line), sequence_of(line)))
                return

    def read(self, segment: Segment, wanted: Callable[[str], bool] | None) -> Iterator[Recorded]:
        """The events of the segment that was entered."""
        count = 0
        last: Position | None = None
        try:
            for number, line in read_lines(segment):
                if segment.is_active and not line.endswith(b"\n"):
                    return
                try:
                    recorded = decode_line(line) if wanted is None or wanted(event_id_of(line)) else None
                    position = recorded.position if recorded else position_of(line)
                except BadLine as error:
                    raise LogCorrupt(segment.file, number, position_if_readable(line) or last, str(error)) from error
                if last is not None and position <= last:
                    raise LogCorrupt(segment.file, number, position, f"the position is not after {last}")
                count, last = count + 1, position
                sequence = recorded.sequence if recorded else sequence_of(line)
                if sequence is not None:
                    self._judge(self._continuity.event(segment.file, number, position, sequence))
                if recorded is not None:
                    yield recorded
        except FileNotFoundError as error:
            if segment.is_active or segment.is_sealed:
                raise LogCorrupt(segment.file, None, segment.first, "the segment is missing") from error
            return  # it was missing when it was entered
        if self._continuity.manifest is not None:
            self._judge(self._continuity.leave(count))

    def _judge(self, hole: Hole | None) -> None:
        if hole is not None and not hole.is_known and hole.position > self._after:
            self._meet(hole)

    def _meet(self, hole: Hole) -> None:
        if self._holes is not None:
            self._holes.found.append(hole)
            return
        raise EventsMissing(hole.file, hole.line, hole.position, hole.problem, hole.missing - hole.noted)


def _read_leniently(segment: Segment, wanted: Callable[[str], bool] | None) -> Iterator[Recorded]:
    with suppress(LogCorrupt, FileNotFoundError):
        for _, line in read_lines(segment):
            if segment.is_active and not line.endswith(b"\n"):
                return
            with suppress(BadLine):
                if wanted is None or wanted(event_id_of(line)):
                    yield decode_line(line)
