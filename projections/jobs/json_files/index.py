"""Which event wrote which file, by day; read from the summaries and written back to them."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from playhead.projections.encoding import decode, encode
from playhead.projections.jobs.json_files.entries import Entries
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.summaries import UNKNOWN, Entry, read_summary
from playhead.projections.staging import Staging
from playhead.streams.storage.directories import identity, is_regular, list_names, opened, read_regular

DAILY = "daily"
SUMMARY = "summary.json"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAYS_KEPT = 32


class Fact(msgspec.Struct, frozen=True, gc=False):
    """A line of the journal: the entry that a file's new content stands for, and where the job's old file was.

    `old_day` is the same day. In a journal of an earlier version, which kept one file a job, it may be another day,
    whose file that version removed.
    """

    day: str
    entry: Entry
    old_day: str | None = None
    old_entry: Entry | None = None

    @classmethod
    def decode(cls, line: bytes) -> "Fact | None":
        """Read a line; None if a crash tore it."""
        try:
            return decode(line, cls)
        except ValueError:
            return None

    def encode(self) -> bytes:
        """Write a line."""
        return encode(self) + b"\n"


class Day(msgspec.Struct, gc=False):
    """A day that is in use: the identity of its directory, and the size of its summary.

    `dirty` says that its entries are newer than its summary.
    """

    directory: tuple[int, int] | None
    size: int
    dirty: bool = False


class Index:
    """Days, each read when it is needed."""

    def __init__(self, staging: Staging) -> None:
        self._days: dict[str, Day] = {}
        self._entries = Entries(staging.path)

    @property
    def failed(self) -> bool:
        """Whether something may be missing since the disk failed."""
        return self._entries.failed

    def find(self, root: int, name: str, job_ids: Iterable[str]) -> dict[str, Entry]:
        """The entries of jobs of a day whose files are really there."""
        self._use(root, name)
        found = self._entries.find(name, job_ids)
        return {job_id: entry for job_id, entry in found.items() if has(root, name, entry)}

    def put(self, root: int, name: str, entries: Sequence[Entry]) -> None:
        """Take entries up, in place of the jobs' former ones of that day."""
        day = self._use(root, name)
        self._entries.put(name, entries)
        day.dirty = True

    def forget_missing(self, root: int, name: str, job_id: str) -> None:
        """Drop the job's entry of a day if its file is not there."""
        day = self._use(root, name)
        if self._entries.find(name, [job_id]) and not self.find(root, name, [job_id]):
            self._entries.remove(name, [job_id])
            day.dirty = True

    def refresh(self, root: int) -> None:
        """Drop what somebody deleted under us: whole days, or the files of a day that lost its summary."""
        for name, day in list(self._days.items()):
            found = identity(f"{DAILY}/{name}", root)
            if found != day.directory and day.directory is not None:
                self._forget(name)
                continue
            day.directory = found
            if day.size and found is not None and identity(f"{DAILY}/{name}/{SUMMARY}", root) is None:
                self._entries.remove(name, [one.job_id for one in self._entries.of(name) if not has(root, name, one)])
                day.size, day.dirty = 0, True

    def dirty(self) -> dict[str, Day]:
        """The days whose summary is out of date."""
        return {name: day for name, day in self._days.items() if day.dirty}

    def has_any(self, name: str) -> bool:
        """Whether a day in use has entries."""
        return self._entries.has_any(name)

    def summary(self, name: str) -> Iterator[bytes]:
        """The summary.json of a day in use, piece by piece."""
        return self._entries.summary(name)

    def forget_clean(self, kept: int = _DAYS_KEPT) -> None:
        """Free the room of days that were not used lately."""
        for name in list(self._days)[:-kept]:
            if not self._days[name].dirty:
                self._forget(name)

    def close(self) -> None:
        """Free the room of all."""
        self._days.clear()
        self._entries.close()

    def _use(self, root: int, name: str) -> Day:
        """The day as it is on disk, with what we added since."""
        day = self._days.get(name)
        if day is None:
            day = self._days[name] = self._read(root, name)
        return day

    def _read(self, root: int, name: str) -> Day:
        try:
            with opened(root, [DAILY, name]) as directory:
                found = os.fstat(directory)
                content = read_regular(SUMMARY, directory) or b""
                named_unknown = identity(f"scrapers/{UNKNOWN}", directory) is not None
        except FileNotFoundError:
            return Day(None, 0)
        entries = read_summary(content) if content else iter(())
        try:
            self._entries.put(name, _told_apart(root, name, entries) if named_unknown else entries)
        except ValueError as error:
            self._entries.forget(name)
            raise UnreadableSummary(f"{DAILY}/{name}/{SUMMARY}: {error}; delete the day and replay it") from error
        return Day((found.st_dev, found.st_ino), len(content))

    def _forget(self, name: str) -> None:
        del self._days[name]
        self._entries.forget(name)


def has(root: int, day: str, entry: Entry) -> bool:
    """Whether the file of an entry is there."""
    with contextlib.suppress(FileNotFoundError), opened(root, [DAILY, day, *entry.folder]) as folder:
        return is_regular(entry.file, folder)
    return False


def is_day(name: str) -> bool:
    """Whether it is the name of a day's directory."""
    return _DAY.fullmatch(name) is not None


def has_come(day: str) -> bool:
    """Whether it is no later than tomorrow: a wrong clock must not hold `latest`."""
    return day <= (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


def newest_day(days: Iterable[str]) -> str | None:
    """The newest of days that have come, or of all if none has."""
    found = list(days)
    return max(filter(has_come, found), default=max(found, default=None))


def list_days(root: int) -> list[str]:
    """The days of the tree, oldest first."""
    with contextlib.suppress(FileNotFoundError), opened(root, [DAILY]) as daily:
        return sorted(name for name in list_names(daily) if is_day(name))
    return []


def _told_apart(root: int, name: str, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Find the jobs whose scraper is really called `unknown`: the summary alone does not tell."""
    for entry in entries:
        if entry.scraper_id is None and not has(root, name, entry):
            yield msgspec.structs.replace(entry, scraper_id=UNKNOWN)
        else:
            yield entry
