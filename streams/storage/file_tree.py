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
from playhead.streams.printable import printable

SIZE_LIMIT = 100 * 1024 * 1024
"""Bytes a file may have; a larger one is reported and skipped."""

HIDDEN, OTHER_NAME, FILTERED = "hidden", "other file name", "filtered"
"""Reasons that are counted for what nobody looked into."""

DEPTH_LIMIT = 32
"""Directories that may lie in one another."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # non-blocking: opening a FIFO must not wait


class Skipped(msgspec.Struct, frozen=True):
    """A name that gives no event, and why; `detail` is what only this one has, and is not counted by.

    `broken` if it should have given one. `spare` if nothing is lost with it: what it holds stands elsewhere, or
    was not asked for.
    """

    name: str
    reason: str
    broken: bool = False
    spare: bool = False
    detail: str = ""


class FileTree:
    """The files below a directory. Every component of a path is opened by itself and no link is followed, so whatever
    changes meanwhile, nothing outside is read.

    Raises:
        OSError: the directory cannot be opened.
    """

    def __init__(self, directory: Path, suffixes: tuple[str, ...] = (".json",)) -> None:
        self._suffixes = suffixes
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def names(self, pattern: str | None = None) -> Iterator[str | Skipped]:
        """Names with one of the suffixes in a fixed order, relative to the directory, and what is passed over.

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
                if name.startswith("."):
                    yield Skipped(relative, HIDDEN)
                elif stat.S_ISDIR(mode):
                    below.append(relative + "/")
                elif stat.S_ISLNK(mode):
                    yield Skipped(relative, "symbolic link", spare=self._leads_inside(directory, name))
                elif not _matches(relative, name, pattern):
                    yield Skipped(relative, FILTERED, spare=True)
                elif not name.lower().endswith(self._suffixes):
                    yield Skipped(relative, OTHER_NAME)
                else:
                    yield relative if stat.S_ISREG(mode) else Skipped(relative, "not a regular file")
            waiting += reversed(below)

    def content(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or so many from `start` on.

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
        if not stat.S_ISREG((about := os.fstat(descriptor)).st_mode):
            os.close(descriptor)  # a file object of a directory fails, and leaves it open
            raise InvalidEvent("file", "it is not a regular file")
        with os.fdopen(descriptor, "rb") as file:
            if about.st_size > SIZE_LIMIT:
                raise InvalidEvent("file", f"{about.st_size} bytes is over the limit of {SIZE_LIMIT}")
            file.seek(start)
            return file.read(SIZE_LIMIT + 1 if length is None else length)

    def _entries(self, directory: str) -> list[tuple[str, int]]:
        descriptor = self._open_directory(directory.split("/")[:-1])
        try:
            with os.scandir(descriptor) as entries:
                return sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
        finally:
            os.close(descriptor)

    def _leads_inside(self, directory: str, name: str) -> bool:
        """Whether a link leads to a place below the directory, which is read by its own name."""
        try:
            descriptor = self._open_directory(directory.split("/")[:-1])
            try:
                target = os.readlink(name, dir_fd=descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            return False
        place = os.path.normpath(f"{directory}{target}")
        return not target.startswith("/") and place.split("/")[0] != ".."

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
    return printable(os.fsencode(name).decode("utf-8", "backslashreplace"))


def _matches(relative: str, name: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(relative, pattern) or fnmatchcase(name, pattern)
