"""Following the log: what was written since the last look, without reading a segment again from its beginning."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec

from playhead.eventlog.errors import BadLine, LogCorrupt
from playhead.eventlog.lines import LINE_LIMIT, decode_line, position_of
from playhead.eventlog.segments import Segment, list_segments, partition_directory, read_lines, read_manifest
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position


class _Place(msgspec.Struct):
    """How far a file that is still written has been read: bytes and lines, and the position of the last one."""

    stem: str = ""
    inode: int = -1
    offset: int = 0
    lines: int = 0
    position: Position = START


class Follower:
    """Reads one partition of the log on and on, beside its writer. Between two looks it holds no file open."""

    def __init__(self, root: Path, partition: Partition) -> None:
        self._directory = partition_directory(root, partition)
        self._parents = (root, self._directory.parent, self._directory)
        self._place = _Place()

    @property
    def is_readable(self) -> bool:
        """Whether this process can read the log; a partition that has no directory yet is readable, and empty."""
        root, *below = self._parents
        return _may_read(root) and all(_may_read(path) for path in below if os.path.lexists(path))

    def behind(self, position: Position) -> Generator[Recorded, None, None]:
        """Events behind a position, in order and bounded memory, up to the end that the log has on the way.

        Raises:
            LogCorrupt: damage, with file, line and position.
        """
        last = position
        complete = False
        while not complete:
            complete = True
            for segment in self._segments_behind(last):
                read = self._read_active if segment.is_active else _read_sealed
                for recorded in read(segment, last):
                    last = recorded.position
                    yield recorded
                if segment.is_active and not segment.plain.exists():  # sealed meanwhile, perhaps with more in it
                    complete = False
                    break

    def _segments_behind(self, position: Position) -> Iterator[Segment]:
        segments = list_segments(self._directory)
        for segment, following in zip(segments, [*segments[1:], None], strict=False):
            if following is not None and following.first <= position:
                continue  # a segment ends before the next one begins; most are told so without a look into them
            if not segment.is_sealed or Position.parse(read_manifest(segment).last) > position:
                yield segment

    def _read_active(self, segment: Segment, after: Position) -> Iterator[Recorded]:
        try:
            file = segment.plain.open("rb")
        except FileNotFoundError:  # sealed since it was listed
            return
        with file:
            inode, place = os.fstat(file.fileno()).st_ino, self._place
            if (place.stem, place.inode) != (segment.stem, inode) or after < place.position:
                place = self._place = _Place(segment.stem, inode)
            file.seek(place.offset)
            while line := file.readline(LINE_LIMIT + 1):
                number = place.lines + 1
                if not line.endswith(b"\n"):
                    if len(line) > LINE_LIMIT:
                        raise LogCorrupt(segment.plain, number, None, f"the line is over {LINE_LIMIT} bytes")
                    return  # it is being written, or torn; the next look begins with it
                position, recorded = _decoded(segment, number, line, after, place.position)
                place.offset, place.lines, place.position = place.offset + len(line), number, position
                if recorded is not None:
                    yield recorded


def _may_read(directory: Path) -> bool:
    return os.access(directory, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _read_sealed(segment: Segment, after: Position) -> Iterator[Recorded]:
    number, last = 0, START
    try:
        for number, line in read_lines(segment):
            last, recorded = _decoded(segment, number, line, after, last)
            if recorded is not None:
                yield recorded
    except FileNotFoundError as error:
        raise LogCorrupt(segment.file, None, segment.first, "the segment is missing") from error
    if read_manifest(segment).count != number:
        raise LogCorrupt(segment.file, None, last, f"the segment has {number} events, its manifest another number")


def _decoded(
    segment: Segment, number: int, line: bytes, after: Position, last: Position
) -> tuple[Position, Recorded | None]:
    """The position of a line, and its event if that is behind `after`; `last` is the position of the line before."""
    position: Position | None = None
    try:
        position = position_of(line)
        recorded = decode_line(line) if position > after else None
    except BadLine as error:
        raise LogCorrupt(segment.file, number, position or last, str(error)) from error
    if position <= last:
        raise LogCorrupt(segment.file, number, position, f"the position is not after {last}")
    return position, recorded
