"""The files of the event log, up to an end that stands while the log writer goes on.

Sealed segments never change. An active one only grows, by whole lines, so what is read of it up to the end of a line is
what the log begins with from then on. Lines that were written and are not synced yet are in the stream too: if a crash
takes them, the log writer writes them again.
"""

import os
import stat
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path

from playhead.backups.sources import Source, read_blocks
from playhead.eventlog.asides import ASIDES
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.gaps import GAPS
from playhead.eventlog.segments import (
    Segment,
    list_segments,
    parse_file_name,
    parse_partition,
    partition_directory,
    partitions,
    read_manifest,
)
from playhead.streams.errors import InvalidSetting
from playhead.streams.partitions import MOST_PARTITIONS

_BLOCK = 64 * 1024


def log_files(root: Path) -> Iterator[Source]:
    """Every file of the log to copy, one partition after the other; read each before asking for the next.

    Raises:
        LogCorrupt: a segment lacks one of its files.
    """
    for partition in partitions(root):
        directory = partition_directory(root, partition)
        yield from _notes(root, directory / ASIDES)  # of events that are logged
        yield from _segments(root, directory)
        yield from _notes(root, directory / GAPS)  # a gap is noted before the event behind it


def partition_counts(root: Path) -> dict[str, int]:
    """The number of partitions of each stream in the log.

    Raises:
        InvalidSetting: a stream has more than any can have.
    """
    counts: dict[str, int] = {}
    for partition in partitions(root):
        if partition.number >= MOST_PARTITIONS:
            raise InvalidSetting(
                f"{partition_directory(root, partition)} is not of Playhead, as a stream has at most {MOST_PARTITIONS}"
                " partitions: move it away"
            )
        counts[partition.stream] = max(counts.get(partition.stream, 0), partition.number + 1)
    return counts


def files_in_place(root: Path) -> Iterator[str]:
    """The names of all that a log has, whole or not."""
    for partition in partitions(root):
        paths = sorted(partition_directory(root, partition).iterdir())
        yield from (str(path.relative_to(root)) for path in paths if _is_named_by_log(path.name))


def is_log_file(name: str) -> bool:
    """Whether a name is one that the backup of a log has."""
    stream, _, rest = name.partition("/")
    number, _, file = rest.partition("/")
    return is_log_partition(stream, number) and _is_named_by_log(file)


def is_log_partition(stream: str, number: str) -> bool:
    """Whether a stream can have a partition of that number."""
    partition = parse_partition(stream, number)
    return partition is not None and partition.number < MOST_PARTITIONS


def _is_named_by_log(file: str) -> bool:
    return file in {GAPS, ASIDES} or parse_file_name(file) is not None


def _notes(root: Path, path: Path) -> Iterator[Source]:
    if path.exists():
        yield _lasting(root, path)


def _segments(root: Path, directory: Path) -> Iterator[Source]:
    """The files of the segments that are there now. Those that begin later follow events that may not be copied."""
    segments = list_segments(directory)
    while segments:
        left = {segment.stem: segment for segment in segments}
        try:
            for segment in segments:
                yield from _files(root, segment)
                del left[segment.stem]
        except FileNotFoundError:  # it was sealed since it was listed
            again = [segment for segment in list_segments(directory) if segment.stem in left]
            if again == [*left.values()]:
                raise LogCorrupt(again[0].file, None, again[0].first, "the file is missing") from None
            segments = again
        else:
            return


def _files(root: Path, segment: Segment) -> Iterator[Source]:
    if not segment.is_active:
        yield _lasting(root, segment.sealed, read_manifest(segment).sha256)
        yield _lasting(root, segment.manifest)
        return
    with _opened(segment.plain) as file:  # a seal removes it meanwhile, which takes nothing from an open file
        about = os.fstat(file.fileno())
        if size := _whole_lines(file, about.st_size):
            name = str(segment.plain.relative_to(root))
            yield Source(name, size, about.st_mtime_ns, partial(read_blocks, file, size))


def _lasting(root: Path, path: Path, sha256: str | None = None) -> Source:
    about = path.stat()
    name = str(path.relative_to(root))
    return Source(name, about.st_size, about.st_mtime_ns, lambda: read_blocks(_opened(path)), sha256)


def _opened(path: Path) -> BufferedReader:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # sealed files may be links
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LogCorrupt(path, None, None, "it is no file")
    return os.fdopen(descriptor, "rb")


def _whole_lines(file: BufferedReader, size: int) -> int:
    """The bytes up to and with the last line feed; leaves the file at its beginning."""
    end, found = size, -1
    while end > 0 and found < 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        end = start
    file.seek(0)
    return 0 if found < 0 else end + found + 1
