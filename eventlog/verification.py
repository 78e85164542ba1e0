"""Verification: every line, position, sequence and manifest of the log, checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from playhead.eventlog.asides import read_asides
from playhead.eventlog.continuity import Continuity
from playhead.eventlog.errors import BadLine, LogCorrupt
from playhead.eventlog.lines import decode_line, position_if_readable
from playhead.eventlog.seals import Summary
from playhead.eventlog.segments import (
    Segment,
    encode_manifest,
    list_segments,
    partition_directory,
    partitions,
    read_lines,
)
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.positions import Position

FAULT_LIMIT = 10_000
"""Faults that are named in one segment. The rest is not read then: a small file may unpack to endless lines."""

_LINES_TOLD = 1000

FaultKind = Literal["line", "order", "gap", "manifest", "missing", "note"]


class Fault(msgspec.Struct, frozen=True):
    """Something wrong with the log. `position` is the event's, or the last one known before it."""

    kind: FaultKind
    file: Path
    line: int | None
    position: Position | None
    problem: str


class Verification(msgspec.Struct, frozen=True):
    """How many good events there are, and every fault."""

    events: int
    faults: list[Fault]


def verify(root: Path, advanced: Callable[[int], None] = lambda _: None) -> Verification:
    """Check every line, position, sequence, manifest, the chain of manifests and each note; changes nothing.

    `advanced` is told of so many more lines that were checked.
    """
    events = 0
    faults: list[Fault] = []
    for partition in partitions(root):
        check = _Check(faults, advanced)
        check.partition(partition_directory(root, partition))
        events += check.events
    return Verification(events, faults)


class _Check:
    def __init__(self, faults: list[Fault], advanced: Callable[[int], None]) -> None:
        self.events = 0
        self._faults, self._advanced = faults, advanced
        self._last: Recorded | None = None

    def partition(self, directory: Path) -> None:
        asides = read_asides(directory)
        for number in asides.unreadable[:FAULT_LIMIT]:
            self._fault("note", asides.file, number, "it is no note of what is parked or dropped")
        segments = list_segments(directory)
        self._continuity = Continuity(directory, audit=True)
        for segment in segments:
            if segment.is_active and segment is not segments[-1]:
                self._fault("order", segment.plain, None, "an unsealed segment is followed by another")
            try:
                hole = self._continuity.enter(segment)
            except LogCorrupt as error:
                self._fault("manifest", error.file, None, error.problem)
                hole = None
            if hole is not None:
                self._fault(hole.kind, hole.file, None, hole.problem)
            if segment.is_active or segment.file.exists():
                summary = self._lines(segment)
                if segment.is_sealed:
                    self._manifest(segment, summary)

    def _lines(self, segment: Segment) -> Summary:
        summary = Summary()
        before = len(self._faults)
        try:
            for number, line in read_lines(segment):
                if segment.is_active and not line.endswith(b"\n"):
                    break
                if len(self._faults) - before >= FAULT_LIMIT:
                    self._fault("line", segment.file, number, f"over {FAULT_LIMIT} faults; the rest is not read")
                    break
                self._line(segment, number, line, summary)
                if number % _LINES_TOLD == 0:
                    self._advanced(_LINES_TOLD)
        except LogCorrupt as error:
            self._fault("line", error.file, error.line, error.problem)
        if summary.first is not None and summary.first != segment.first:
            self._fault("order", segment.file, 1, f"the segment begins with {summary.first}, not as its name says")
        return summary

    def _line(self, segment: Segment, number: int, line: bytes, summary: Summary) -> None:
        try:
            recorded = decode_line(line)
            summary.add(recorded)
        except (BadLine, InvalidEvent) as error:
            self._fault("line", segment.file, number, str(error), position_if_readable(line))
            return
        self.events += 1
        before, self._last = self._last, recorded
        if before is not None and recorded.position <= before.position:
            problem = f"the position is not after {before.position}"
            self._fault("order", segment.file, number, problem)
        hole = self._continuity.event(segment.file, number, recorded.position, recorded.sequence)
        if hole is not None:
            self._fault(hole.kind, hole.file, hole.line, hole.problem)

    def _manifest(self, segment: Segment, summary: Summary) -> None:
        actual = self._continuity.manifest
        if actual is None:
            return
        expected = summary.manifest(segment.sealed, actual.previous)
        if actual.first_sequence is None and actual.last_sequence is None:  # an earlier version sealed it
            expected = msgspec.structs.replace(expected, first_sequence=None, last_sequence=None)
        if segment.manifest.read_bytes() == encode_manifest(expected):
            return
        fields = [name for name in expected.__struct_fields__ if getattr(actual, name) != getattr(expected, name)]
        problem = f"the manifest and the segment differ in {', '.join(fields or ['formatting'])}"
        self._fault("manifest", segment.manifest, None, problem)

    def _fault(
        self, kind: FaultKind, file: Path, line: int | None, problem: str, position: Position | None = None
    ) -> None:
        known = position or (self._last.position if self._last else None)
        self._faults.append(Fault(kind, file, line, known, problem))
