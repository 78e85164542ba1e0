"""How much room there is where files are written."""

import os
from pathlib import Path

LEAST_FREE_BYTES = 100 * 1024 * 1024


def free_bytes(directory: Path) -> int:
    """Bytes that this user may still write.

    Raises:
        OSError: the directory is not there, or is not ours to look at.
    """
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize


def problem(directory: Path) -> str | None:
    """What keeps files from being written there, or will soon; None where nothing does."""
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
