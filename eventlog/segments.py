"""Segments: the files of a partition of the log, their names, lines and manifests."""

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from hashlib import sha256
from pathlib import Path
from typing import IO, cast

import msgspec
import zstandard

from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.lines import LINE_LIMIT
from playhead.streams.errors import InvalidSetting
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

PLAIN = ".jsonl"
SEALED = ".jsonl.zst"
MANIFEST = ".manifest.json"
TEMPORARY = ".tmp"
TORN = ".torn"

_STREAM = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
_FILE = re.compile(r"(\d{20})-(\d{5,20})(\.jsonl|\.jsonl\.zst|\.manifest\.json)", re.ASCII)
_CHUNK = 1024 * 1024
_WINDOW_LIMIT = 128 * 1024 * 1024
_MANIFEST_LIMIT = 16 * 1024 * 1024


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a sealed segment holds: positions, earliest and latest event time, and the checksum of its file.

    `bytes` is the size of the `.zst` file, `sha256` that of its bytes, `previous` that of the manifest file before it.
    The sequence numbers are those of the first and last event that has one; earlier versions did not note them.
    """

    first: str
    last: str
    count: int
    first_time: str
    last_time: str
    types: dict[str, int]
    sha256: str
    bytes: int
    previous: str | None
    first_sequence: int | None = None
    last_sequence: int | None = None


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of the manifest file: the same for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"


def decode_manifest(content: bytes) -> Manifest:
    """Read a manifest file.

    Raises:
        ValueError: it is no manifest.
    """
    manifest = msgspec.json.decode(content, type=Manifest)
    Position.parse(manifest.first)
    Position.parse(manifest.last)
    return manifest


class Segment(msgspec.Struct, frozen=True):
    """One segment, named by the position of its first event, and which of its files were there when listed."""

    directory: Path
    stem: str
    first: Position
    suffixes: frozenset[str]

    @property
    def plain(self) -> Path:
        return self.directory / (self.stem + PLAIN)

    @property
    def sealed(self) -> Path:
        return self.directory / (self.stem + SEALED)

    @property
    def manifest(self) -> Path:
        return self.directory / (self.stem + MANIFEST)

    @property
    def is_sealed(self) -> bool:
        return SEALED in self.suffixes and MANIFEST in self.suffixes

    @property
    def is_active(self) -> bool:
        return PLAIN in self.suffixes and not self.is_sealed

    @property
    def file(self) -> Path:
        """The file to read."""
        return self.plain if self.is_active else self.sealed


def stem_of(first: Position) -> str:
    """The name, without suffix, of the segment that begins with this position."""
    return f"{first.milliseconds:020d}-{first.counter:05d}"


def parse_file_name(name: str) -> tuple[Position, str] | None:
    """The first position and the suffix that the name of a segment's file gives, None if it is no such name."""
    match = _FILE.fullmatch(name)
    return None if match is None else (Position(int(match[1]), int(match[2])), match[3])


def parse_partition(stream: str, number: str) -> Partition | None:
    """The partition whose directory has these names, None if no partition has."""
    return Partition(stream, int(number)) if _STREAM.fullmatch(stream) and _NUMBER.fullmatch(number) else None


def partition_directory(root: Path, partition: Partition) -> Path:
    """Where a partition's segments are.

    Raises:
        InvalidSetting: the stream's name is not fit for a path.
    """
    if parse_partition(partition.stream, str(partition.number)) is None:
        raise InvalidSetting(f"{partition.stream!r}/{partition.number} cannot name a directory of the event log")
    return root / partition.stream / str(partition.number)


def partitions(root: Path) -> list[Partition]:
    """The partitions that have a directory in the log, in order; other directories are passed over."""
    if not root.is_dir():
        return []
    return sorted(
        partition
        for stream in root.iterdir()
        if _STREAM.fullmatch(stream.name) and stream.is_dir()
        for number in stream.iterdir()
        if (partition := parse_partition(stream.name, number.name)) is not None and number.is_dir()
    )


def partition_count(root: Path | None, stream: str) -> int | None:
    """The number of partitions that a stream has in the log, None if it has none, or if there is no log here.

    The directory of the last partition is made before any other, so it tells the number.
    """
    found = [] if root is None else partitions(root)
    return max((one.number + 1 for one in found if one.stream == stream), default=None)


def logged_count(root: Path, stream: str) -> int:
    """The number of partitions up to the last one of a stream that has an event in the log, 0 if none has."""
    mine = (one for one in partitions(root) if one.stream == stream)
    return max((one.number + 1 for one in mine if list_segments(partition_directory(root, one))), default=0)


def list_segments(directory: Path) -> list[Segment]:
    """The segments of a partition in position order."""
    segments = _listed(directory)
    while (again := _listed(directory)) != segments:  # a seal was under way, which one look may see half
        segments = again
    return segments


def read_lines(segment: Segment) -> Iterator[tuple[int, bytes]]:
    """Each line with its number from 1, in bounded memory; the last may lack its line feed.

    Raises:
        LogCorrupt: the file cannot be decompressed, or a line is over `LINE_LIMIT`.
        FileNotFoundError: the segment is gone.
    """
    number = 0
    with _opened(segment) as file:
        try:
            while line := file.readline(LINE_LIMIT + 1):
                number += 1
                if len(line) > LINE_LIMIT:
                    raise LogCorrupt(segment.file, number, None, f"the line is over {LINE_LIMIT} bytes")
                yield number, line
        except zstandard.ZstdError as error:
            raise LogCorrupt(segment.file, number + 1, None, f"it cannot be decompressed: {error}") from error


def read_manifest(segment: Segment) -> Manifest:
    """The manifest of a sealed segment.

    Raises:
        LogCorrupt: it cannot be read.
    """
    try:
        with segment.manifest.open("rb") as file:
            return decode_manifest(file.read(_MANIFEST_LIMIT))
    except (OSError, ValueError) as error:
        raise LogCorrupt(segment.manifest, None, None, f"the manifest cannot be read: {error}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hex."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _listed(directory: Path) -> list[Segment]:
    found: dict[str, tuple[Position, set[str]]] = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        if named := parse_file_name(path.name):
            first, suffix = named
            found.setdefault(path.name.removesuffix(suffix), (first, set()))[1].add(suffix)
    segments = [Segment(directory, stem, first, frozenset(suffixes)) for stem, (first, suffixes) in found.items()]
    return sorted(segments, key=lambda segment: segment.first)


def _opened(segment: Segment) -> AbstractContextManager[IO[bytes]]:
    if segment.is_active:
        try:
            return segment.plain.open("rb")
        except FileNotFoundError:  # sealed since it was listed
            pass
    source = segment.sealed.open("rb")
    stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW_LIMIT).stream_reader(
        source, read_across_frames=True, closefd=True
    )
    return closing(cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", stream), _CHUNK)))
