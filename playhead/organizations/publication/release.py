"""Changes to a directory that take effect together: everything is staged and synced before the first file moves.

The directory may be a clone of somebody else's. What it says is never trusted: every path is opened below it without
following a link, and what was begun stands in a journal outside.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

from playhead.organizations.publication.errors import Occupied, PublicationRunning
from playhead.organizations.publication.journal import Journal, Plan
from playhead.streams.errors import UnsafePath
from playhead.streams.storage.directories import (
    is_regular,
    open_directory,
    opened,
    regular_descriptor,
    sync_directories,
)
from playhead.streams.storage.disk import PRIVATE, at_once, sync_many, write_all

STAGING = ".playhead-publish"
_SHOWN = 5
_PART = 1024 * 1024
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Release:
    """One publication to a directory; leaving it without `publish` changes nothing.

    A file that nobody published before and that says something else is not replaced, unless `overwrite` is set.

    Raises:
        PublicationRunning: another process publishes there.
        UnsafePath: a link stands where a directory belongs, or a directory where a file belongs.
        OSError: the directory or the data directory cannot be written.
    """

    def __init__(self, directory: Path, data_dir: Path, *, overwrite: bool = False) -> None:
        self.directory = directory.absolute()
        self._journal = Journal(data_dir, self.directory)
        self._overwrite = overwrite
        self._written: dict[str, str] = {}
        self._removed: list[str] = []
        self._foreign: list[str] = []
        self.changed: set[str] = set()
        """Paths that were written or removed, by a run before this one too if it did not come to its end."""
        self._root = self._staging = -1
        self._made = False

    def __enter__(self) -> Self:
        self._made = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._root = os.open(self.directory, _FOLDER)  # may itself be a link
        try:
            fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._root)
            if isinstance(error, BlockingIOError):
                told = f"another process publishes to {self.directory}: wait until it is done"
                raise PublicationRunning(told) from error
            raise
        try:
            self._journal.open()
            self._recover()
        except BaseException:
            self._journal.close()
            os.close(self._root)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._staging >= 0:
            os.close(self._staging)
        if self._journal.plan() is None:
            self._clear()
        if not self._journal.unfinished and self._made:
            with suppress(OSError):  # not empty: it was published
                self.directory.rmdir()
        self._journal.close()
        os.close(self._root)

    def scratch(self, name: str) -> Path:
        """Where a file that is made by path is made, before it is offered; it is outside the directory."""
        return self._journal.scratch / name

    def offer(self, name: str, content: bytes | BufferedReader, *, owned: bool, modified_ns: int | None = None) -> str:
        """Take a file of the data set, and give its SHA-256; what is there already stays.

        `owned` tells whether a publication before this one wrote it.
        """
        digest = _digest(content)
        if self._keep(name, digest, modified_ns):
            return digest
        if not owned and not self._overwrite and self._stands(name):
            self._foreign.append(name)
        self._written[name] = self._stage(content, modified_ns)
        return digest

    def remove(self, name: str) -> None:
        """Take a file out that was published and is no longer part of the data set."""
        if self._stands(name):
            self._removed.append(name)

    def stat(self, name: str) -> os.stat_result | None:
        """What is known of a file that is there; None if no regular file is."""
        with suppress(FileNotFoundError), self._folder(name) as (folder, file):
            found = os.stat(file, dir_fd=folder, follow_symlinks=False)
            return found if stat.S_ISREG(found.st_mode) else None
        return None

    @property
    def written(self) -> int:
        """How many files change or are new."""
        return len(self._written)

    @property
    def removed(self) -> int:
        """How many files vanish."""
        return len(self._removed)

    def publish(self) -> None:
        """Move everything into its place, or as much as a crash allows: the next run does the rest first.

        Raises:
            Occupied: files of somebody else stand there; nothing was changed.
            UnsafePath: a link stands where a directory belongs, or a directory where a file belongs; as above.
            OSError: the disk is full.
        """
        if self._foreign:
            shown = ", ".join(self._foreign[:_SHOWN]) + (" and others" if len(self._foreign) > _SHOWN else "")
            raise Occupied(
                f"{self.directory} has files that were not published before: {shown}; move them, choose another "
                "directory, or let them be replaced by --overwrite"
            )
        for name in self._written:
            self._refuse_directory(name)
        if not self._written and not self._removed:
            return
        self._sync_staged()
        plan = Plan(self._written, self._removed)
        self._journal.begin(plan)
        self._apply(plan)

    def done(self) -> None:
        """Forget what changed: nothing that follows from it is left to do."""
        self._journal.done()

    def _recover(self) -> None:
        """Do what a run before this one had begun."""
        self.changed.update(self._journal.changed())
        if (plan := self._journal.plan()) is not None:
            with suppress(FileNotFoundError, UnsafePath):  # somebody removed what was staged: it is offered again
                self._staging = open_directory(STAGING, self._root)
            self._apply(plan)
        if self._staging >= 0:
            os.close(self._staging)
            self._staging = -1
        self._clear()

    def _apply(self, plan: Plan) -> None:
        """Removals come first and `SHA256SUMS` last: without the journal the next run still knows what is ours."""
        touched: set[tuple[str, ...]] = set()
        for name in plan.removed:
            with suppress(FileNotFoundError, IsADirectoryError), self._folder(name) as (folder, file):
                os.unlink(file, dir_fd=folder)
            touched.update(_above(name))
            self._prune(name)
        for name, staged in plan.written.items():
            made: set[tuple[str, ...]] = set()
            with self._folder(name, made=made) as (folder, file):
                if self._staging >= 0 and is_regular(staged, self._staging):  # otherwise it was moved already
                    os.rename(staged, file, src_dir_fd=self._staging, dst_dir_fd=folder)
            touched.update(_above(name), made)
        sync_directories(self._root, {path for path in touched if self._is_directory(path)})
        self.changed.update(plan.written, plan.removed)
        self._journal.applied(self.changed)

    def _prune(self, name: str) -> None:
        """Remove the directories of a file that nothing is left in."""
        for *above, last in _above(name)[:-1]:
            with suppress(OSError), opened(self._root, above) as parent:  # not empty, or gone
                os.rmdir(last, dir_fd=parent)

    def _keep(self, name: str, digest: str, modified_ns: int | None) -> bool:
        """Whether the file stands as it is to be; it gets the time that it is to have."""
        with suppress(FileNotFoundError), self._folder(name) as (folder, file):
            if (descriptor := regular_descriptor(file, folder)) is not None:
                with os.fdopen(descriptor, "rb") as standing:
                    if same := hashlib.file_digest(standing, "sha256").hexdigest() == digest:
                        _set_time(descriptor, modified_ns)
                    return same
        return False

    def _stands(self, name: str) -> bool:
        with suppress(FileNotFoundError), self._folder(name) as (folder, file):
            os.stat(file, dir_fd=folder, follow_symlinks=False)
            return True
        return False

    def _stage(self, content: bytes | BufferedReader, modified_ns: int | None) -> str:
        if self._staging < 0:
            os.mkdir(STAGING, PRIVATE, dir_fd=self._root)
            self._staging = open_directory(STAGING, self._root)
            self._write_new(".gitignore", b"*\n", None)
        name = str(len(self._written))
        self._write_new(name, content, modified_ns)
        return name

    def _write_new(self, name: str, content: bytes | BufferedReader, modified_ns: int | None) -> None:
        descriptor = os.open(name, _NEW_FILE, 0o666, dir_fd=self._staging)
        try:
            for part in _parts(content):
                write_all(descriptor, part)
            _set_time(descriptor, modified_ns)
        finally:
            os.close(descriptor)

    def _sync_staged(self) -> None:
        names = list(self._written.values())
        with ExitStack() as stack:
            files = [self._root] * len(names)
            if not at_once(len(names)):
                files = [stack.enter_context(self._staged(name)) for name in names]
            sync_many(self._root, files)

    @contextmanager
    def _staged(self, name: str) -> Generator[int, None, None]:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._staging)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _refuse_directory(self, name: str) -> None:
        with suppress(FileNotFoundError), self._folder(name) as (folder, file):
            if stat.S_ISDIR(os.stat(file, dir_fd=folder, follow_symlinks=False).st_mode):
                place = str(self.directory / name)
                raise UnsafePath(errno.EISDIR, "a directory stands where a file belongs; move it", place)

    def _is_directory(self, path: tuple[str, ...]) -> bool:
        with suppress(FileNotFoundError), opened(self._root, path):
            return True
        return False

    def _clear(self) -> None:
        """Remove what stands in the place for staged files, whatever it is."""
        try:
            found = os.stat(STAGING, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return
        try:
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(STAGING, dir_fd=self._root)
            else:
                os.unlink(STAGING, dir_fd=self._root)
        except RecursionError as error:
            place = str(self.directory / STAGING)
            raise UnsafePath(errno.EINVAL, "it holds too many directories in one another; remove it", place) from error

    @contextmanager
    def _folder(self, name: str, *, made: set[tuple[str, ...]] | None = None) -> Generator[tuple[int, str], None, None]:
        """The directory that a file lies in, and the name that it has there."""
        *folders, file = _components(name)
        with opened(self._root, folders, made=made) as folder:
            yield folder, file


def _components(name: str) -> list[str]:
    parts = name.split("/")
    if any(part.startswith(".") or not part for part in parts):  # such as `..`, `.git`, and the place for staged files
        raise UnsafePath(errno.EINVAL, "no file of the data set is called so", name)
    return parts


def _above(name: str) -> list[tuple[str, ...]]:
    """The directories that a path lies in, the innermost first, and last the root, which is empty."""
    parts = _components(name)
    return [tuple(parts[:depth]) for depth in range(len(parts) - 1, -1, -1)]


def _digest(content: bytes | BufferedReader) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return hashlib.file_digest(content, "sha256").hexdigest()


def _parts(content: bytes | BufferedReader) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    content.seek(0)
    while part := content.read(_PART):
        yield part


def _set_time(descriptor: int, modified_ns: int | None) -> None:
    if modified_ns is not None:
        os.utime(descriptor, ns=(modified_ns, modified_ns))
