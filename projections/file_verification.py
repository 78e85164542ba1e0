"""What `verify` compares the files of a `FileProjection` by: the same files, folded from the log once more.

The live projection goes on meanwhile, and may be further than the log. So a difference is looked at twice: the file is
copied, then the log is read again, and the file is at fault only if the events of the log do not explain it.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from playhead.projections.failures import classify
from playhead.projections.file_projection import (
    FileProjection,
    directory_of,
    fold_events,
    path_of,
    place_event,
    read_file,
)
from playhead.projections.scratch import FilePath, Scratch
from playhead.projections.verification import Repair
from playhead.streams.errors import UnsafePath
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.storage.disk import PRIVATE
from playhead.streams.storage.file_tree import shown

REPLACED = ".replaced"
"""The folder of files that a repair took out of the way."""


class FileFault(msgspec.Struct, frozen=True):
    """A file that is not as the log says. `content` is the SHA-256 of what stands there."""

    kind: Literal["missing", "stale", "altered", "stray"]
    path: FilePath
    place: str
    problem: str
    repair: Repair
    content: bytes | None = None

    @property
    def key(self) -> str:
        """Its name below the directory."""
        return _shown(self.path)


class Refused(msgspec.Struct, frozen=True):
    """An event that the projection does not take, for the reason of this class."""

    partition: Partition
    subject: str
    position: Position
    reason: str


class FileVerification:
    """Compares every file below the directory, byte by byte; hidden ones are not the projection's.

    First `follow` each event that took effect, then ask whether it `has_doubts`; if so, `follow_again` with all that
    the log has, then `judge`. Memory grows with the number of files that differ, and with the largest file.

    Raises:
        InvalidSetting: the place of the projection is no directory.
    """

    compares = "files byte by byte; what is of no event"

    def __init__(self, projection: FileProjection) -> None:
        self._projection = projection
        self._directory = directory_of(projection.place)
        self.refused: list[Refused] = []
        self._doubtful: set[FilePath] = set()
        self._standing: set[FilePath] = set()
        """Doubtful ones of which something stands in the directory."""
        self._unreadable: dict[FilePath, str] = {}
        self._due, self._expected, self._copies = Scratch(), Scratch(), Scratch()
        self._completed, self._joined = Scratch(), Scratch()
        """The copies with the events that took effect, and with all events."""

    def follow(self, partition: Partition, events: Sequence[Recorded]) -> None:
        """Fold events that took effect: those that the projection is past, and that are not set aside."""
        for path, placed in self._placed(partition, events, self.refused).items():
            self._fold(partition, self._due, path, placed, self.refused)

    def has_doubts(self) -> bool:
        """Whether any file differs; a copy is taken of each that does."""
        for path in self._due.paths():
            if self._look(path) != self._due.read(path):
                self._doubtful.add(path)
        self._doubtful.update(path for path in self._names() if self._due.read(path) is None)
        for path in self._doubtful:
            if os.path.lexists(self._directory.joinpath(*path)):
                self._standing.add(path)
            if (content := self._look(path)) is not None:
                self._copies.write(path, content)
        return bool(self._doubtful)

    def follow_again(
        self, partition: Partition, events: Sequence[Recorded], is_due: Callable[[Recorded], bool]
    ) -> None:
        """Fold events that are not set aside into the files in doubt; `is_due` are those that took effect before."""
        for path, placed in self._placed(partition, events, None).items():
            if path not in self._doubtful:
                continue
            taken = self._fold(partition, self._expected, path, placed, None)
            if self._copies.read(path) is None or path in self._unreadable:
                continue
            due = [(name, recorded) for name, recorded in taken if is_due(recorded)]
            try:
                self._fold_into(self._joined, path, taken, self._copies)
                self._fold_into(self._completed, path, due, self._copies)
            except Exception as error:
                if classify(error) != "permanent":
                    raise
                self._unreadable[path] = type(error).__name__

    def judge(self, *, log_is_whole: bool) -> tuple[list[FileFault], list[str]]:
        """The faults, and the names of files that hold more than the events of a log that is not whole give."""
        faults: list[FileFault] = []
        undecided: list[str] = []
        for path in sorted(self._doubtful):
            fault = self._fault(path)
            if fault is not None and not log_is_whole and fault.kind in ("altered", "stray"):
                fault = self._lacking(path)
                if fault is None:
                    undecided.append(_shown(path))
            if fault is not None:
                faults.append(fault)
        return faults, undecided

    def key(self, recorded: Recorded) -> FilePath | None:
        """The path of the file that an event belongs to, None if it belongs to none."""
        try:
            found = place_event(self._projection, recorded)
            return None if found is None else path_of(found[0])
        except Exception as error:
            if classify(error) != "permanent":
                raise
            return None

    def replace(self, fault: FileFault) -> Path | None:
        """Take a wrong file out of the way, and give its new place; None if it has changed since.

        Raises:
            OSError: it cannot be moved.
        """
        if _digest(self._look(fault.path)) != fault.content:
            return None
        target = self._directory / REPLACED / f"{'%2F'.join(fault.path)[-180:]}.{time.time_ns()}"
        target.parent.mkdir(mode=PRIVATE, exist_ok=True)
        self._directory.joinpath(*fault.path).rename(target)
        return target

    def close(self) -> None:
        """Remove the scratch files."""
        for scratch in (self._due, self._expected, self._copies, self._completed, self._joined):
            scratch.close()

    def _fault(self, path: FilePath) -> FileFault | None:
        expected, copy = self._expected.read(path), self._copies.read(path)
        if copy is None:
            return self._lacking(path)
        if expected is None:
            problem = "no event of the log belongs to this file; if nobody needs it, remove it"
            return FileFault("stray", path, self._place(path), problem, "none")
        if path in self._unreadable:
            problem = f"the projection cannot read the file: {self._unreadable[path]}"
        elif self._joined.read(path) != expected:
            problem = "the file is not what its events give"
        else:
            return self._lacking(path)
        return FileFault("altered", path, self._place(path), problem, "replace", _digest(copy))

    def _lacking(self, path: FilePath) -> FileFault | None:
        """What a file lacks of the events that took effect."""
        place, copy = self._place(path), self._copies.read(path)
        if copy is not None:
            if self._completed.read(path) in (None, copy):
                return None
            return FileFault("stale", path, place, "the file lacks events", "replay")
        if path in self._standing:
            return FileFault("altered", path, place, "it is no regular file; remove it", "none")
        if self._due.read(path) is None:
            return None
        if self._is_blocked(path):
            return FileFault(
                "missing", path, place, "a link or file stands where its folder belongs; remove it", "none"
            )
        return FileFault("missing", path, place, "the file is not there", "replay")

    def _place(self, path: FilePath) -> str:
        return str(self._directory.joinpath(*path))

    def _placed(
        self, partition: Partition, events: Sequence[Recorded], refused: list[Refused] | None
    ) -> Mapping[FilePath, list[tuple[str, Recorded[Any]]]]:
        """Events by the path of their file, with its name."""
        found: dict[FilePath, list[tuple[str, Recorded[Any]]]] = {}
        for recorded in events:
            try:
                if (placed := place_event(self._projection, recorded)) is not None:
                    found.setdefault(path_of(placed[0]), []).append(placed)
            except Exception as error:  # noqa: BLE001  # raised again if the event is not to blame
                _note(refused, partition, recorded, error)
        return found

    def _fold(
        self,
        partition: Partition,
        scratch: Scratch,
        path: FilePath,
        placed: Sequence[tuple[str, Recorded[Any]]],
        refused: list[Refused] | None,
    ) -> Sequence[tuple[str, Recorded[Any]]]:
        """Fold events into a file, those that are refused left out; gives the others."""
        try:
            self._fold_into(scratch, path, placed)
        except Exception as error:
            if len(placed) == 1:
                _note(refused, partition, placed[0][1], error)
                return ()
            if classify(error) != "permanent":
                raise
            return [one for each in placed for one in self._fold(partition, scratch, path, [each], refused)]
        return placed

    def _fold_into(
        self,
        scratch: Scratch,
        path: FilePath,
        placed: Sequence[tuple[str, Recorded[Any]]],
        begin: Scratch | None = None,
    ) -> None:
        if not placed:
            return
        content = scratch.read(path)
        if content is None and begin is not None:
            content = begin.read(path)
        made = fold_events(self._projection, placed[0][0], content, [recorded for _, recorded in placed])
        if made != content or begin is not None:
            scratch.write(path, made)

    def _look(self, path: FilePath) -> bytes | None:
        try:
            root = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return read_file(root, path)
        except (UnsafePath, IsADirectoryError):
            return None
        finally:
            os.close(root)

    def _is_blocked(self, path: FilePath) -> bool:
        folders = [self._directory.joinpath(*path[: index + 1]) for index in range(len(path) - 1)]
        return any(os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()) for folder in folders)

    def _names(self) -> Iterator[FilePath]:
        """The path of whatever stands in the directory, but for folders and what is hidden."""
        for folder, folders, files in os.walk(self._directory):
            parts = Path(folder).relative_to(self._directory).parts
            links = [name for name in folders if Path(folder, name).is_symlink()]
            folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
            yield from ((*parts, name) for name in [*files, *links] if not name.startswith("."))


def _digest(content: bytes | None) -> bytes | None:
    return None if content is None else hashlib.sha256(content).digest()


def _shown(path: FilePath) -> str:
    return shown("/".join(path))


def _note(refused: list[Refused] | None, partition: Partition, recorded: Recorded, error: Exception) -> None:
    """Note an event that is to blame for an error; another error is raised."""
    if classify(error) != "permanent":
        raise error
    if refused is not None:
        refused.append(Refused(partition, recorded.event.subject, recorded.position, type(error).__name__))
