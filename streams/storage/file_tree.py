"""The files below a directory, read safely: whatever changes meanwhile, nothing outside is read."""

import errno
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

import msgspec

from playhead.streams.errors import InvalidEvent

SIZE_LIMIT = 100 * 1024 * 1024
"""Bytes a file may have; a larger one is reported and skipped."""

DEPTH_LIMIT = 32
"""Directories that may lie in one another."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # non-blocking: opening a FIFO must not wait


class Skipped(msgspec.Struct, frozen=True):
    """A name that gives no event, and why; `broken` if it should have given one."""

    name: str
    reason: str
    broken: bool = False


class FileTree:
    """The files below a directory. Every component of a path is opened by itself and no link is followed, so whatever
    changes meanwhile, nothing outside is read.

    Raises:
        OSError: the directory cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def names(self, pattern: str | None = None) -> Iterator[str | Skipped]:
        """Names of `.json` files in a fixed order, relative to the directory; hidden ones are passed over.

        The pattern is a shell's, tried on the relative name and on the file's own; its `*` also matches `/`.
        """
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            if directory.count("/") >= DEPTH_LIMIT:
                yield Skipped(directory, f"deeper than {DEPTH_LIMIT} directories", broken=True)
                continue
            try:
                entries = self._entries(directory)
            except OSError as error:
                yield Skipped(directory or ".", error.strerror or str(error), broken=True)
                continue
            below: list[str] = []
            for name, mode in entries:
                relative = f"{directory}{name}"
                if stat.S_ISDIR(mode):
                    below.append(relative + "/")
                elif stat.S_ISLNK(mode):
                    yield Skipped(relative, "symbolic link")
                elif name.endswith(".json") and _matches(relative, name, pattern):
                    yield relative if stat.S_ISREG(mode) else Skipped(relative, "not a regular file")
            waiting += reversed(below)

    def content(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            InvalidEvent: it is too large, or no regular file.
            OSError: it cannot be read, or a component of its name is a link.
        """
        *directories, last = name.split("/")
        directory = self._open_directory(directories)
        try:
            descriptor = os.open(last, _FILE, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InvalidEvent("file", "it is a symbolic link; name the file itself") from error
            raise
        finally:
            os.close(directory)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise InvalidEvent("file", "it is not a regular file")
            if about.st_size > SIZE_LIMIT:
                raise InvalidEvent("file", f"{about.st_size} bytes is over the limit of {SIZE_LIMIT}")
            return file.read(SIZE_LIMIT + 1)

    def _entries(self, directory: str) -> list[tuple[str, int]]:
        descriptor = self._open_directory(directory.split("/")[:-1])
        try:
            with os.scandir(descriptor) as entries:
                return sorted(
                    (entry.name, entry.stat(follow_symlinks=False).st_mode)
                    for entry in entries
                    if not entry.name.startswith(".")
                )
        finally:
            os.close(descriptor)

    def _open_directory(self, components: list[str]) -> int:
        descriptor = os.dup(self._root)
        for component in components:
            if component in {"", ".", ".."}:
                os.close(descriptor)
                raise InvalidEvent("file", "its name leads out of the directory")
            try:
                below = os.open(component, _DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


def shown(name: str) -> str:
    """A file name as text for a terminal: bytes that are not UTF-8, and characters that are not printable, escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _matches(relative: str, name: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(relative, pattern) or fnmatchcase(name, pattern)
