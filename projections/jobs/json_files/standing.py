"""What stands in the tree of JSON files, as one who does not own it reads it: in a directory, or in a bucket."""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

from playhead.projections.file_verification import REPLACED
from playhead.projections.jobs.json_files.days import DAILY, SUMMARY
from playhead.projections.jobs.json_files.index import Fact
from playhead.projections.jobs.json_files.summaries import Entry
from playhead.projections.staging import STAGING, is_journal
from playhead.streams.storage.buckets import Bucket
from playhead.streams.storage.directories import list_names, opened, read_regular, sync_directories

Parts = tuple[str, ...]
"""A name below `daily`, folder by folder."""

_END = 64 * 1024
"""Bytes at the end of a file that surely hold the id of its event."""


class Standing(Protocol):
    """What stands below `daily`."""

    def read(self, parts: Parts) -> bytes | None:
        """The content of a file, None if there is none.

        Raises:
            UnsafePath: a link or a file stands in the way.
        """
        ...

    def files(self) -> Iterator[tuple[Parts, bytes | None]]:
        """Every file with the end of its content; None for what is no regular file."""
        ...

    def written(self) -> dict[str, dict[str, Entry]]:
        """By day and job: what was written, and stands in no summary yet. Ask for it before the summaries."""
        ...

    def replace(self, parts: Parts, digest: bytes) -> bool:
        """Take a file with that content out of the way; False, and it stays, if it has another one."""
        ...

    def place(self, parts: Parts) -> str:
        """Where a person finds it."""
        ...


class StandingFiles:
    """In a directory. No link below it is followed."""

    def __init__(self, root: Path) -> None:
        self._path = root

    def read(self, parts: Parts) -> bytes | None:
        """The content of a file, None if there is none.

        Raises:
            UnsafePath: a link or a file stands in the way.
        """
        with contextlib.suppress(FileNotFoundError), self._root() as root, opened(root, (DAILY, *parts[:-1])) as folder:
            return read_regular(parts[-1], folder)
        return None

    def files(self) -> Iterator[tuple[Parts, bytes | None]]:
        """Every file with the end of its content; None for what is no regular file."""
        with contextlib.suppress(FileNotFoundError), self._root() as root:
            for path, folders, files, folder in os.fwalk(DAILY, dir_fd=root):
                parts = Path(path).parts[1:]
                links = [name for name in folders if _is_link(name, folder)]
                for name in sorted([*files, *links]):
                    if not name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):
                            yield (*parts, name), _end(name, folder)

    def written(self) -> dict[str, dict[str, Entry]]:
        """By day and job: what was written, and stands in no summary yet. Ask for it before the summaries."""
        found: dict[str, dict[str, Entry]] = {}
        with contextlib.suppress(FileNotFoundError), self._root() as root, opened(root, (STAGING,)) as staging:
            for name in filter(is_journal, list_names(staging)):
                for line in (read_regular(name, staging) or b"").splitlines():
                    if (fact := Fact.decode(line)) is not None:
                        day = found.setdefault(fact.day, {})
                        day[fact.entry.job_id] = max(fact.entry, day.get(fact.entry.job_id, fact.entry), key=_order)
        return found

    def replace(self, parts: Parts, digest: bytes) -> bool:
        """Move a file with that content to `.replaced`; False, and it stays, if it has another one."""
        *folders, file = (DAILY, *parts)
        made: set[tuple[str, ...]] = set()
        with (
            self._root() as root,
            opened(root, folders) as folder,
            opened(root, [REPLACED], made=made) as replaced,
        ):
            if digest_of(read_regular(file, folder)) != digest:
                return False
            name = _replaced(parts)
            os.rename(file, name, src_dir_fd=folder, dst_dir_fd=replaced)
            is_same = digest_of(read_regular(name, replaced)) == digest
            if not is_same:
                with contextlib.suppress(FileExistsError):  # another one came in between, and one more since
                    os.link(name, file, src_dir_fd=replaced, dst_dir_fd=folder, follow_symlinks=False)
            sync_directories(root, {(REPLACED,), tuple(folders), *made})
            return is_same

    def place(self, parts: Parts) -> str:
        """Where a person finds it."""
        return str(self._path.joinpath(DAILY, *parts))

    @contextlib.contextmanager
    def _root(self) -> Generator[int]:
        root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)


class StandingObjects:
    """In a bucket."""

    def __init__(self, location: str) -> None:
        self._location, self._bucket = location, Bucket(location)

    def read(self, parts: Parts) -> bytes | None:
        """The content of an object, None if there is none."""
        return self._bucket.get("/".join((DAILY, *parts)))

    def files(self) -> Iterator[tuple[Parts, bytes | None]]:
        """Every object with the end of its content."""
        for name, size, _ in self._bucket.list(DAILY):
            content = self._bucket.get_end(name, min(size, _END))
            if content is not None:
                yield tuple(name.split("/")[1:]), content

    def written(self) -> dict[str, dict[str, Entry]]:
        """Nothing: summaries are written with the objects."""
        return {}

    def replace(self, parts: Parts, digest: bytes) -> bool:
        """Copy an object with that content below `.replaced`; False if it has another one.

        It stays, as the projection writes over all but newer ones, but for a summary, with which it would be merged.
        """
        name = "/".join((DAILY, *parts))
        content = self._bucket.get(name)
        if content is None or digest_of(content) != digest:
            return False
        self._bucket.put(f"{REPLACED}/{_replaced(parts)}", content)
        if parts[-1] == SUMMARY:
            self._bucket.delete(name)
        return True

    def place(self, parts: Parts) -> str:
        """Where a person finds it."""
        return "/".join((self._location.rstrip("/"), DAILY, *parts))


def digest_of(content: bytes | None) -> bytes | None:
    """The SHA-256 of a content."""
    return None if content is None else hashlib.sha256(content).digest()


def _order(entry: Entry) -> str:
    return entry.order


def _replaced(parts: Parts) -> str:
    return f"{'%2F'.join(parts)[-180:]}.{time.time_ns()}"


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _end(name: str, folder: int) -> bytes | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError:  # a link, a socket
        return None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return None
        return os.pread(descriptor, _END, max(0, about.st_size - _END))
    finally:
        os.close(descriptor)
