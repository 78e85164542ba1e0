"""Scratch files: content by path in a temporary directory, so that it need not fit into memory."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playhead.streams.storage import disk

FilePath = tuple[str, ...]
"""The folders and the name of a file below a directory, each fit for a path."""
_OLD_SECONDS = 24 * 3600


def scratch_directory(wanted: Path | None) -> Path:
    """Make a directory for files without a name; if that cannot be written, or is None, it is that for temporary files.

    What a process left that was killed before it removed the name goes, once it is a day old.
    """
    if wanted is not None and not wanted.is_symlink():
        with contextlib.suppress(OSError):
            disk.make_directory(wanted, private=wanted)
        if os.access(wanted, os.W_OK | os.X_OK):
            disk.remove_old(wanted, _OLD_SECONDS)
            return wanted
    return Path(tempfile.gettempdir())


class Scratch:
    """Files for a while: nothing is synced, and `close` removes all."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="playhead-"))

    def read(self, path: FilePath) -> bytes | None:
        """The content of a file, None if it is not there."""
        try:
            return self._root.joinpath(*path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, path: FilePath, content: bytes) -> None:
        """Write a file.

        Raises:
            NotADirectoryError: a file stands where a folder belongs.
            IsADirectoryError: a folder stands there.
            OSError: the disk is full.
        """
        file = self._root.joinpath(*path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(file)) from error
        file.write_bytes(content)

    def paths(self) -> Iterator[FilePath]:
        """The path of each file."""
        return (file.relative_to(self._root).parts for file in self._root.rglob("*") if file.is_file())

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._root, ignore_errors=True)
