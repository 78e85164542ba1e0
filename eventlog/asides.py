"""What consumers parked and operators dropped, noted beside the segments: Redis alone would forget it with its data."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from playhead.streams.storage.disk import write_all
from playhead.streams.storage.durability import sync_directory

ASIDES = "asides.ndjson"
"""One note a line, and the last one of an event counts; not `.jsonl`, as a segment is."""


class AsideNote(msgspec.Struct, frozen=True):
    """What became of an event for a consumer; `applied` is what was parked before. Notes are numbered from 1."""

    number: int
    consumer: str
    position: str
    became: Literal["parked", "dropped", "applied"]
    reason: str = ""
    reason_class: str = ""
    blocks: bool = False


def read_asides(directory: Path) -> list[AsideNote]:
    """The notes of the partition in a directory, in order; a line that a crash tore is none."""
    found: list[AsideNote] = []
    with suppress(FileNotFoundError):
        for line in (directory / ASIDES).read_bytes().split(b"\n"):
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                found.append(msgspec.json.decode(line, type=AsideNote))
    return found


def note_asides(directory: Path, asides: Sequence[AsideNote]) -> None:
    """Note what became of events, durably.

    Raises:
        OSError: the disk is full, for instance.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lines = b"".join(b"\n%b" % msgspec.json.encode(aside) for aside in asides)  # a torn line is ended first
    descriptor = os.open(directory / ASIDES, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        write_all(descriptor, lines + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(directory)
