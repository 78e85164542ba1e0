"""Gaps: what never reached the log, noted beside the segments, so that nobody takes it for damage."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from playhead.eventlog.errors import LogWriteFailed
from playhead.streams.positions import Position
from playhead.streams.storage.disk import write_all

GAPS = "gaps.ndjson"
"""One gap a line; not `.jsonl`, as a segment is."""


class _Line(msgspec.Struct, frozen=True):
    after: str
    before: str
    count: int


class Gap(msgspec.Struct, frozen=True):
    """So many events are missing behind `after`; `before` is where the log goes on."""

    after: Position
    before: Position
    count: int


class Gaps:
    """The gaps of a partition that are noted."""

    def __init__(self, gaps: Iterable[Gap]) -> None:
        self._gaps = {gap.before: gap for gap in gaps}  # one that was noted again counts once

    def between(self, after: Position, before: Position) -> int:
        """How many events are noted as missing behind one position, up to and with another."""
        return sum(gap.count for gap in self._gaps.values() if after < gap.before <= before)

    def cover(self, position: Position) -> bool:
        """Whether it is noted that something is missing just before a position, or around it."""
        return any(gap.after < position <= gap.before for gap in self._gaps.values())


def read_gaps(directory: Path) -> Gaps:
    """The gaps of the partition in a directory; a line that a crash tore is noted again before anything follows it."""
    try:
        return decode_gaps((directory / GAPS).read_bytes())
    except FileNotFoundError:
        return Gaps(())


def decode_gaps(content: bytes) -> Gaps:
    """The gaps that a file notes; a line that is none is passed over."""
    found: list[Gap] = []
    for line in content.split(b"\n"):
        with suppress(ValueError):  # msgspec's and ours are ValueErrors
            one = msgspec.json.decode(line, type=_Line)
            found.append(Gap(Position.parse(one.after), Position.parse(one.before), one.count))
    return Gaps(found)


def note_gap(directory: Path, gap: Gap) -> None:
    """Note a gap, durably.

    Raises:
        OSError: the disk is full, for instance.
        LogWriteFailed: an fsync failed.
    """
    path = directory / GAPS
    line = msgspec.json.encode(_Line(str(gap.after), str(gap.before), gap.count))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        write_all(descriptor, b"\n%b\n" % line)  # a line that was torn before is ended first
        _sync(descriptor, path)
    finally:
        os.close(descriptor)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(parent, directory)
    finally:
        os.close(parent)


def _sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise LogWriteFailed(path, f"fsync failed: {error}") from error
