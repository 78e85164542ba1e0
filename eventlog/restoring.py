"""The mark of a log that a restore is writing: until it is gone, nobody else writes there."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playhead.eventlog.errors import LogInUse, RestoreUnfinished
from playhead.streams.storage.disk import make_directory, write_all
from playhead.streams.storage.durability import sync_directory

_MARK = ".playhead-restoring"
_MARK_BYTES = 4096
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Mark:
    """The mark of a log, locked.

    `begun` is what was noted to be restored there; empty if nothing is, as if a crash came before anything was written.
    """

    def __init__(self, root: Path, descriptor: int) -> None:
        self._root, self._descriptor = root, descriptor
        self.begun = os.pread(descriptor, _MARK_BYTES, 0).decode("ascii", "replace")

    def note(self, what: str) -> None:
        """Note what is restored there, durably; from now on the mark stays until it is removed.

        Raises:
            OSError: it cannot be noted.
        """
        self.begun = what
        write_all(self._descriptor, what.encode())  # over the same, if it goes on: never truncated first
        os.ftruncate(self._descriptor, len(what.encode()))
        os.fsync(self._descriptor)
        sync_directory(self._root)

    def remove(self) -> None:
        """Remove it.

        Raises:
            OSError: it may be there again after a crash.
        """
        (self._root / _MARK).unlink(missing_ok=True)
        sync_directory(self._root)


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


@contextmanager
def marked(root: Path) -> Generator[Mark, None, None]:
    """Mark a log, and lock the mark; one in which nothing is noted is removed at the end.

    Raises:
        LogInUse: another process restores this log.
        OSError: it cannot be marked.
    """
    make_directory(root, private=root)
    descriptor = os.open(root / _MARK, _FLAGS, 0o644)
    try:
        _lock(root, descriptor)
        mark = Mark(root, descriptor)
        try:
            yield mark
        finally:
            if not mark.begun:
                mark.remove()
    finally:
        os.close(descriptor)


def _lock(root: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.path.samestat((root / _MARK).lstat(), os.fstat(descriptor))
    except (BlockingIOError, FileNotFoundError):
        is_ours = False
    if not is_ours:  # or another restore has just ended, and what it restored is there now
        raise LogInUse(root)
