"""Readers: events of the log by stream, type, subject, time and position, and what is wrong with it."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from playhead.eventlog.errors import BadLine, LogCorrupt
from playhead.eventlog.lines import decode_line, event_id_of, position_if_readable, position_of
from playhead.eventlog.segments import Segment, list_segments, partition_directory, partitions, read_lines
from playhead.eventlog.segments import read_manifest as _read_manifest
from playhead.eventlog.verification import Fault, Verification, verify
from playhead.streams.events import Recorded, parse_time
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

__all__ = [
    "Fault",
    "LogStat",
    "PartitionStat",
    "Verification",
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

    def may_take(self, segment: Segment, after: Position | None) -> bool:
        manifest = _read_manifest(segment)
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
) -> Iterator[tuple[Partition, Recorded]]:
    """Events in position order, one partition after the other, in bounded memory.

    `since` (inclusive) and `until` (exclusive) are aware datetimes of the event time. `wanted` chooses by event id,
    before a line is decoded or its checksum looked at. Without `strict`, what is damaged is passed over.

    Raises:
        LogCorrupt: damage, when strict.
    """
    selection = _selection(types, subject, since, until, wanted)
    for partition in _selected(root, streams):
        yield from _read_partition(root, partition, selection, (after or {}).get(partition), strict=strict)


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
) -> Iterator[tuple[Partition, Recorded]]:
    """Like `read`, but merged over partitions by event time, position and id: the same order every time.

    Within a partition the order of positions is kept, even if an imported event is older than the one before it.
    """
    selection = _selection(types, subject, since, until, wanted)
    return _merged(
        _read_partition(root, partition, selection, (after or {}).get(partition), strict=True)
        for partition in _selected(root, streams)
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
) -> Iterator[Recorded]:
    """Events of one partition behind a position, as `read` gives them."""
    selection = _selection(types)
    return (recorded for _, recorded in _read_partition(root, partition, selection, after, strict=strict))


def stat(root: Path) -> LogStat:
    """Count what is there; sealed segments by their manifest, active ones by their lines.

    Raises:
        LogCorrupt: a manifest or line cannot be read.
    """
    return LogStat([_stat_partition(root, partition) for partition in partitions(root)])


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
    root: Path, partition: Partition, selection: _Selection, after: Position | None, *, strict: bool
) -> Iterator[tuple[Partition, Recorded]]:
    for segment in list_segments(partition_directory(root, partition)):
        try:
            if segment.is_sealed and not selection.may_take(segment, after):
                continue
        except LogCorrupt:
            if strict:
                raise
        for recorded in _read_segment(segment, selection.wanted, strict=strict):
            if (after is None or recorded.position > after) and selection.takes(recorded):
                yield partition, recorded


def _last_of_partition(
    root: Path, partition: Partition, selection: _Selection, count: int
) -> list[tuple[Partition, Recorded]]:
    found: list[tuple[Partition, Recorded]] = []
    for segment in reversed(list_segments(partition_directory(root, partition))):
        if len(found) >= count:
            break
        if segment.is_sealed and not selection.may_take(segment, None):
            continue
        taken = ((partition, each) for each in _read_segment(segment, None, strict=True) if selection.takes(each))
        found = [*deque(taken, count - len(found)), *found]
    return found


def _merged(partitions: Iterable[Iterable[tuple[Partition, Recorded]]]) -> Iterator[tuple[Partition, Recorded]]:
    return heapq.merge(
        *partitions, key=lambda item: (item[1].event.timestamp, item[1].position, item[1].event.id, item[0])
    )


def _read_segment(segment: Segment, wanted: Callable[[str], bool] | None, *, strict: bool) -> Iterator[Recorded]:
    try:
        yield from _read_strictly(segment, wanted) if strict else _read_leniently(segment, wanted)
    except FileNotFoundError as error:
        if strict:
            raise LogCorrupt(segment.file, None, segment.first, "the segment is missing") from error


def _read_strictly(segment: Segment, wanted: Callable[[str], bool] | None) -> Iterator[Recorded]:
    count = 0
    last: Position | None = None
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
        if recorded is not None:
            yield recorded
    if not segment.is_active and _read_manifest(segment).count != count:
        raise LogCorrupt(segment.file, None, last, f"the segment has {count} events, its manifest another number")


def _read_leniently(segment: Segment, wanted: Callable[[str], bool] | None) -> Iterator[Recorded]:
    with suppress(LogCorrupt):
        for _, line in read_lines(segment):
            if segment.is_active and not line.endswith(b"\n"):
                return
            with suppress(BadLine):
                if wanted is None or wanted(event_id_of(line)):
                    yield decode_line(line)


def _stat_partition(root: Path, partition: Partition) -> PartitionStat:
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
        for number, line in read_lines(segment):
            if line.endswith(b"\n"):
                try:
                    last = position_of(line)
                except BadLine as error:
                    raise LogCorrupt(segment.file, number, last, str(error)) from error
                first = first or last
                events, size = events + 1, size + len(line)
    return PartitionStat(partition, len(segments), events, size, first, last)
