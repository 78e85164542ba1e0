"""Recovery: what a partition's files say after a crash, and the torn last line cut off."""

import os
from pathlib import Path

import msgspec

from playhead.eventlog.errors import BadLine, LogCorrupt
from playhead.eventlog.lines import decode_line, holds_whole_line
from playhead.eventlog.seals import finish_seals, seal, sync, sync_directory
from playhead.eventlog.segments import TORN, Segment, list_segments, read_lines, read_manifest
from playhead.streams.positions import Position


class Recovered(msgspec.Struct, frozen=True):
    """The tail, None for an empty log, and the segment to go on with, if one is active."""

    tail: Position | None
    active: Segment | None


def recover(directory: Path) -> Recovered:
    """Finish seals, cut a torn last line off the active segment, and find the tail; the lock must be held.

    Raises:
        LogCorrupt: damage that no crash can have done. Nothing is cut.
    """
    finish_seals(directory)
    segments = list_segments(directory)
    plain = [segment for segment in segments if segment.is_active]
    sealed = [segment for segment in segments if segment.is_sealed]
    tail = Position.parse(read_manifest(sealed[-1]).last) if sealed else None
    if plain and sealed and plain[0].first <= sealed[-1].first:
        raise LogCorrupt(plain[0].plain, None, plain[0].first, "a sealed segment follows this active one")
    active = None
    for segment in plain:
        last = segment is plain[-1]
        end = _tail_of(segment, tail, cut=last)
        if end == tail:
            segment.plain.unlink()
            sync_directory(directory)
        elif last:
            active = segment
        else:
            seal(segment)
        tail = end
    return Recovered(tail, active)


def _tail_of(segment: Segment, tail: Position | None, *, cut: bool) -> Position | None:
    good = 0
    bad: tuple[int, bytes, str] | None = None
    for number, line in read_lines(segment):
        if bad is not None:
            raise LogCorrupt(segment.plain, bad[0], tail, f"{bad[2]}, and lines follow it")
        try:
            position = decode_line(line).position
        except BadLine as error:
            bad = (number, line, str(error))
            continue
        if tail is not None and position <= tail:
            raise LogCorrupt(segment.plain, number, position, f"the position is not after {tail}")
        tail = position
        good += len(line)
    if bad is not None:
        number, line, problem = bad
        if not cut or holds_whole_line(line):
            raise LogCorrupt(segment.plain, number, tail, f"{problem}, and it is not a torn last line")
        _cut(segment.plain, good, line)
    return tail


def _cut(path: Path, length: int, torn: bytes) -> None:
    aside = path.with_name(path.name + TORN)
    with aside.open("ab") as file:
        file.write(torn)
        file.flush()
        sync(file.fileno(), aside)
    sync_directory(path.parent)
    with path.open("r+b") as file:
        os.ftruncate(file.fileno(), length)
        sync(file.fileno(), path)
