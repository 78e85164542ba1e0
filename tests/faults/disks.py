"""Disks for tests: a small one that can grow."""

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(*arguments: object) -> None:
    """Mount, or skip the test where that is refused."""
    done = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"mount is refused here: {done.stderr.decode().strip()}")


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Generator[Callable[[], None], None, None]:
    """A disk of that size at the directory; the function makes it larger."""
    directory.mkdir()
    mount("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", directory)
    try:
        yield lambda: mount("-o", "remount,size=256m", directory)
    finally:
        subprocess.run(["umount", directory], check=True)
