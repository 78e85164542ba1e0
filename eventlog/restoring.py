"""The mark of a log that a restore is writing: until it is gone, nobody else writes there."""

import os
from pathlib import Path

from playhead.eventlog.errors import RestoreUnfinished
from playhead.streams.storage.disk import make_directory
from playhead.streams.storage.durability import sync_directory

_MARK = ".playhead-restoring"


def is_unfinished(root: Path) -> bool:
    """Whether a restore of this log was begun and has not ended."""
    return os.path.lexists(root / _MARK)


def refuse_unfinished(root: Path) -> None:
    """Refuse a log that is not restored to its end.

    Raises:
        RestoreUnfinished: says so.
    """
    if is_unfinished(root):
        raise RestoreUnfinished(root / _MARK)


def begin(root: Path) -> None:
    """Mark a log, durably; fine if it is marked.

    Raises:
        OSError: it cannot be marked.
    """
    make_directory(root, private=root)
    os.close(os.open(root / _MARK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
    sync_directory(root)


def end(root: Path) -> None:
    """Remove the mark.

    Raises:
        OSError: it may be there again after a crash.
    """
    (root / _MARK).unlink(missing_ok=True)
    sync_directory(root)
