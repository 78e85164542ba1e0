"""The mark of a log that a restore is writing: until it is gone, nobody else writes there."""

import os
from pathlib import Path

from playhead.eventlog.errors import RestoreUnfinished
from playhead.streams.storage.disk import make_directory, write_all
from playhead.streams.storage.durability import sync_directory

_MARK = ".playhead-restoring"


def is_unfinished(root: Path) -> bool:
    """Whether a restore of this log was begun and has not ended."""
    return os.path.lexists(root / _MARK)


def begun(root: Path) -> str | None:
    """What is restored there, as `begin` was told; None if nothing is. What a crash tore has restored nothing yet.

    Raises:
        OSError: the mark cannot be read.
    """
    try:
        return (root / _MARK).read_text("ascii", "replace")
    except FileNotFoundError:
        return None


def refuse_unfinished(root: Path) -> None:
    """Refuse a log that is not restored to its end.

    Raises:
        RestoreUnfinished: says so.
    """
    if is_unfinished(root):
        raise RestoreUnfinished(root / _MARK)


def begin(root: Path, what: str) -> None:
    """Mark a log with what is restored there, durably; fine if it is marked.

    Raises:
        OSError: it cannot be marked.
    """
    make_directory(root, private=root)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(root / _MARK, flags, 0o644)
    try:
        write_all(descriptor, what.encode())  # over the same, if it goes on: never truncated first
        os.ftruncate(descriptor, len(what.encode()))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(root)


def end(root: Path) -> None:
    """Remove the mark.

    Raises:
        OSError: it may be there again after a crash.
    """
    (root / _MARK).unlink(missing_ok=True)
    sync_directory(root)
