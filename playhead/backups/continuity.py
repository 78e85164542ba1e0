"""Continuity: whether the segments of a log in a run follow one another.

Of a sealed segment its manifest is read, of an active one its first and last line, each once for all runs.
"""

from collections.abc import Iterable, Iterator, Sequence
from posixpath import basename, dirname

import msgspec

from playhead.backups.errors import BackupDamaged
from playhead.backups.runs import File, Part
from playhead.backups.store import Store
from playhead.eventlog.gaps import GAPS, Gaps, decode_gaps
from playhead.eventlog.lines import position_if_readable, sequence_of
from playhead.eventlog.segments import MANIFEST, PLAIN, decode_manifest, parse_file_name
from playhead.streams.positions import START, Position


class Hole(msgspec.Struct, frozen=True):
    """A file of a run that does not follow the one before."""

    file: str
    problem: str


class _Ends(msgspec.Struct, frozen=True):
    """Where a segment begins and ends; a number is None if no event has one, or it cannot be read."""

    first: Position
    last: Position
    first_sequence: int | None
    last_sequence: int | None


class Continuity:
    """Compares the ends of segments. What is noted as missing is no hole, nor is a number that starts over."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends: dict[tuple[Part, ...], _Ends | None] = {}

    def holes(self, files: Iterable[File]) -> Iterator[Hole]:
        """Where events are missing in a log. A file that is damaged is passed over."""
        partitions: dict[str, dict[str, File]] = {}
        for file in files:
            partitions.setdefault(dirname(file.name), {})[basename(file.name)] = file
        for named in partitions.values():
            yield from self._partition(named)

    def _partition(self, named: dict[str, File]) -> Iterator[Hole]:
        gaps = self._gaps(named.get(GAPS))
        last, sequence = START, 0
        for file in _ordered(named):
            ends = self._ends_of(file)
            if ends is None or ends.first_sequence is None or ends.last_sequence is None:
                sequence = None
            else:
                if sequence is not None:
                    missing = ends.first_sequence - sequence - 1
                    if missing > 0 and missing > gaps.between(last, ends.first):
                        yield Hole(file.name, f"events are missing: sequence {ends.first_sequence} follows {sequence}")
                sequence = ends.last_sequence
            last = last if ends is None else ends.last

    def _gaps(self, file: File | None) -> Gaps:
        try:
            return decode_gaps(b"" if file is None else b"".join(map(self._store.read, file.parts)))
        except BackupDamaged:
            return Gaps(())

    def _ends_of(self, file: File) -> _Ends | None:
        key = tuple(file.parts)
        if key not in self._ends:
            self._ends[key] = self._read_ends(file)
        return self._ends[key]

    def _read_ends(self, file: File) -> _Ends | None:
        try:
            if file.name.endswith(PLAIN):
                return self._ends_of_lines(file.parts)
            manifest = decode_manifest(b"".join(map(self._store.read, file.parts)))
        except (BackupDamaged, ValueError):  # msgspec's and ours are ValueErrors
            return None
        first, last = Position.parse(manifest.first), Position.parse(manifest.last)
        return _Ends(first, last, manifest.first_sequence, manifest.last_sequence)

    def _ends_of_lines(self, parts: Sequence[Part]) -> _Ends | None:
        head, tail = b"", b""
        for part in parts:
            head += self._store.read(part)
            if b"\n" in head:
                break
        for part in reversed(parts):
            tail = self._store.read(part) + tail
            if b"\n" in tail[:-1]:
                break
        first_line, last_line = head[: head.find(b"\n") + 1], tail[tail.rfind(b"\n", 0, -1) + 1 :]
        first, last = position_if_readable(first_line), position_if_readable(last_line)
        if first is None or last is None:
            return None
        return _Ends(first, last, sequence_of(first_line), sequence_of(last_line))


def _ordered(named: dict[str, File]) -> list[File]:
    """What says where each segment begins and ends, in order: its manifest, or its lines if it is not sealed."""
    found: dict[Position, File] = {}
    for name, file in sorted(named.items()):  # the manifest comes behind the lines
        match parse_file_name(name):
            case (first, suffix) if suffix == MANIFEST or (suffix == PLAIN and first not in found):
                found[first] = file
            case _:
                pass
    return [file for _, file in sorted(found.items(), key=lambda one: one[0])]
