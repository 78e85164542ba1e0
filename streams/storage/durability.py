"""What makes the names in a directory durable."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make created, renamed and removed names durable.

    Raises:
        OSError: they may not be durable.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
