"""Which event wrote which file, by day; read from the summaries and written back to them."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from playhead.projections.encoding import decode, encode
from playhead.projections.jobs.json_files.days import DAILY, SUMMARY, Days, InUse, is_day
from playhead.projections.jobs.json_files.summaries import UNKNOWN, Entry, read_summary
from playhead.streams.storage.directories import identity, is_regular, list_names, opened, regular_file


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


class Day(InUse, gc=False):
    """A day that is in use: the identity of its directory, and the size of its summary."""

    directory: tuple[int, int] | None
    size: int = 0


class Index(Days[Day]):
    """The days of a directory."""

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
                named_unknown = identity(f"scrapers/{UNKNOWN}", directory) is not None
                file = regular_file(SUMMARY, directory)
        except FileNotFoundError:
            return Day(None)
        day = Day((found.st_dev, found.st_ino))
        if file is not None:
            with file:
                day.size = os.fstat(file.fileno()).st_size
                entries = read_summary(file) if day.size else iter(())
                self._take_up(name, _told_apart(root, name, entries) if named_unknown else entries)
        return day


def has(root: int, day: str, entry: Entry) -> bool:
    """Whether the file of an entry is there."""
    with contextlib.suppress(FileNotFoundError), opened(root, [DAILY, day, *entry.folder]) as folder:
        return is_regular(entry.file, folder)
    return False


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
