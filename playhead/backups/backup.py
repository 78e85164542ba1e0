"""A run of the backup: copies what the last run has not, and says so in one file that is written last.

Order: cursors, then the log up to an end, then what its events refer to, which was written before them. These files are
looked for twice, as audio moves from one directory to the next meanwhile, and what moved past the first look is seen by
the second.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from playhead.backups.errors import BackupAhead, OtherHistory
from playhead.backups.lineage import find_lacking, find_parted
from playhead.backups.log_files import log_files, partition_counts
from playhead.backups.overlap import refuse_overlap
from playhead.backups.runs import FORMAT, File, Part, Place, Run, number_of
from playhead.backups.sources import Source, Stranger, files_of, places
from playhead.backups.store import Store, in_parts
from playhead.belonging import log_mark
from playhead.eventlog.restoring import refuse_unfinished
from playhead.settings.core import CURSORS_DIR, EVENT_LOG_DIR
from playhead.settings.settings import Settings, event_log
from playhead.streams.errors import ForeignPlace
from playhead.streams.events import format_time

_LOOKS = 2


class Copied(msgspec.Struct, frozen=True):
    """What a run has of a place, and how much of it this run copied."""

    setting: str
    location: str
    files: int
    bytes: int
    copied: int


class Done(msgspec.Struct, frozen=True):
    """A run that is complete. `omitted` is what cannot be in a backup, `damaged` what was copied as it is.

    `added_bytes` are before compression.
    """

    run: int
    installation: str | None
    began: str
    ended: str
    added_bytes: int
    places: list[Copied]
    omitted: list[str]
    damaged: list[str]


def back_up(settings: Settings, store: Store) -> Done:
    """Copy every place that cannot be derived from the log.

    Raises:
        InvalidSetting: there is no log, or it has too many partitions, or the target is within the data directory or a
            place, or one within it.
        ForeignPlace: the backup is of another installation.
        BackupAhead: the last run has what is not there any more.
        OtherHistory: the log does not go on from the last run.
        BackupDamaged: the last run cannot be read.
        LogCorrupt: a segment lacks one of its files.
        StoreUnavailable: a place or the target cannot be read or written.
    """
    root = event_log(settings)
    refuse_unfinished(root)
    refuse_overlap(settings, store)
    store.prepare()
    installation = _claim(settings, store)
    began = _now()
    names = store.run_files()
    last = store.read_run(names[-1]) if names else None
    counts = partition_counts(root)
    made = [_Copying(store, name, location, last) for name, location in places(settings).items()]
    first = [one for one in made if one.is_before_events]
    rest = [one for one in made if not one.is_before_events]
    for one in [*first, *rest * _LOOKS]:
        one.look()
    for one in made:
        one.refuse_lack()
    kept = [one.place() for one in made if one.files]
    number = max((number_of(name) or 0 for name in names), default=0) + 1
    run = Run(
        format=FORMAT,
        number=number,
        installation=installation,
        began=began,
        ended=_now(),
        partitions=counts,
        places=kept,
    )
    store.write_run(run)
    return Done(
        number,
        installation,
        began,
        run.ended,
        store.added_bytes,
        [one.copied() for one in made],
        [f"{one.setting}: {name}: {problem}" for one in made for name, problem in sorted(one.omitted.items())],
        [problem for one in made for problem in one.damaged],
    )


class _Copying:
    """A place on its way into a run."""

    def __init__(self, store: Store, setting: str, location: str, last: Run | None) -> None:
        self.setting, self.location = setting, location
        self.files: dict[str, File] = {}
        self.omitted: dict[str, str] = {}
        self.damaged: list[str] = []
        self._store, self._last = store, last
        self._number_copied = 0
        before = None if last is None else last.place(setting)
        self._before = {} if before is None else {file.name: file for file in store.files(before)}

    @property
    def is_before_events(self) -> bool:
        """Whether it comes before what events refer to."""
        return self.setting in {CURSORS_DIR.name, EVENT_LOG_DIR.name}

    def look(self) -> None:
        """Copy what is there and not copied yet."""
        for one in self._found():
            match one:
                case Stranger():
                    self.omitted[one.name] = one.problem
                case Source():
                    self._take(one)

    def refuse_lack(self) -> None:
        """Refuse a place that lacks what the last run has and that is never removed.

        Raises:
            BackupAhead: names it.
            OtherHistory: the log has all of it, but something else in its place.
        """
        assert not self._before or self._last is not None
        number = 0 if self._last is None else self._last.number
        if self._before and not self.files:
            raise BackupAhead(f"{self.location} has no files, and run {number} of the backup has {len(self._before)}")
        if self.setting == EVENT_LOG_DIR.name:
            root = Path(self.location)
            if (name := find_lacking(self._before, self.files)) is not None:
                raise BackupAhead(f"{root / name} lacks events that run {number} of the backup has")
            if (name := find_parted(root, self._before, self.files)) is not None:
                raise OtherHistory(f"{root / name} has other events than run {number} of the backup")

    def place(self) -> Place:
        """What the run says of it."""
        files = sorted(self.files.values(), key=lambda file: file.name)
        return Place(self.setting, len(files), sum(file.size for file in files), self._store.keep_listing(files))

    def copied(self) -> Copied:
        """What there is to say of it."""
        size = sum(file.size for file in self.files.values())
        return Copied(self.setting, self.location, len(self.files), size, self._number_copied)

    def _found(self) -> Iterable[Source | Stranger]:
        if self.setting == EVENT_LOG_DIR.name:
            return log_files(Path(self.location))
        return files_of(self.location)

    def _take(self, source: Source) -> None:
        known = (self.files.get(source.name), self._before.get(source.name))
        for file in known:
            if file is None or file.is_damaged or not _is_unchanged(file, source):
                continue
            if all(map(self._store.has, file.parts)):
                self.files[source.name] = file
                return
        before = self._before.get(source.name)
        sizes = [] if before is None else [part.size for part in before.parts]
        with suppress(*(() if self.setting == EVENT_LOG_DIR.name else (FileNotFoundError,))):  # gone since it was seen
            parts, digest = list[Part](), hashlib.sha256()
            for block in in_parts(source.blocks(), sizes):
                digest.update(block)
                parts.append(self._store.keep(block))
            is_damaged = source.sha256 not in (None, digest.hexdigest())
            self.files[source.name] = File(source.name, source.modified, parts, is_damaged)
            self._number_copied += 1
            if is_damaged:
                self.damaged.append(f"{Path(self.location, source.name)} does not have the checksum of its manifest")


def _is_unchanged(file: File, source: Source) -> bool:
    return (file.size, file.modified) == (source.size, source.modified)


def _claim(settings: Settings, store: Store) -> str | None:
    """The id of the installation, which the backup carries too."""
    mark = log_mark(settings)
    installation, found = mark.read(), store.mark.read()
    if installation is not None and found is None:
        store.mark.write(installation)
    elif found is not None and found != installation:
        raise ForeignPlace(store.mark.title, found, mark.title, installation or "none yet")
    return installation


def _now() -> str:
    return format_time(datetime.now(UTC))
