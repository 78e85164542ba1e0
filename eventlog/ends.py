"""The end of the log in a partition, found without reading what stands before it."""

import os
from pathlib import Path

import msgspec

from playhead.eventlog.errors import BadLine
from playhead.eventlog.history import tail_of
from playhead.eventlog.lines import decode_line
from playhead.eventlog.segments import Segment, list_segments, partition_directory, read_manifest
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

_BLOCK = 64 * 1024


class LogEnd(msgspec.Struct, frozen=True):
    """The position of the last event, the beginning if there is none, and the last sequence number, 0 if not known."""

    position: Position = START
    sequence: int = 0


def end_of(root: Path, partition: Partition) -> LogEnd:
    """Where the log ends in a partition.

    Raises:
        LogCorrupt: it cannot be read there.
    """
    directory = partition_directory(root, partition)
    for segment in reversed(list_segments(directory)):
        if segment.is_active:
            if (end := _last_line(segment)) is not None:
                return end
        elif segment.is_sealed:
            manifest = read_manifest(segment)
            if manifest.last_sequence is not None:
                return LogEnd(Position.parse(manifest.last), manifest.last_sequence)
        break
    tail = tail_of(directory)
    return LogEnd() if tail is None else LogEnd(tail.recorded.position, tail.sequence)


def _last_line(segment: Segment) -> LogEnd | None:
    """The end that the last whole line gives; None if it takes more to tell."""
    try:
        with segment.plain.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start, lines = size, list[bytes]()
            while start and len(lines) < 3:  # noqa: PLR2004  # torn or empty, the last, and what ends before it
                start = max(0, start - max(_BLOCK, size - start))
                file.seek(start)
                lines = file.read(size - start).split(b"\n")
        recorded = decode_line(lines[-2] + b"\n")
    except (FileNotFoundError, IndexError, BadLine):
        return None
    return None if recorded.sequence is None else LogEnd(recorded.position, recorded.sequence)
