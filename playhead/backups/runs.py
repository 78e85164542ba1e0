"""What a backup says of itself: its runs, the places in them, their files, and the parts that these consist of."""

import hashlib
import re

import msgspec

PART_BYTES = 16 * 1024 * 1024
"""Bytes that a part may have, before compression."""
NAME_LIMIT = 4096

_LATEST = 1 << 62
_FILE = re.compile(r"(\d{8})-([0-9a-f]{64})\.json", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Part(msgspec.Struct, frozen=True):
    """Some of the bytes of a file, kept once in the backup by their SHA-256."""

    sha256: str
    size: int

    @property
    def is_valid(self) -> bool:
        """Whether it can be a part at all."""
        return bool(_SHA256.fullmatch(self.sha256)) and 0 <= self.size <= PART_BYTES


class File(msgspec.Struct, frozen=True):
    """A file by its name below its place, when it was modified in Unix nanoseconds, and its parts in order."""

    name: str
    modified: int
    parts: list[Part]
    is_damaged: bool = False
    """Whether it did not have the checksum that it should have when it was copied."""

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(part.size for part in self.parts)

    @property
    def is_valid(self) -> bool:
        """Whether its name stays below its place, and its parts can be parts."""
        return is_safe(self.name) and abs(self.modified) < _LATEST and all(part.is_valid for part in self.parts)


class Place(msgspec.Struct, frozen=True):
    """A place by its setting; its files stand in the listing, one JSON object a line."""

    setting: str
    files: int
    bytes: int
    listing: list[Part]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the backup: all of its places, each as it was between two times (RFC 3339).

    `partitions` is the number of partitions of each stream of the log.
    """

    format: int
    number: int
    installation: str | None
    began: str
    ended: str
    partitions: dict[str, int]
    places: list[Place]

    def place(self, setting: str) -> Place | None:
        """The place of a setting, None if this run has none."""
        return next((place for place in self.places if place.setting == setting), None)


FORMAT = 1


def encode_run(run: Run) -> tuple[str, bytes]:
    """The name and the content of the file of a run; the name has the checksum of the content."""
    content = msgspec.json.format(msgspec.json.encode(run, order="deterministic"), indent=1) + b"\n"
    return f"{run.number:08d}-{hashlib.sha256(content).hexdigest()}.json", content


def number_of(name: str) -> int | None:
    """The number of the run in a file, None if the name is not one of a run."""
    match = _FILE.fullmatch(name)
    return None if match is None else int(match[1])


def decode_run(name: str, content: bytes) -> Run:
    """Read the file of a run.

    Raises:
        ValueError: it was altered, or a later version wrote it.
    """
    match = _FILE.fullmatch(name)
    if match is None or hashlib.sha256(content).hexdigest() != match[2]:
        raise ValueError("its content does not match its name")
    run = msgspec.json.decode(content, type=Run)
    if run.format != FORMAT:
        raise ValueError(f"it has the format {run.format}, which another version of Playhead wrote")
    return run


def is_safe(name: str) -> bool:
    """Whether a name can be one of a backup: a relative path that stays below its root, without hidden components."""
    return (
        0 < len(name) <= NAME_LIMIT
        and "\0" not in name
        and not any(not component or component.startswith(".") for component in name.split("/"))
    )
