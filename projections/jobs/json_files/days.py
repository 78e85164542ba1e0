"""The days that are in use, and their names."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from playhead.projections.jobs.json_files.entries import Entries
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.summaries import Entry

DAILY = "daily"
SUMMARY = "summary.json"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAYS_KEPT = 32


class InUse(msgspec.Struct, gc=False, kw_only=True):
    """A day that is in use; `dirty` says that its entries are newer than its summary."""

    dirty: bool = False


Day = TypeVar("Day", bound=InUse)


class Days(Generic[Day]):
    """Days, each read when it is needed; their entries are in a file in a directory."""

    def __init__(self, directory: Path) -> None:
        self._days: dict[str, Day] = {}
        self._entries = Entries(directory)

    @property
    def failed(self) -> bool:
        """Whether something may be missing since the disk failed."""
        return self._entries.failed

    def dirty(self) -> dict[str, Day]:
        """The days whose summary is out of date."""
        return {name: day for name, day in self._days.items() if day.dirty}

    def has_any(self, name: str) -> bool:
        """Whether a day in use has entries."""
        return self._entries.has_any(name)

    def summary(self, name: str) -> Iterator[bytes]:
        """The summary.json of a day in use, piece by piece."""
        return self._entries.summary(name)

    def forget_clean(self) -> None:
        """Free the room of days that were not used lately."""
        for name in list(self._days)[:-_DAYS_KEPT]:
            if not self._days[name].dirty:
                self._forget(name)

    def close(self) -> None:
        """Free the room of all."""
        self._days.clear()
        self._entries.close()

    def _take_up(self, name: str, entries: Iterable[Entry]) -> None:
        """Take up what a summary says of a day, but for jobs of which we know something newer."""
        try:
            self._entries.put_newer(name, entries)
        except ValueError as error:
            self._forget(name)
            raise UnreadableSummary(f"{DAILY}/{name}/{SUMMARY}: {error}; delete the day and replay it") from error

    def _forget(self, name: str) -> None:
        self._days.pop(name, None)
        self._entries.forget(name)


def is_day(name: str) -> bool:
    """Whether it is the name of a day's directory."""
    return _DAY.fullmatch(name) is not None


def has_come(day: str) -> bool:
    """Whether it is no later than tomorrow: a wrong clock must not hold `latest`."""
    return day <= (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


def next_latest(
    pointed: str, days: Iterable[str], *, stands: Callable[[str], bool], all_days: Callable[[], Iterable[str]]
) -> str | None:
    """The day that `latest` names once `days` were written: of those and the one that it named, or of all."""
    valid = is_day(pointed) and has_come(pointed) and stands(pointed)
    return newest_day([pointed, *days] if valid else all_days())


def newest_day(days: Iterable[str]) -> str | None:
    """The newest of days that have come, or of all if none has."""
    found = list(days)
    return max(filter(has_come, found), default=max(found, default=None))
