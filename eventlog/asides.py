"""What consumers parked and operators dropped, noted beside the segments: Redis alone would forget it with its data."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from playhead.streams.positions import Position
from playhead.streams.storage.disk import write_all
from playhead.streams.storage.durability import sync_directory

ASIDES = "asides.ndjson"
"""One note a line, and the last one of an event counts; not `.jsonl`, as a segment is."""


class AsideNote(msgspec.Struct, frozen=True):
    """What became of an event for a consumer; notes are numbered from 1.

    `applied` is what was parked before, or given to a worker again as `retry`.
    """

    number: int
    consumer: str
    position: str
    became: Literal["parked", "dropped", "again", "applied"]
    reason: str = ""
    reason_class: str = ""
    blocks: bool = False
    retry: str = ""


class Asides(msgspec.Struct, frozen=True):
    """The notes of a partition in order, and the numbers, from 1, of the lines that are none: damage, as no crash does.

    `number` is that of the last note; a line that cannot be read counts as the one behind the note before it.
    """

    file: Path
    notes: list[AsideNote]
    unreadable: list[int]
    number: int


def read_asides(directory: Path) -> Asides:
    """The notes of the partition in a directory; a last line without its line feed is torn, and left out.

    Raises:
        OSError: they cannot be read.
    """
    file, notes, unreadable, last = directory / ASIDES, list[AsideNote](), list[int](), 0
    with suppress(FileNotFoundError):
        for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], start=1):
            try:
                note = msgspec.json.decode(line, type=AsideNote)
                Position.parse(note.position)
            except ValueError:  # msgspec's and ours are ValueErrors
                unreadable.append(number)
                last += 1
            else:
                notes.append(note)
                last = max(last, note.number)
    return Asides(file, notes, unreadable, last)


def note_asides(directory: Path, asides: Sequence[AsideNote]) -> None:
    """Note what became of events, durably, behind the last whole line.

    Raises:
        OSError: the disk is full, for instance.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lines = b"".join(b"%b\n" % msgspec.json.encode(aside) for aside in asides)
    descriptor = os.open(directory / ASIDES, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.ftruncate(descriptor, (directory / ASIDES).read_bytes().rfind(b"\n") + 1)
        write_all(descriptor, lines)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(directory)
