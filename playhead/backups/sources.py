"""What a backup copies: the places that nothing else can restore, and the files in them."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import BufferedReader
from pathlib import Path

import msgspec

from playhead.backups.runs import is_safe
from playhead.settings.core import CURSORS_DIR, EVENT_LOG_DIR
from playhead.settings.settings import Settings, declared
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import StoreUnavailable
from playhead.streams.storage.directories import opened, regular_descriptor
from playhead.streams.storage.file_tree import shown
from playhead.streams.storage.objects import Objects

BLOCK_BYTES = 1024 * 1024


class Source(msgspec.Struct, frozen=True):
    """A file to copy; `blocks` reads it, and raises FileNotFoundError if it is gone.

    `sha256` is what its bytes must give, if that is known.
    """

    name: str
    size: int
    modified: int
    blocks: Callable[[], Iterator[bytes]]
    sha256: str | None = None


class Stranger(msgspec.Struct, frozen=True):
    """Something in a place that a backup cannot have, and why."""

    name: str
    problem: str


def places(settings: Settings) -> dict[str, str]:
    """Every place that cannot be derived from the log, by its setting: those that a setting names and no projection
    writes. Cursors come first, so that none is ahead of the log; what events refer to comes behind the log.
    """
    derived = {one.place.name for one in installed().projections.values() if one.place is not None}
    first = (CURSORS_DIR.name, EVENT_LOG_DIR.name)
    rest = [name for name, setting in declared().items() if setting.below is not None and name not in derived]
    return {name: str(settings.values[name]) for name in (*first, *(name for name in rest if name not in first))}


def files_of(location: str) -> Iterator[Source | Stranger]:
    """The files in a directory or bucket, in no particular order; hidden ones are on their way, and not counted.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    objects = Objects(location)
    if objects.directory is None:
        for one in objects.list():
            if is_safe(one.name):
                yield Source(one.name, one.size, one.modified, _blocks_of(objects, one.name))
            else:
                yield Stranger(shown(one.name), "it has a name that no file can have")
    elif objects.directory.is_dir():
        yield from _files_below(objects.directory)


def _files_below(root: Path) -> Iterator[Source | Stranger]:
    for path, folders, files, folder in os.fwalk(root, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        above = "" if path == str(root) else f"{os.path.relpath(path, root)}/"
        for name in [*files, *folders]:
            with suppress(FileNotFoundError):  # it was there a moment ago
                about = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not name.startswith(".") and not stat.S_ISDIR(about.st_mode):
                    yield _seen(root, above + name, about)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise StoreUnavailable(f"{error.filename}: {error.strerror}") from error


def _seen(root: Path, name: str, about: os.stat_result) -> Source | Stranger:
    if not stat.S_ISREG(about.st_mode):
        return Stranger(shown(name), "it is a link, or no file")
    if not _is_text(name) or not is_safe(name):
        return Stranger(shown(name), "its name is too long, or not UTF-8")
    return Source(name, about.st_size, about.st_mtime_ns, _reader(root, name))


def read_blocks(file: BufferedReader, limit: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, up to a limit; it is closed at the end."""
    with closing(file):
        left = limit
        while left is None or left > 0:
            block = file.read(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES))
            if not block:
                return
            if left is not None:
                left -= len(block)
            yield block


def _reader(root: Path, name: str) -> Callable[[], Iterator[bytes]]:
    def blocks() -> Iterator[bytes]:
        *parts, last = name.split("/")
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with opened(top, parts) as folder:
                descriptor = regular_descriptor(last, folder)
        finally:
            os.close(top)
        if descriptor is None:
            raise FileNotFoundError(name)
        yield from read_blocks(os.fdopen(descriptor, "rb"))

    return blocks


def _blocks_of(objects: Objects, name: str) -> Callable[[], Iterator[bytes]]:
    def blocks() -> Iterator[bytes]:
        found = objects.parts(name)
        if found is None:
            raise FileNotFoundError(name)
        yield from found

    return blocks


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
