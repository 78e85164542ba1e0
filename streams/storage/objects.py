"""Whole objects by name, in a directory or below a prefix of an S3 bucket."""

import os
import uuid
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from playhead.streams import failpoints
from playhead.streams.errors import InvalidSetting, StoreUnavailable
from playhead.streams.failpoints import Point
from playhead.streams.storage import disk
from playhead.streams.storage.buckets import Bucket
from playhead.streams.storage.directories import (
    about_regular,
    opened,
    read_regular,
    regular_descriptor,
    size_of_regular,
    sync_directories,
)

STAGING = ".staging"
FORMS = "a directory or s3://bucket/prefix"
_OLD_SECONDS = 24 * 3600
_PART = 1024 * 1024
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Listed(msgspec.Struct, frozen=True):
    """An object that is there; `size` in bytes, `modified` in Unix nanoseconds."""

    name: str
    size: int
    modified: int


class Staged(msgspec.Struct, frozen=True):
    """An object on its way to its place; `path`, its name until then, is None if it is there already."""

    name: str
    path: str | None = None


class Objects:
    """Objects below a directory or an `s3://bucket/prefix` URL; safe to share between threads.

    An object is there as a whole or not at all, and durable once `put` or `publish` returns. No link below the
    directory is followed. S3 is reached as the `AWS_` variables of the environment say. A directory may be shared
    across fork; a bucket may not once it was used.

    Raises:
        InvalidSetting: the location has another form.
    """

    def __init__(self, location: Path | str) -> None:
        self.location = str(location)
        self.directory = Path(location).absolute() if "://" not in self.location else None
        url = urlsplit(self.location)
        if self.directory is None and (url.scheme != "s3" or not url.hostname or url.username or url.query):
            raise InvalidSetting(f"{self.location!r} is no place for objects; it must be {FORMS}")
        self._bucket = Bucket(self.location)

    def put(self, name: str, content: bytes | bytearray) -> None:
        """Write an object, over one of that name.

        Raises:
            StoreUnavailable: it did not work now.
        """
        self.publish([self.stage(name, content)])

    def stage(self, name: str, content: bytes | bytearray) -> Staged:
        """Write an object that `publish` puts in its place together with others; in a bucket it is there at once.

        Raises:
            StoreUnavailable: it did not work now.
        """
        return self.stage_parts(name, [content])

    def stage_parts(self, name: str, parts: Iterable[bytes | bytearray], *, modified: int | None = None) -> Staged:
        """Like `stage`, with the content in parts; `modified` becomes the time of a file, in Unix nanoseconds.

        Raises:
            StoreUnavailable: it did not work now.
        """
        if self.directory is None:
            self._bucket.put(name, b"".join(parts))
            return Staged(name)
        staged = Staged(name, uuid.uuid4().hex)
        with self._trouble(), self._staging() as staging:
            descriptor = os.open(staged.path or "", _FLAGS, 0o644, dir_fd=staging)
            try:
                for part in parts:
                    disk.write_all(descriptor, part)
                if modified is not None:
                    os.utime(descriptor, ns=(modified, modified))
            finally:
                os.close(descriptor)
        return staged

    def publish(self, staged: Iterable[Staged]) -> None:
        """Sync what was staged, move it into its place, and sync that.

        Raises:
            StoreUnavailable: it did not work now, or what was staged is gone; staging all again is safe.
        """
        if self.directory is None:
            return
        moves: defaultdict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
        for one in staged:
            if one.path is not None:
                *folders, name = one.name.split("/")
                moves[tuple(folders)].append((one.path, name))
        with self._trouble(), self._root() as root, self._staging() as staging:
            _sync(root, staging, [path for below in moves.values() for path, _ in below])
            made: set[tuple[str, ...]] = set()
            for parts, below in moves.items():
                with opened(root, parts, made=made) as folder:
                    for path, name in below:
                        failpoints.reach(Point.BEFORE_RENAME)
                        os.rename(path, name, src_dir_fd=staging, dst_dir_fd=folder)
                        failpoints.reach(Point.AFTER_RENAME)
            sync_directories(root, made | moves.keys())

    def get(self, name: str) -> bytes | None:
        """The content of an object, None if there is none of that name.

        Raises:
            StoreUnavailable: it did not work now; a directory or bucket that is not there counts as that too.
        """
        if self.directory is None:
            return self._bucket.get(name)
        if not self.directory.is_dir():
            raise StoreUnavailable(f"{self.directory} is not there: make it, mount it, or change the setting")
        *parts, file = name.split("/")
        with self._trouble():
            try:
                with self._root() as root, opened(root, parts) as folder:
                    return read_regular(file, folder)
            except FileNotFoundError:
                return None

    def parts(self, name: str) -> Iterator[bytes] | None:
        """The content of an object in parts, None if there is none of that name.

        Raises:
            StoreUnavailable: as `get`; reading on may raise it too.
        """
        if self.directory is None:
            return self._bucket.parts(name)
        if not self.directory.is_dir():
            raise StoreUnavailable(f"{self.directory} is not there: make it, mount it, or change the setting")
        *parts, file = name.split("/")
        with self._trouble():
            try:
                with self._root() as root, opened(root, parts) as folder:
                    descriptor = regular_descriptor(file, folder)
            except FileNotFoundError:
                return None
        return None if descriptor is None else self._read_parts(descriptor)

    def size(self, name: str) -> int | None:
        """The bytes of an object, None if there is none of that name.

        Raises:
            StoreUnavailable: it did not work now.
        """
        if self.directory is None:
            return self._bucket.size(name)
        *parts, file = name.split("/")
        with self._trouble():
            try:
                with self._root() as root, opened(root, parts) as folder:
                    return size_of_regular(file, folder)
            except FileNotFoundError:
                return None

    def list(self) -> Iterator[Listed]:
        """Every object, in no particular order; none if the directory is not there.

        Raises:
            StoreUnavailable: it did not work now.
        """
        if self.directory is None:
            yield from (Listed(*one) for one in self._bucket.list())
            return
        if not self.directory.is_dir():
            return
        for path, below, files, folder in os.fwalk(self.directory):
            below[:] = [name for name in below if not name.startswith(".")]
            for file in files:
                if not file.startswith(".") and (about := about_regular(file, folder)) is not None:
                    name = Path(path, file).relative_to(self.directory).as_posix()
                    yield Listed(name, about.st_size, about.st_mtime_ns)

    def url(self, name: str) -> str:
        """Where people and other tools find an object."""
        if self.directory is not None:
            return (self.directory / name).as_uri()
        return f"{self.location.rstrip('/')}/{name}"

    def prepare(self) -> None:
        """Make the directory, and remove what processes that were killed left staged, once it is a day old.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        if self.directory is not None:
            with self._trouble():
                disk.make_directory(self.directory, private=self.directory)
            if not (self.directory / STAGING).is_symlink():
                disk.remove_old(self.directory / STAGING, _OLD_SECONDS)

    def _read_parts(self, descriptor: int) -> Iterator[bytes]:
        with self._trouble(), os.fdopen(descriptor, "rb") as file:
            while part := file.read(_PART):
                yield part

    @contextmanager
    def _root(self) -> Generator[int, None, None]:
        root = os.open(self.directory or "", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # may itself be a link
        try:
            yield root
        finally:
            os.close(root)

    @contextmanager
    def _staging(self) -> Generator[int, None, None]:
        assert self.directory is not None, "what goes to a bucket is not staged"
        if not self.directory.is_dir():
            disk.make_directory(self.directory, private=self.directory)
        made: set[tuple[str, ...]] = set()
        with self._root() as root, opened(root, [STAGING], made=made) as staging:
            sync_directories(root, made)
            yield staging

    @contextmanager
    def _trouble(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(f"{self.location}: {error.strerror or error}") from error


def _sync(root: int, staging: int, names: Sequence[str]) -> None:
    with ExitStack() as stack:
        if disk.at_once(len(names)):
            return disk.sync_many(root, [root] * len(names))
        files: list[int] = []
        for name in names:
            files.append(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=staging))
            stack.callback(os.close, files[-1])
        disk.sync_many(root, files)
    return None
