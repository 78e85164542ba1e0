"""Changes to a directory that take effect together: everything is staged and synced before the first file moves."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import msgspec

from playhead.organizations.publication.errors import Occupied, PublicationRunning
from playhead.streams.storage.disk import at_once, sync_many

STAGING = ".playhead-publish"
_PLAN, _CHANGED, _NEW = "plan.json", "changed.json", "new"
_SHOWN = 5


class Plan(msgspec.Struct, frozen=True):
    """What is to be moved into its place and what is to be removed; all of it is staged where this file stands."""

    written: list[str]
    removed: list[str]


class Release:
    """One publication to a directory; leaving it without `publish` changes nothing.

    A file that nobody published before and that says something else is not replaced, unless `overwrite` is set.

    Raises:
        PublicationRunning: another process publishes there.
        OSError: the directory cannot be written.
    """

    def __init__(self, directory: Path, *, overwrite: bool = False) -> None:
        self.directory = directory.absolute()
        self._staging = self.directory / STAGING
        self._overwrite = overwrite
        self._written: list[str] = []
        self._removed: list[str] = []
        self._foreign: list[str] = []
        self.changed: set[str] = set()
        """Paths that were written or removed, by a run before this one too if it did not come to its end."""
        self._lock = -1
        self._made = False

    def __enter__(self) -> Self:
        self._made = not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._recover()
            (self._staging / _NEW).mkdir(parents=True, exist_ok=True)
            (self._staging / ".gitignore").write_text("*\n")
        except BlockingIOError as error:
            os.close(self._lock)
            raise PublicationRunning(f"another process publishes to {self.directory}: wait until it is done") from error
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unfinished = any((self._staging / name).exists() for name in (_PLAN, _CHANGED))
        if not unfinished:
            shutil.rmtree(self._staging, ignore_errors=True)
            if self._made:
                with suppress(OSError):  # not empty: it was published
                    self.directory.rmdir()
        elif not (self._staging / _PLAN).exists():
            shutil.rmtree(self._staging / _NEW, ignore_errors=True)
        os.close(self._lock)

    def staged(self, name: str) -> Path:
        """Where a file is written before it is offered."""
        path = self._staging / _NEW / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def offer(self, name: str, content: bytes | None = None, *, owned: bool) -> str:
        """Take a file of the data set, or what stands at `staged`, and give its SHA-256; what is there already stays.

        `owned` tells whether a publication before this one wrote it.
        """
        staged, target = self.staged(name), self.directory / name
        digest = _digest(staged) if content is None else hashlib.sha256(content).hexdigest()
        if _is_file(target) and _digest(target) == digest:
            staged.unlink(missing_ok=True)
            return digest
        if not owned and not self._overwrite and os.path.lexists(target):
            self._foreign.append(name)
        if content is not None:
            staged.write_bytes(content)
        self._written.append(name)
        return digest

    def remove(self, name: str) -> None:
        """Take a file out that was published and is no longer part of the data set."""
        if os.path.lexists(self.directory / name):
            self._removed.append(name)

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
            OSError: the disk is full, or a link stands where a directory belongs.
        """
        if self._foreign:
            shown = ", ".join(self._foreign[:_SHOWN]) + (" and others" if len(self._foreign) > _SHOWN else "")
            raise Occupied(
                f"{self.directory} has files that were not published before: {shown}; move them, choose another "
                "directory, or let them be replaced by --overwrite"
            )
        for name in self._written:
            self._refuse_links(name)
        if not self._written and not self._removed:
            return
        new = self._staging / _NEW
        folders = [folder for folder, _, _ in os.walk(new)]
        _sync(self._staging, [*(new / name for name in self._written), *folders])
        plan = Plan(self._written, self._removed)
        self._write(_PLAN, plan)
        self._apply(plan)

    def done(self) -> None:
        """Forget what changed: nothing that follows from it is left to do."""
        (self._staging / _CHANGED).unlink(missing_ok=True)

    def _recover(self) -> None:
        """Do what a run before this one had begun."""
        with suppress(FileNotFoundError):
            self.changed.update(msgspec.json.decode((self._staging / _CHANGED).read_bytes(), type=list[str]))
        with suppress(FileNotFoundError):
            self._apply(msgspec.json.decode((self._staging / _PLAN).read_bytes(), type=Plan))
        shutil.rmtree(self._staging / _NEW, ignore_errors=True)

    def _apply(self, plan: Plan) -> None:
        touched: set[Path] = set()
        for name in plan.written:
            target = self.directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # moved already
                (self._staging / _NEW / name).replace(target)
            touched.update(_folders(self.directory, name))
        for name in plan.removed:
            (self.directory / name).unlink(missing_ok=True)
            touched.update(_folders(self.directory, name))
            for folder in _folders(self.directory, name)[:-1]:
                with suppress(OSError):  # not empty, or gone
                    folder.rmdir()
        _sync(self.directory, [folder for folder in sorted(touched) if folder.is_dir()])
        self.changed.update(plan.written, plan.removed)
        self._write(_CHANGED, sorted(self.changed))
        (self._staging / _PLAN).unlink()

    def _write(self, name: str, value: object) -> None:
        path = self._staging / name
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(value))
        _sync(self._staging, [temporary])
        temporary.replace(path)
        _sync(self._staging, [self._staging])

    def _refuse_links(self, name: str) -> None:
        for folder in _folders(self.directory, name):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise NotADirectoryError(errno.ENOTDIR, "a link or file stands where a directory belongs", str(folder))


def _folders(directory: Path, name: str) -> list[Path]:
    """The directories that a path lies in, the innermost first and the outermost last."""
    return [directory / parent for parent in PurePosixPath(name).parents]


def _sync(root: Path, paths: Sequence[Path | str]) -> None:
    """Make files or directories below `root` durable."""
    with ExitStack() as stack:
        top, *below = [_opened(path, stack) for path in (root, *(() if at_once(len(paths)) else paths))]
        sync_many(top, below or [top] * len(paths))


def _opened(path: Path | str, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
