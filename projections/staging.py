"""The staging directory: every write starts there, so whoever replaces it has fenced its former owner."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator, Mapping
from pathlib import Path

import msgspec

from playhead.streams import failpoints
from playhead.streams.errors import Fenced
from playhead.streams.failpoints import Point
from playhead.streams.storage.directories import identity, list_names, open_directory, opened, read_regular
from playhead.streams.storage.disk import PRIVATE, write_all

STAGING = ".staging"
_EPOCH = "epoch"
_JOURNAL = "journal"
_CHECKPOINTS = "checkpoints"
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Checkpoint(msgspec.Struct, frozen=True):
    """How far the tree has come in a partition, and the number of the last event there that has one."""

    position: str
    sequence: int | None


class Staging:
    """Ownership of a tree: descriptors of its root and of the staging directory this process made."""

    def __init__(self, path: Path) -> None:
        self.path = path / STAGING
        self._path = path
        self._epochs: dict[str, int] = {}
        self._opened: set[str] = set()
        self.root = -1
        self.fd = -1

    def take(self, partition: str, epoch: int) -> bool:
        """Replace the staging directory of whoever was here; False if it is our own already and as we know it.

        Raises:
            Fenced: the tree was opened with a higher epoch.
        """
        created = self.confirm()
        if created is None:  # it was taken from us; what we knew of its epochs is out of date
            self.close()
        with self._locked():
            epochs = _read_epochs(self.root)
            if epochs.get(partition, -1) > epoch:
                raise Fenced(
                    f"{self._path} is owned with epoch {epochs[partition]}, later than {epoch}", epochs[partition]
                )
            self._epochs = epochs | self._epochs | {partition: epoch}
            self._opened.add(partition)
            if created is None:
                self._replace()
                return True
            self._write_epochs(self.fd)
            return created

    def owners(self) -> frozenset[str]:
        """The partitions that the tree was opened for, by this process or by others."""
        try:
            root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return frozenset()
        try:
            return frozenset(_read_epochs(root))
        finally:
            os.close(root)

    def checkpoints(self) -> dict[str, Checkpoint]:
        """What was noted last, by partition; nothing if it cannot be read, as a crash may leave it."""
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return _read_checkpoints(self.fd)
        return {}

    def note(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Note how far the tree has come; not synced, as an older note, or none, does no harm."""
        try:
            os.close(self.write(_CHECKPOINTS + ".new", msgspec.json.encode(checkpoints, order="sorted") + b"\n"))
            os.rename(_CHECKPOINTS + ".new", _CHECKPOINTS, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except FileNotFoundError:  # the staging directory is gone, by a new owner or by hand
            return

    def has_opened(self, partition: str) -> bool:
        """Whether the partition was opened since the tree is ours, not by an owner that we were before."""
        return partition in self._opened

    def confirm(self) -> bool | None:
        """Whether the tree had to be made anew because somebody deleted it; None when it is not ours."""
        if self.fd < 0:
            return None
        if self.root >= 0 and identity(self._path) == _identity(self.root):
            found = identity(STAGING, self.root)
            if found is not None:
                return False if found == _identity(self.fd) else None
            if os.fstat(self.fd).st_nlink > 0:
                return None
        with self._locked():
            if identity(STAGING, self.root) is not None:
                return None
            self._replace()
        return True

    def write(self, name: str, content: bytes) -> int:
        """Write a file in staging and give its open descriptor, not yet synced."""
        descriptor = os.open(name, _FILE_FLAGS | os.O_TRUNC, 0o644, dir_fd=self.fd)
        try:
            write_all(descriptor, content)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def publish(self, name: str, directory: int, target: str) -> None:
        """Move a file from staging to its place.

        Raises:
            FileNotFoundError: the staging directory is gone, by a new owner or by hand.
        """
        failpoints.reach(Point.BEFORE_RENAME)
        os.rename(name, target, src_dir_fd=self.fd, dst_dir_fd=directory)
        failpoints.reach(Point.AFTER_RENAME)

    def discard(self, name: str) -> None:
        """Remove a file from staging, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def append_journal(self, lines: bytes) -> int:
        """Append to the journal and give its open descriptor; a torn line before is ended first."""
        descriptor = os.open(_JOURNAL, _FILE_FLAGS | os.O_APPEND, 0o644, dir_fd=self.fd)
        try:
            write_all(descriptor, b"\n" + lines)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def journals(self) -> list[bytes]:
        """The lines of our journal and of those inherited."""
        names = sorted(name for name in list_names(self.fd) if is_journal(name))
        contents = (read_regular(name, self.fd) for name in names)
        return [line for content in contents if content for line in content.split(b"\n") if line]

    def drop_journals(self) -> None:
        """Remove the journals, once the summaries hold what they say."""
        for name in list_names(self.fd):
            if is_journal(name):
                self.discard(name)

    def close(self) -> None:
        """Give up the descriptors."""
        for descriptor in (self.fd, self.root):
            if descriptor >= 0:
                os.close(descriptor)
        self.fd = self.root = -1
        self._epochs, self._opened = {}, set()

    def _replace(self) -> None:
        """Put a staging directory of our own in place; if that fails, the tree is not ours, and is taken again."""
        fresh = f"{STAGING}.{max(self._epochs.values())}.{os.getpid()}.new"
        with contextlib.suppress(FileExistsError):  # from a try that failed, and may have inherited journals
            os.mkdir(fresh, 0o755, dir_fd=self.root)
        descriptor = open_directory(fresh, self.root)
        try:
            self._put_in_place(fresh, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = descriptor

    def _put_in_place(self, fresh: str, descriptor: int) -> None:
        self._write_epochs(descriptor)
        if identity(STAGING, self.root) is not None:
            aside = f"{STAGING}.{max(self._epochs.values())}.{os.getpid()}.old"
            _remove(self.root, aside, descriptor)
            os.rename(STAGING, aside, src_dir_fd=self.root, dst_dir_fd=self.root)
        os.rename(fresh, STAGING, src_dir_fd=self.root, dst_dir_fd=self.root)
        for name in list_names(self.root):
            if name.startswith(STAGING + "."):
                _remove(self.root, name, descriptor)
        os.fsync(descriptor)
        os.fsync(self.root)

    def _write_epochs(self, directory: int) -> None:
        content = msgspec.json.encode(self._epochs, order="sorted") + b"\n"
        descriptor = os.open(_EPOCH + ".new", _FILE_FLAGS | os.O_TRUNC, 0o644, dir_fd=directory)
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(_EPOCH + ".new", _EPOCH, src_dir_fd=directory, dst_dir_fd=directory)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """Hold the root, opened anew if it was deleted, against another process that takes it too."""
        self._path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        if self.root >= 0 and identity(self._path) != _identity(self.root):
            os.close(self.root)
            self.root = -1
        if self.root < 0:
            self.root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self.root, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self.root, fcntl.LOCK_UN)


def is_journal(name: str) -> bool:
    """Whether it is the name of a journal in the staging directory, our own or an inherited one."""
    return name.startswith(_JOURNAL)


def _read_epochs(root: int) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError), opened(root, [STAGING]) as staging:
        content = read_regular(_EPOCH, staging)
        if content:
            return msgspec.json.decode(content, type=dict[str, int])
    return {}


def _read_checkpoints(staging: int) -> dict[str, Checkpoint]:
    return msgspec.json.decode(read_regular(_CHECKPOINTS, staging) or b"{}", type=dict[str, Checkpoint])


def read_checkpoints(path: Path) -> dict[str, Checkpoint]:
    """How far the tree at a path has come, by partition; nothing if it does not say. Changes nothing.

    Raises:
        OSError: it cannot be read.
        ValueError: what it says cannot be decoded.
    """
    with contextlib.suppress(FileNotFoundError):
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with opened(root, [STAGING]) as staging:
                return _read_checkpoints(staging)
        finally:
            os.close(root)
    return {}


def _remove(root: int, name: str, heir: int) -> None:
    """Delete a staging directory, its journals moved to the heir first.

    A former owner may still write into it, so this goes on until the directory is gone.
    """
    while identity(name, root) is not None:
        with opened(root, [name]) as directory:
            for file in list_names(directory):
                with contextlib.suppress(FileNotFoundError):
                    if file == _CHECKPOINTS:
                        os.rename(file, file, src_dir_fd=directory, dst_dir_fd=heir)
                    elif file.startswith(_JOURNAL):
                        inherited = f"{_JOURNAL}.{os.fstat(directory).st_ino}.{len(list_names(heir))}"
                        os.rename(file, inherited, src_dir_fd=directory, dst_dir_fd=heir)
                    else:
                        os.unlink(file, dir_fd=directory)
        try:
            os.rmdir(name, dir_fd=root)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
