"""The base of your projections that write files to a directory."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from playhead.projections.failures import classify
from playhead.projections.staging import Staging
from playhead.streams.domains.place import Place
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.printable import quoted
from playhead.streams.sinks import Batch, Failure, Outcome
from playhead.streams.storage import disk
from playhead.streams.storage.directories import opened, read_regular, sync_directories
from playhead.streams.storage.filenames import encode_name

FOLDERS_LIMIT = 16
"""Folders that a file may lie below."""
_ATTEMPTS = 3


class FileProjection(ABC):
    """Folds events into files below the directory of its place; files are written atomically.

    An event may come again: after a crash, and in a replay. So `fold` must be idempotent: it returns the same
    bytes if the content has the event already, and does not overwrite data of a later event: `str(event.order)` sorts
    as the events of a subject do. It gives the same content whether events come together or one by one; `playhead
    verify` compares files by folding the log once more.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    @abstractmethod
    def file_of(self, event: Recorded[Any]) -> str | None:
        """Name the file that an event belongs to, such as `2026-01/31.csv`; None if it belongs to none.

        Each part between slashes is encoded: what is not a letter, a digit, `.`, `_` or `-` becomes `%` and its code,
        and so does a leading dot; an empty part becomes `%`. Thus a name that holds data from outside never leads out
        of the directory: `../x` is `%2E./x` below it, and `/x` is `%/x`. A name that is empty or no text parks the
        event.

        Raises:
            ValueError: the event can never be applied. It is parked alone, and its batch comes again without it.
        """

    @abstractmethod
    def fold(self, name: str, content: bytes | None, events: Sequence[Recorded[Any]]) -> bytes:
        """Return the content of a file with these events; `content` is its present content, None if it is missing.

        Raises:
            ValueError: an event can never be applied. It is parked, and its batch comes again without it.
        """


class ProjectedFiles:
    """The sink of a `FileProjection`.

    One process writes all files, as events of any two partitions may share one. A former owner that froze writes
    nothing when it wakes up: every file starts in the staging directory, which its successor has replaced.

    Raises:
        InvalidSetting: its place is no directory.
    """

    exclusive = True

    def __init__(self, projection: FileProjection) -> None:
        place = projection.place
        self.name, self.streams, self.types = place.name, place.streams, place.types
        self.directory = directory_of(place)
        self._projection = projection
        self._staging = Staging(self.directory)

    def open(self, partition: Partition, epoch: int) -> None:
        """Take the directory over. There is no checkpoint: events that come again change nothing.

        Raises:
            Fenced: it was opened with a higher epoch.
            InvalidSetting: another projection writes there.
            OSError: it cannot be written.
        """
        try:
            disk.make_directory(self.directory, private=self.directory)
            self._refuse_strangers()
            self._staging.take(self._key(partition), epoch)
        except PermissionError as error:
            raise PermissionError(error.errno, "the directory is not writable", str(self.directory)) from error

    def apply(self, batch: Batch) -> Outcome:
        """Fold events into their files: nothing is moved into its place before every file is written and synced.

        Raises:
            InvalidEvent: a payload has another form than its type.
            OSError: a symbolic link stands in the way, or the disk is full; the same batch may come again.
            Exception: whatever the projection raises; then no file has changed.
        """
        grouped: dict[str, list[Recorded[Any]]] = {}
        for recorded in batch.events:
            if (found := place_event(self._projection, recorded)) is not None:
                name, typed = found
                grouped.setdefault(name, []).append(typed)
        for attempt in range(1, _ATTEMPTS + 1):
            ours = self._staging.confirm() is not None
            if not ours or not self._staging.has_opened(self._key(batch.source.partition)):
                return "fenced"
            try:
                self._write(grouped)
            except FileNotFoundError:  # fenced or deleted in between; the next look tells which
                if attempt == _ATTEMPTS:
                    raise
                continue
            break
        return "applied"

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        place_event(self._projection, recorded)

    def settle(self) -> None:
        """There is no deferred work."""

    def close(self) -> None:
        """Let go of the directory."""
        self._staging.close()

    def classify(self, error: Exception) -> Failure:
        """Tell trouble of the disk from that of an event."""
        return classify(error)

    def health(self) -> str | None:
        """What an operator must fix, or None."""
        return disk.problem(self.directory)

    def _key(self, partition: Partition) -> str:
        return f"{self.name} {partition}"

    def _refuse_strangers(self) -> None:
        for key in self._staging.owners():
            if not key.startswith(f"{self.name} "):
                raise InvalidSetting(
                    f"{self.directory} is the directory of another projection, which opened it for {key}: give"
                    f" {self.name} one of its own, or delete {self._staging.path} if the other one is gone"
                )

    def _write(self, grouped: Mapping[str, list[Recorded[Any]]]) -> None:
        root = self._staging.root
        paths = {name: path_of(name) for name in grouped}
        changed: list[str] = []
        unsynced: list[int] = []
        try:
            for name, events in grouped.items():
                content = read_file(root, paths[name])
                made = fold_events(self._projection, name, content, events)
                if made != content:
                    unsynced.append(self._staging.write(_staged_name(len(changed)), made))
                    changed.append(name)
                    if disk.at_once(len(changed)):  # one call syncs them all, and needs none of their descriptors
                        _close(unsynced)
            if changed:
                disk.sync_many(root, unsynced or [root] * len(changed))
                self._publish(root, [paths[name] for name in changed])
        except BaseException:
            with suppress(OSError):
                for number in range(len(changed) + 1):
                    self._staging.discard(_staged_name(number))
            raise
        finally:
            _close(unsynced)

    def _publish(self, root: int, paths: Sequence[tuple[str, ...]]) -> None:
        """Move the staged files to their places, one folder after the other."""
        folders: dict[tuple[str, ...], list[int]] = {}
        for number, path in enumerate(paths):
            folders.setdefault(path[:-1], []).append(number)
        touched = set(folders)
        for folder, numbers in folders.items():
            with opened(root, folder, made=touched) as directory:
                for number in numbers:
                    self._staging.publish(_staged_name(number), directory, paths[number][-1])
        sync_directories(root, touched)


def place_event(projection: FileProjection, recorded: Recorded) -> tuple[str, Recorded[Any]] | None:
    """The name of the file that an event belongs to, and the event with its payload; None if it belongs to none.

    Raises:
        InvalidEvent: the payload has another form than its type, or `file_of` returned no name.
        Exception: whatever `file_of` raises.
    """
    place, kind = projection.place, recorded.event.type
    if kind not in place.types:
        return None
    typed = place.catalogue.types[kind].typed(recorded)
    name = _named(projection.file_of(typed))
    return None if name is None else (name, typed)


def fold_events(projection: FileProjection, name: str, content: bytes | None, events: Sequence[Recorded[Any]]) -> bytes:
    """The content of a file with these events.

    Raises:
        InvalidEvent: `fold` returned something else.
        Exception: whatever it raises.
    """
    made = cast("object", projection.fold(name, content, events))
    if not isinstance(made, bytes):
        raise InvalidEvent("fold", f"returned {type(made).__name__} for {quoted(name)}; it must return bytes")
    return made


def directory_of(place: Place) -> Path:
    """The directory of a projection.

    Raises:
        InvalidSetting: its place is no directory.
    """
    if not place.location:
        raise InvalidSetting(
            f"the projection {place.name} has no directory: declare one, `place=domain.directory(...)`, and pass it to"
            " `domain.projection`"
        )
    if "://" in place.location:
        raise InvalidSetting(
            f"the projection {place.name} keeps files in a directory, and cannot in {place.location}: set a directory"
        )
    return Path(place.location).absolute()


def _named(returned: object) -> str | None:
    if returned is None or (isinstance(returned, str) and returned):
        return returned
    raise InvalidEvent(
        "file_of", f"must return the name of a file, or None for no file; it returned {quoted(returned)}"
    )


def path_of(name: str) -> tuple[str, ...]:
    """The folders and the name of a file, each fit for a path.

    Raises:
        InvalidEvent: it has too many folders.
    """
    parts = name.split("/")
    if len(parts) > FOLDERS_LIMIT + 1:
        raise InvalidEvent("file_of", f"the name has {len(parts) - 1} folders; {FOLDERS_LIMIT} is the limit")
    return tuple(map(encode_name, parts))


def read_file(root: int, path: tuple[str, ...]) -> bytes | None:
    """The content of a file below a directory, None if no regular file is there.

    Raises:
        UnsafePath: a link or a file stands in the way.
    """
    with suppress(FileNotFoundError), opened(root, path[:-1]) as folder:
        return read_regular(path[-1], folder)
    return None


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _staged_name(number: int) -> str:
    """Long, as ext4 compares it with every name in a block of the directory."""
    return f"{number:064d}"
