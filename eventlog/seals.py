"""Sealing: a full segment becomes a compressed file with a manifest, chained to the one before."""

import os
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
import zstandard

from playhead.eventlog.errors import BadLine, LogCorrupt, LogWriteFailed
from playhead.eventlog.lines import decode_line
from playhead.eventlog.segments import (
    MANIFEST,
    PLAIN,
    SEALED,
    TEMPORARY,
    Manifest,
    Segment,
    encode_manifest,
    file_sha256,
    list_segments,
    read_lines,
    read_manifest,
)
from playhead.streams import failpoints
from playhead.streams.events import Recorded, format_time
from playhead.streams.failpoints import Point
from playhead.streams.positions import Position

_FRAME = 8 * 1024 * 1024
"""Bytes of lines in one zstd frame."""


class Summary:
    """What a segment's lines add up to."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Position | None = None
        self.last: Position | None = None
        self.first_sequence: int | None = None
        self.last_sequence: int | None = None
        self._earliest: datetime | None = None
        self._latest: datetime | None = None
        self._types: Counter[str] = Counter()

    def add(self, recorded: Recorded) -> None:
        """Count an event in."""
        time = recorded.event.timestamp
        self.count += 1
        self.first = self.first or recorded.position
        self.last = recorded.position
        if self._earliest is None or time < self._earliest:
            self._earliest = time
        if self._latest is None or time > self._latest:
            self._latest = time
        self._types[recorded.event.type] += 1
        if recorded.sequence is not None:
            self.last_sequence = recorded.sequence
            if self.first_sequence is None:
                self.first_sequence = recorded.sequence

    def manifest(self, sealed: Path, previous: str | None) -> Manifest:
        """The manifest of the segment compressed to this file."""
        return Manifest(
            first=str(self.first),
            last=str(self.last),
            count=self.count,
            first_time=format_time(self._earliest) if self._earliest else "",
            last_time=format_time(self._latest) if self._latest else "",
            types=dict(sorted(self._types.items())),
            sha256=file_sha256(sealed),
            bytes=sealed.stat().st_size,
            previous=previous,
            first_sequence=self.first_sequence,
            last_sequence=self.last_sequence,
        )


def seal(segment: Segment) -> None:
    """Compress a segment, write its manifest, and remove its plain file; a seal cut short is done again from here.

    Raises:
        LogCorrupt: a line is damaged; the plain file is kept.
        OSError: the disk is full, for instance; the plain file is kept.
        LogWriteFailed: an fsync failed.
    """
    before = [other for other in list_segments(segment.directory) if other.first < segment.first and other.is_sealed]
    previous = file_sha256(before[-1].manifest) if before else None
    sealed, manifest = _temporary(segment.sealed), _temporary(segment.manifest)
    plain = msgspec.structs.replace(segment, suffixes=frozenset({PLAIN}))
    try:
        summary = _compress(plain, sealed)
        content = encode_manifest(summary.manifest(sealed, previous))
        failpoints.reach(Point.BEFORE_RENAME)
        sealed.replace(segment.sealed)
        failpoints.reach(Point.AFTER_RENAME)
        with manifest.open("wb") as file:
            file.write(content)
            file.flush()
            sync(file.fileno(), manifest)
        failpoints.reach(Point.BEFORE_RENAME)
        manifest.replace(segment.manifest)
        failpoints.reach(Point.AFTER_RENAME)
    except (OSError, LogCorrupt):
        for path in (sealed, manifest):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise
    try:
        sync_directory(segment.directory)
        segment.plain.unlink()
        sync_directory(segment.directory)
    except OSError as error:  # appending to the plain file from here on would lose events: recovery removes it
        raise LogWriteFailed(segment.plain, f"the sealed segment cannot be removed: {error}") from error


def finish_seals(directory: Path) -> None:
    """Do again what a crash cut short: temporary files, seals without manifest, plain files already sealed.

    Raises:
        LogCorrupt: a segment has only one of its two sealed files, and its plain file is gone.
    """
    for path in directory.glob(f"*{TEMPORARY}"):
        path.unlink()
    for segment in list_segments(directory):
        if PLAIN not in segment.suffixes:
            if not segment.is_sealed:
                lost = segment.manifest if SEALED in segment.suffixes else segment.sealed
                raise LogCorrupt(lost, None, segment.first, "the file is missing")
        elif segment.is_sealed and read_manifest(segment).sha256 == file_sha256(segment.sealed):
            segment.plain.unlink()
        elif segment.suffixes & {SEALED, MANIFEST}:
            seal(segment)
    sync_directory(directory)


def sync(descriptor: int, path: Path) -> None:
    """Fsync an open file.

    Raises:
        LogWriteFailed: what was written before may be lost, whatever a second fsync says.
    """
    failpoints.reach(Point.BEFORE_SYNC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise LogWriteFailed(path, f"fsync failed: {error}") from error
    failpoints.reach(Point.AFTER_SYNC)


def sync_directory(directory: Path) -> None:
    """Make created, renamed and removed names durable.

    Raises:
        LogWriteFailed: the fsync failed.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor, directory)
    finally:
        os.close(descriptor)


def _compress(segment: Segment, target: Path) -> Summary:
    summary = Summary()
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with target.open("wb") as file:
        frame: list[bytes] = []
        size = 0
        for number, line in read_lines(segment):
            try:
                summary.add(decode_line(line))
            except BadLine as error:
                raise LogCorrupt(segment.plain, number, summary.last, str(error)) from error
            frame.append(line)
            size += len(line)
            if size >= _FRAME:
                file.write(compressor.compress(b"".join(frame)))
                frame, size = [], 0
        if frame:
            file.write(compressor.compress(b"".join(frame)))
        file.flush()
        sync(file.fileno(), target)
    return summary


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + TEMPORARY)
