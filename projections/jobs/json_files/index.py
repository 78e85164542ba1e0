"""Which event wrote which file, by day; read from the summaries and written back to them."""

import contextlib
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from playhead.projections.encoding import decode, encode
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.summaries import UNKNOWN, Entry, decode_summary, encode_summary
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


class Day:
    """The entries of a day by job id, as they are in memory."""

    def __init__(self, directory: tuple[int, int] | None, entries: dict[str, Entry], size: int) -> None:
        self.directory = directory
        self.entries = entries
        self.size = size
        self.dirty = False


class Index:
    """Days, each read when it is needed."""

    def __init__(self) -> None:
        self._days: dict[str, Day] = {}

    def find(self, root: int, name: str, job_id: str) -> Entry | None:
        """The job's entry of a day, if its file is really there."""
        entry = self.day(root, name).entries.get(job_id)
        return entry if entry is not None and has(root, name, entry) else None

    def put(self, root: int, name: str, entry: Entry) -> None:
        """Take an entry up, in place of the job's former one of that day."""
        day = self.day(root, name)
        day.entries[entry.job_id] = entry
        day.dirty = True

    def forget_missing(self, root: int, name: str, job_id: str) -> None:
        """Drop the job's entry of a day if its file is not there."""
        day = self.day(root, name)
        if job_id in day.entries and self.find(root, name, job_id) is None:
            del day.entries[job_id]
            day.dirty = True

    def day(self, root: int, name: str) -> Day:
        """The day as it is on disk, with what we added since."""
        day = self._days.get(name)
        if day is None:
            day = self._days[name] = _read_day(root, name)
        return day

    def refresh(self, root: int) -> None:
        """Drop what somebody deleted under us: whole days, or the files of a day that lost its summary."""
        for name, day in list(self._days.items()):
            found = identity(f"{DAILY}/{name}", root)
            if found != day.directory and day.directory is not None:
                del self._days[name]
                continue
            day.directory = found
            if day.size and found is not None and identity(f"{DAILY}/{name}/{SUMMARY}", root) is None:
                day.entries = {job_id: entry for job_id, entry in day.entries.items() if has(root, name, entry)}
                day.size, day.dirty = 0, True

    def dirty(self) -> dict[str, Day]:
        """The days whose summary is out of date."""
        return {name: day for name, day in self._days.items() if day.dirty}

    def forget_clean(self, kept: int = _DAYS_KEPT) -> None:
        """Free the memory of days that were not used lately."""
        for name in list(self._days)[:-kept]:
            if not self._days[name].dirty:
                del self._days[name]


def render(name: str, day: Day) -> bytes:
    """The day's summary.json."""
    return encode_summary(name, list(day.entries.values()))


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


def _read_day(root: int, name: str) -> Day:
    with contextlib.suppress(FileNotFoundError), opened(root, [DAILY, name]) as directory:
        found = os.fstat(directory)
        content = read_regular(SUMMARY, directory) or b""
        named_unknown = identity(f"scrapers/{UNKNOWN}", directory) is not None
        try:
            entries = decode_summary(content) if content else {}
        except ValueError as error:
            raise UnreadableSummary(f"{DAILY}/{name}/{SUMMARY}: {error}; delete the day and replay it") from error
        if named_unknown:
            _tell_apart(root, name, entries)
        return Day((found.st_dev, found.st_ino), entries, len(content))
    return Day(None, {}, 0)


def _tell_apart(root: int, name: str, entries: dict[str, Entry]) -> None:
    """Find the jobs whose scraper is really called `unknown`: the summary alone does not tell."""
    for job_id, entry in list(entries.items()):
        if entry.scraper_id is None and not has(root, name, entry):
            entries[job_id] = msgspec.structs.replace(entry, scraper_id=UNKNOWN)
