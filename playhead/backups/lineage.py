"""Lineage: whether a log has what the last run has of it, and goes on from there.

A restore makes a second log of the same installation. Whichever of the two grows differs from the other from then on.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from playhead.backups.runs import File
from playhead.backups.store import in_parts
from playhead.eventlog.segments import MANIFEST, PLAIN, SEALED, list_segments, read_lines


def find_lacking(before: Mapping[str, File], now: Mapping[str, File]) -> str | None:
    """The first file that the log had before and neither has nor has sealed since."""
    for name, file in sorted(before.items()):
        is_sealed = name.endswith(PLAIN) and _sealed(name) in now
        if not is_sealed and (name not in now or (name.endswith(PLAIN) and now[name].size < file.size)):
            return name
    return None


def find_parted(root: Path, before: Mapping[str, File], now: Mapping[str, File]) -> str | None:
    """The first file, of a log that lacks none, that is not what it was before, or does not begin with that.

    A manifest speaks for its segment and those before it. A sealed segment that is damaged is not looked at.
    """
    for name, file in sorted(before.items()):
        if name.endswith((PLAIN, MANIFEST)) and not _continues(root, name, file, now):
            return name
    return None


def _continues(root: Path, name: str, before: File, now: Mapping[str, File]) -> bool:
    if name in now:
        return now[name].parts[: len(before.parts)] == before.parts  # it was cut where the last run cut it
    if now[_sealed(name)].is_damaged:
        return True
    sizes = [part.size for part in before.parts]
    found = islice(in_parts(_sealed_lines(root, name), sizes), len(sizes))
    return [hashlib.sha256(part).hexdigest() for part in found] == [part.sha256 for part in before.parts]


def _sealed_lines(root: Path, name: str) -> Iterator[bytes]:
    path = Path(root, name)
    for segment in list_segments(path.parent):
        if segment.plain == path:
            yield from (line for _, line in read_lines(segment))


def _sealed(name: str) -> str:
    return name.removesuffix(PLAIN) + SEALED
