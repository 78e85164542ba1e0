"""Directories opened without following a symbolic link, and made durable."""

import contextlib
import errno
import os
import stat
from collections.abc import Generator, Sequence
from io import BufferedReader
from pathlib import Path

from playhead.streams.errors import UnsafePath
from playhead.streams.storage.disk import at_once, sync_many

FILE_LIMIT = 2 * 1024 * 1024 * 1024
"""Bytes of a file that is read as a whole; none that Playhead writes has more."""

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(root: int, parts: Sequence[str], *, made: set[tuple[str, ...]] | None = None) -> Generator[int, None, None]:
    """A descriptor of the directory at `parts` below `root`.

    With `made`, missing directories are created and the directories they were created in added to it.

    Raises:
        FileNotFoundError: it is not there, and `made` is None.
        UnsafePath: a link or a file stands in the way.
    """
    current = os.dup(root)
    try:
        for index, part in enumerate(parts):
            if made is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
                    made.add(tuple(parts[:index]))
            below = open_directory(part, current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def open_directory(name: str, parent: int) -> int:
    """Open one directory below another."""
    try:
        return os.open(name, _FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnsafePath(error.errno, "a link or file stands where a directory belongs; remove it", name) from error
        raise


def read_regular(name: str, parent: int) -> bytes | None:
    """The bytes of a regular file, or None if there is none of that name.

    Raises:
        UnsafePath: it is larger than `FILE_LIMIT`.
    """
    if (file := regular_file(name, parent)) is None:
        return None
    with file:
        return file.read()


def regular_file(name: str, parent: int) -> BufferedReader | None:
    """A regular file to read, or None if there is none of that name.

    Raises:
        UnsafePath: it is larger than `FILE_LIMIT`.
    """
    if (descriptor := regular_descriptor(name, parent)) is None:
        return None
    file = os.fdopen(descriptor, "rb")
    if os.fstat(descriptor).st_size > FILE_LIMIT:
        file.close()
        raise UnsafePath(errno.EFBIG, f"it is over {FILE_LIMIT} bytes, so Playhead did not write it; move it", name)
    return file


def regular_descriptor(name: str, parent: int) -> int | None:
    """A descriptor of a regular file to read, or None if there is none of that name."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def open_regular(root: Path, parts: Sequence[str]) -> BufferedReader:
    """Open a file below `root` to read; what is no regular file, such as a FIFO or a device, is never waited for.

    Raises:
        FileNotFoundError: it is not there.
        UnsafePath: a link, or something that is no file, stands there or on the way.
    """
    *folders, name = parts
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # may itself be a link
    try:
        with opened(top, folders) as folder:
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):
                    raise _no_file(error.errno, root, parts) from error
                raise
    finally:
        os.close(top)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(errno.EINVAL, root, parts)
    return os.fdopen(descriptor, "rb")


def _no_file(number: int, root: Path, parts: Sequence[str]) -> UnsafePath:
    return UnsafePath(
        number,
        "a link, or something that is no file, stands where a file belongs; remove it",
        str(root.joinpath(*parts)),
    )


def list_names(directory: int) -> list[str]:
    """The names in a directory."""
    return os.listdir(directory)


def is_regular(name: str, parent: int) -> bool:
    """Whether a regular file of that name is there."""
    return size_of_regular(name, parent) is not None


def size_of_regular(name: str, parent: int) -> int | None:
    """The bytes of a regular file, or None if there is none of that name."""
    about = about_regular(name, parent)
    return None if about is None else about.st_size


def about_regular(name: str, parent: int) -> os.stat_result | None:
    """What is known about a regular file, or None if there is none of that name."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def identity(name: str | os.PathLike[str], parent: int | None = None) -> tuple[int, int] | None:
    """Device and inode, or None if nothing is there."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=parent is None)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def sync_directories(root: int, paths: set[tuple[str, ...]]) -> None:
    """Make the entries of directories durable."""
    with contextlib.ExitStack() as stack:
        if at_once(len(paths)):
            return sync_many(root, [root] * len(paths))
        sync_many(root, [stack.enter_context(opened(root, path)) for path in sorted(paths)])
    return None
