"""Directories where files are written: how much room there is, and what makes them durable."""

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from playhead.streams import failpoints
from playhead.streams.failpoints import Point

PRIVATE = 0o700
"""Mode of a directory that holds payloads, when Playhead makes it: whoever shares it changes this one mode."""
LEAST_FREE_BYTES = 100 * 1024 * 1024
_MANY = 8
_syncfs: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def free_bytes(directory: Path) -> int:
    """Bytes that this user may still write.

    Raises:
        OSError: the directory is not there, or is not ours to look at.
    """
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize


def problem(directory: Path) -> str | None:
    """What keeps files from being written there, or will soon; None if nothing does."""
    try:
        free = free_bytes(directory)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} is not writable"
    if free < LEAST_FREE_BYTES:
        mebibytes, least = free // 1024 // 1024, LEAST_FREE_BYTES // 1024 // 1024
        return f"{directory} has {mebibytes} MiB left; at least {least} are needed"
    return None


def at_once(count: int) -> bool:
    """Whether so many are made durable by one call for the whole file system."""
    return _syncfs is not None and count > _MANY


def write_all(descriptor: int, content: bytes | bytearray | memoryview) -> None:
    """Write everything, in as many calls as it takes.

    Raises:
        OSError: a part of it may be written.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, failpoints.portion(view)) :]
        failpoints.reach(Point.MID_FILE)


def sync_many(root: int, descriptors: Sequence[int]) -> None:
    """Make files or directories durable: with one call for the file system of `root` when they are many.

    Raises:
        OSError: they may not be durable.
    """
    failpoints.reach(Point.BEFORE_SYNC)
    if _syncfs is not None and at_once(len(descriptors)):
        if _syncfs(root) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"syncfs: {os.strerror(number)}")
    else:
        for descriptor in descriptors:
            os.fsync(descriptor)
    failpoints.reach(Point.AFTER_SYNC)


def make_directory(directory: Path, *, private: Path | None = None) -> None:
    """Make a directory and those above it, durably; fine if it is there already.

    `private` is the one among them that is for its owner alone, if it is not there yet.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    if private is not None:
        private.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for path in missing:
            os.fsync(_opened(path.parent, stack))


def remove_old(directory: Path, seconds: float) -> None:
    """Remove the files of a directory that were not changed for so many seconds; what cannot be removed stays."""
    with suppress(OSError):
        for path in directory.iterdir():
            if path.lstat().st_mtime < time.time() - seconds:
                path.unlink(missing_ok=True)


def _opened(path: Path | str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
