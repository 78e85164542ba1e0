"""Continuity: whether each segment and each event of a partition follows the one before.

A manifest names the manifest before it, and events have contiguous sequence numbers. Events of clients that append
without a number are covered only by the count in the manifest.
"""

from pathlib import Path
from typing import Literal

import msgspec

from playhead.eventlog.errors import BadLine, LogCorrupt
from playhead.eventlog.gaps import Gaps, read_gaps
from playhead.eventlog.lines import sequence_of
from playhead.eventlog.segments import Manifest, Segment, file_sha256, read_lines, read_manifest
from playhead.streams.positions import START, Position

HoleKind = Literal["missing", "gap"]


class Hole(msgspec.Struct, frozen=True):
    """A place where the log does not follow on. `position` is that of the event behind it.

    `missing` events are known not to be there, `noted` of them to be missing for a known reason. A number that starts
    over is a hole in which nothing is missing.
    """

    kind: HoleKind
    file: Path
    line: int | None
    after: Position
    position: Position
    missing: int
    noted: int
    problem: str

    @property
    def is_known(self) -> bool:
        """Whether everything that is missing is noted."""
        return self.kind == "gap" and self.missing <= self.noted


class Continuity:
    """Follows a partition from segment to segment.

    An `audit` finds noted gaps too, and everything that is wrong in one place; otherwise each event is missed once.
    """

    def __init__(self, directory: Path, *, audit: bool = False) -> None:
        self._gaps = Gaps(()) if audit else read_gaps(directory)
        self._is_audit = audit
        self._last = START
        self._sequence: int | None = 0
        self._before: Segment | None = None
        self._previous: str | None = None
        self._jumped = 0
        self.manifest: Manifest | None = None
        """That of the segment which was entered, if it is sealed."""

    def begin_behind(self, segment: Segment) -> None:
        """Start with the segment that follows this one."""
        self._before, self._sequence = segment, None
        if segment.is_sealed:
            try:
                manifest = read_manifest(segment)
            except LogCorrupt:  # of no interest behind it
                return
            self._sequence, self._last = manifest.last_sequence, Position.parse(manifest.last)

    @property
    def previous(self) -> str | None:
        """The checksum of the manifest before the segment that was entered."""
        return self._previous

    def enter(self, segment: Segment) -> Hole | None:
        """Go on to a segment; what is wrong with its place in the chain.

        Raises:
            LogCorrupt: its manifest cannot be read.
        """
        self._jumped = 0
        before, self._before = self._before, segment
        if before is not None and before.manifest.exists():
            self._previous = file_sha256(before.manifest)
        self.manifest = None
        if segment.is_active:
            return None
        if not segment.is_sealed:
            return self._file_missing(segment)
        self.manifest = read_manifest(segment)
        if self.manifest.previous == self._previous or self._gaps.cover(segment.first):
            return None
        count = self._count_before(segment, before)
        if not self._is_audit:
            self._sequence = None
        problem = "the segment before it is missing or was changed"
        return Hole("missing", segment.manifest, None, self._last, segment.first, count, 0, problem)

    def event(self, file: Path, line: int, position: Position, sequence: int | None) -> Hole | None:
        """Go on to an event; whether its number does not follow."""
        if sequence is None:
            return None
        before, self._sequence = self._sequence, sequence
        after, self._last = self._last, position
        if before is None or sequence == before + 1:
            return None
        return self._jump(file, line, after, position, sequence, before, position)

    def pass_over(self) -> Hole | None:
        """Go on behind the sealed segment that was entered, by its manifest alone."""
        segment, manifest = self._before, self.manifest
        assert segment is not None, "it was entered"
        assert manifest is not None, "it is sealed"
        before, first, last = self._sequence, manifest.first_sequence, Position.parse(manifest.last)
        after, self._sequence, self._last = self._last, manifest.last_sequence, last
        if before is None or first is None or first == before + 1:
            return None
        return self._jump(segment.manifest, None, after, Position.parse(manifest.first), first, before, last)

    def leave(self, count: int) -> Hole | None:
        """Go on behind the sealed segment that was entered, of which so many lines were read.

        Raises:
            LogCorrupt: they are more than its manifest says.
        """
        segment, manifest = self._before, self.manifest
        assert segment is not None, "it was entered"
        assert manifest is not None, "it is sealed"
        problem = f"the segment has {count} events, its manifest {manifest.count}"
        if count > manifest.count:
            raise LogCorrupt(segment.file, None, self._last, problem)
        missing = manifest.count - count - self._jumped
        if missing <= 0:
            return None
        after, last = self._last, Position.parse(manifest.last)
        noted = self._gaps.between(after, last)
        self._sequence, self._last = manifest.last_sequence, last
        return Hole("gap", segment.file, None, after, last, missing, noted, problem)

    def _file_missing(self, segment: Segment) -> Hole | None:
        if self._gaps.cover(segment.first):
            return None
        after = self._last
        if not segment.manifest.exists():
            problem = "its manifest is missing"
            return Hole("missing", segment.manifest, None, after, segment.first, 0, 0, problem)
        manifest, problem = read_manifest(segment), "the segment is missing"
        last = Position.parse(manifest.last)
        if not self._is_audit:
            self._sequence, self._last = manifest.last_sequence, last
        return Hole("missing", segment.sealed, None, after, last, manifest.count, 0, problem)

    def _jump(
        self, file: Path, line: int | None, after: Position, position: Position, now: int, before: int, upto: Position
    ) -> Hole:
        missing = max(0, now - before - 1)
        self._jumped += missing
        noted = self._gaps.between(after, upto) if missing else 0
        return Hole("gap", file, line, after, position, missing, noted, f"sequence {now} follows {before}")

    def _count_before(self, segment: Segment, before: Segment | None) -> int:
        """How many events are missing between two segments that do not follow one another, 0 if that is not known."""
        last = self._sequence
        if last is None and before is not None:
            last = _sequence_in(before, last=True)
        first = self.manifest.first_sequence if self.manifest else None
        if first is None:
            first = _sequence_in(segment, last=False)
        return 0 if last is None or first is None else max(0, first - last - 1)


def _sequence_in(segment: Segment, *, last: bool) -> int | None:
    """The first or last sequence number of a segment, None if it has none or cannot be read."""
    found: int | None = None
    try:
        for _, line in read_lines(segment):
            found = sequence_of(line) or found
            if found is not None and not last:
                break
    except (LogCorrupt, BadLine, OSError):
        return None
    return found
