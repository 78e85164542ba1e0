"""What a publication has begun, in the data directory: nobody who writes to a published tree can write it."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from playhead.streams.storage.disk import PRIVATE, make_directory, write_all
from playhead.streams.storage.durability import sync_directory

PUBLICATIONS = "publications"
_PLAN, _CHANGED, _SCRATCH = "plan.json", "changed.json", "scratch"


class Plan(msgspec.Struct, frozen=True):
    """What is to be moved into its place, with the name that it is staged by, and what is to be removed."""

    written: dict[str, str]
    removed: list[str]


class Journal:
    """The plan of a publication to a directory, and what it changed until that is committed.

    Raises:
        OSError: the data directory cannot be written.
    """

    def __init__(self, data_dir: Path, directory: Path) -> None:
        self._root = data_dir / PUBLICATIONS
        self._place = self._root / hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:32]

    def open(self) -> None:
        """Make the place for it."""
        make_directory(self._root, private=self._root.parent)
        self._place.mkdir(PRIVATE, exist_ok=True)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    def close(self) -> None:
        """Forget what is done with."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        for empty in (self._place, self._root):
            with suppress(OSError):  # something is unfinished, or another publication runs
                empty.rmdir()

    @property
    def scratch(self) -> Path:
        """A directory for files that are made by path."""
        return self._place / _SCRATCH

    @property
    def unfinished(self) -> bool:
        """Whether the directory is between two publications, or a commit is missing."""
        return self.plan() is not None or bool(self.changed())

    def plan(self) -> Plan | None:
        """What was begun and is not known to be done."""
        with suppress(FileNotFoundError):
            return msgspec.json.decode((self._place / _PLAN).read_bytes(), type=Plan)
        return None

    def changed(self) -> set[str]:
        """Paths that were written or removed, and are not known to be committed."""
        with suppress(FileNotFoundError):
            return msgspec.json.decode((self._place / _CHANGED).read_bytes(), type=set[str])
        return set()

    def begin(self, plan: Plan) -> None:
        """Note a plan, before the first file is touched."""
        self._write(_PLAN, plan)

    def applied(self, changed: set[str]) -> None:
        """Note that the plan is done; what it changed remains to be committed."""
        self._write(_CHANGED, sorted(changed))
        (self._place / _PLAN).unlink()

    def done(self) -> None:
        """Forget what changed: nothing that follows from it is left to do."""
        (self._place / _CHANGED).unlink(missing_ok=True)

    def _write(self, name: str, value: object) -> None:
        temporary = self._place / f"{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, msgspec.json.encode(value))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._place / name)
        sync_directory(self._place)
