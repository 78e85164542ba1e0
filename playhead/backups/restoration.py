"""A restore: the places of a run, written where the settings say.

The log comes first, behind a mark that keeps its writer away until everything is there; it is whole or not restored.
Other files are added: one that is there already is never written over, and one that is damaged in the backup is named.
"""

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from playhead.backups.errors import BackupDamaged, LogNotEmpty, OtherRestoreUnfinished
from playhead.backups.log_files import files_in_place, is_log_file, is_log_partition
from playhead.backups.overlap import refuse_overlap
from playhead.backups.runs import File, Run, encode_run, number_of
from playhead.backups.sources import places
from playhead.backups.store import Store, in_parts
from playhead.belonging import log_mark
from playhead.eventlog import restoring
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.reader import stat_partition, verify
from playhead.eventlog.segments import partition_directory, partitions
from playhead.eventlog.writer import lock_partition
from playhead.settings.core import EVENT_LOG_DIR
from playhead.settings.settings import Settings
from playhead.streams.errors import ForeignPlace, InvalidSetting
from playhead.streams.installation import PlaceMark
from playhead.streams.partitions import Partition
from playhead.streams.storage import disk
from playhead.streams.storage.objects import Objects, Staged
from playhead.streams.storage.trust import refuse_untrusted

_AT_ONCE = 64
"""Files that are made durable together."""
_COMPONENT_BYTES = 255
"""Bytes that a name in a directory may have, on every file system of Linux."""


class RestoredPartition(msgspec.Struct, frozen=True):
    """What the log has of a partition now; events behind `last` did not come back.

    `events` is None if they cannot be counted, as the log is damaged there.
    """

    partition: str
    events: int | None
    last: str | None


class RestoredPlace(msgspec.Struct, frozen=True):
    """The files of a place: those that were written, those that were the same already, and those that differ and stay.

    `damaged` names those that the backup has not whole.
    """

    setting: str
    location: str
    written: int
    same: int
    kept: list[str]
    damaged: list[str]


class Restored(msgspec.Struct, frozen=True):
    """What a restore brought back: the state of `began`, or a little later. `faults` are those of the log."""

    run: int
    installation: str | None
    began: str
    partitions: list[RestoredPartition]
    places: list[RestoredPlace]
    faults: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether everything of the run is back."""
        return not self.faults and not any(place.damaged for place in self.places)


def find_run(store: Store, number: int | None) -> Run:
    """The last run of a backup, or the one with a number.

    Raises:
        InvalidSetting: there is none.
        BackupDamaged: it is damaged.
    """
    return store.read_run(store.require_runs(number)[-1])


def restore(settings: Settings, store: Store, run: Run) -> Restored:
    """Write the places of a run where the settings say, and check the log at the end.

    Raises:
        LogNotEmpty: there is a log, or what is there of one is not of this run.
        OtherRestoreUnfinished: a restore of another run was interrupted.
        LogInUse: a log writer runs, or another restore.
        ForeignPlace: a place belongs to another installation.
        Untrusted: a place is another user's, or every user may write to it.
        InvalidSetting: the run has a place that no installed domain declares, or files that no directory can have; or
            the backup is within a place.
        BackupDamaged: the run cannot be read, or the log in it is damaged; nothing was written.
        StoreUnavailable: a place or the backup cannot be written or read.
    """
    refuse_overlap(settings, store)
    located = _located(settings, run)
    _refuse_foreign(run, located)
    listed = {place.setting: store.files(place) for place in run.places}
    log = listed.pop(EVENT_LOG_DIR.name, [])
    for setting, files in listed.items():
        _refuse_unfit(setting, located[setting], files)
    _check_log(store, run, log)
    with _held(settings.event_log_dir, run, log):
        done = [_added(store, EVENT_LOG_DIR.name, located, log)]
        done += [_added(store, setting, located, files) for setting, files in listed.items()]
        if run.installation is not None:
            log_mark(settings).write(run.installation)
    root = settings.event_log_dir
    faults = [f"{fault.file}: {fault.problem}" for fault in verify(root).faults]
    standing = [_standing(root, partition, faults) for partition in partitions(root)]
    return Restored(run.number, run.installation, run.began, standing, done, faults)


def _standing(root: Path, partition: Partition, faults: list[str]) -> RestoredPartition:
    try:
        found = stat_partition(root, partition)
    except LogCorrupt as error:
        if (fault := f"{error.file}: {error.problem}") not in faults:
            faults.append(fault)
        return RestoredPartition(str(partition), None, None)
    return RestoredPartition(str(partition), found.events, None if found.last is None else str(found.last))


@contextmanager
def _held(root: Path, run: Run, log: Sequence[File]) -> Generator[None, None, None]:
    """The log, empty or with files of this run alone, and locked; it stays marked if the block does not end."""
    name = encode_run(run)[0]
    if not restoring.is_unfinished(root):
        _refuse_others(root, frozenset())  # before its writer would find a mark
    with restoring.marked(root) as mark, ExitStack() as locks:
        if mark.begun != name and (number := number_of(mark.begun)) is not None:
            raise OtherRestoreUnfinished(root, number)
        own = frozenset(file.name for file in log) if mark.begun == name else frozenset[str]()
        _refuse_others(root, own)
        for directory in _directories(root, run, log):
            disk.make_directory(directory)
            locks.callback(os.close, lock_partition(directory))
        _refuse_others(root, own)
        mark.note(name)
        yield
        mark.remove()


def _directories(root: Path, run: Run, log: Iterable[File]) -> list[Path]:
    """Those of the partitions that are there, or will be; the last one of a stream says how many there are."""
    numbered = {Partition(stream, count - 1) for stream, count in run.partitions.items()}
    named = {Path(root, file.name).parent for file in log}
    return sorted({partition_directory(root, one) for one in {*numbered, *partitions(root)}} | named)


def _refuse_others(root: Path, own: frozenset[str]) -> None:
    for name in files_in_place(root):
        if name not in own:
            raise LogNotEmpty(f"{root} has {name}, which this restore did not write")


def _located(settings: Settings, run: Run) -> dict[str, str]:
    known = places(settings)
    if unknown := [place.setting for place in run.places if place.setting not in known]:
        raise InvalidSetting(
            f"the backup has files of {', '.join(unknown)}, which no domain declares here: install its package, or name"
            " it in PLAYHEAD_DOMAINS"
        )
    return known


def _refuse_foreign(run: Run, located: Mapping[str, str]) -> None:
    for setting in {EVENT_LOG_DIR.name, *(place.setting for place in run.places)}:
        mark = PlaceMark(setting, located[setting])
        if mark.directory is not None:
            refuse_untrusted(mark.directory)
        found = mark.read()
        if found is not None and found != run.installation:
            raise ForeignPlace(mark.title, found, "the backup", run.installation or "none yet")


def _refuse_unfit(setting: str, location: str, files: Sequence[File]) -> None:
    """Refuse what a bucket can have, and a directory cannot."""
    if Objects(location).directory is None:
        return
    folders = {name[:end] for name in (file.name for file in files) for end in _ends(name)}
    for file in files:
        if file.name in folders:
            problem = "and others below it"
        elif any(len(component.encode()) > _COMPONENT_BYTES for component in file.name.split("/")):
            problem = f"of which a part has over {_COMPONENT_BYTES} bytes"
        else:
            continue
        raise InvalidSetting(
            f"the backup has {file.name!r:.100} {problem}, which no directory can have: set {setting} to an s3:// URL,"
            " or restore another run"
        )


def _ends(name: str) -> Iterator[int]:
    """Where the names of the folders of a name end in it."""
    return (end for end, character in enumerate(name) if character == "/")


def _check_log(store: Store, run: Run, log: Iterable[File]) -> None:
    for stream, count in run.partitions.items():
        if not is_log_partition(stream, str(count - 1)):
            raise BackupDamaged(f"run {run.number} has {count} partitions of {stream!r:.100}, which no log can have")
    for file in log:
        if not is_log_file(file.name):
            raise BackupDamaged(f"{file.name!r:.100} is no file of a log")
        for part in file.parts:
            store.read(part)


def _added(store: Store, setting: str, located: Mapping[str, str], files: Iterable[File]) -> RestoredPlace:
    """Write the files that are not there, some of them at once."""
    objects = Objects(located[setting])
    objects.prepare()
    written = same = 0
    kept, damaged, staged = list[str](), list[str](), list[Staged]()
    for file in files:
        if objects.size(file.name) is not None:
            if _is_same(objects, file):
                same += 1
            elif setting == EVENT_LOG_DIR.name:
                raise LogNotEmpty(f"{objects.url(file.name)} differs from the backup")
            else:
                kept.append(file.name)
            continue
        try:
            staged.append(objects.stage_parts(file.name, map(store.read, file.parts), modified=file.modified))
        except BackupDamaged:
            if setting == EVENT_LOG_DIR.name:
                raise
            damaged.append(file.name)
            continue
        written += 1
        if len(staged) == _AT_ONCE:
            objects.publish(staged)
            staged.clear()
    objects.publish(staged)
    return RestoredPlace(setting, located[setting], written, same, kept, damaged)


def _is_same(objects: Objects, file: File) -> bool:
    blocks = objects.parts(file.name)
    found = in_parts(() if blocks is None else blocks, [part.size for part in file.parts])
    return [hashlib.sha256(part).hexdigest() for part in found] == [part.sha256 for part in file.parts]
