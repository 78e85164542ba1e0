"""The daily tree: a copy of what the projection `json-files` keeps, a directory a day."""

import os
import re
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from playhead.organizations.publication.checksums import NAME, read_sums, render_sums
from playhead.organizations.publication.release import Release
from playhead.projections.jobs.json_files.days import DAILY, SUMMARY, is_day
from playhead.streams.storage.directories import is_regular, list_names, opened, regular_descriptor

_PROCESSED, _SCRAPERS = "processed", "scrapers"
_LAYOUT = re.compile(rf"{SUMMARY}|{_PROCESSED}/[^/]+\.json|{_SCRAPERS}/[^/]+/[^/]+\.json", re.DOTALL)


class _Summary(msgspec.Struct):
    total_jobs: int


def days(root: Path) -> list[str]:
    """The days of a tree, oldest first."""
    with suppress(FileNotFoundError), _opened(root, [DAILY]) as daily:
        return sorted(name for name in list_names(daily) if is_day(name) and _is_directory(name, daily))
    return []


def published(directory: Path, day: str) -> dict[str, str]:
    """What was published of a day, by its path below the day's directory: nothing but files of the layout."""
    return {name: sum for name, sum in read_sums(directory, f"{DAILY}/{day}").items() if _LAYOUT.fullmatch(name)}


def copy_day(root: Path, day: str, release: Release) -> tuple[int, bytes]:
    """Offer the files of a day that are not published as they are; gives the jobs and the checksums of the day.

    A file is taken for the same if its size and time are.
    """
    folder = f"{DAILY}/{day}"
    former = published(release.directory, day)
    sums: dict[str, str] = {}
    with _opened(root, [DAILY, day]) as source:
        for name in _files(source):
            if (digest := _offer(source, name, folder, release, former.get(name))) is not None:
                sums[name] = digest
        for name in former.keys() - sums.keys():
            release.remove(f"{folder}/{name}")
        content = render_sums(sums)
        release.offer(f"{folder}/{NAME}", content, owned=bool(former))
        return _jobs(source, sums), content


def remove_day(day: str, release: Release) -> None:
    """Take out what was published of a day."""
    for name in (*published(release.directory, day), NAME):
        release.remove(f"{DAILY}/{day}/{name}")


def _offer(source: int, name: str, folder: str, release: Release, former: str | None) -> str | None:
    """The digest of a file; None if a newer result has moved the job to another scraper since we looked."""
    *folders, file = name.split("/")
    try:
        with opened(source, folders) as place:
            descriptor = regular_descriptor(file, place)
    except FileNotFoundError:
        return None
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as content:
        found, target = os.fstat(descriptor), f"{folder}/{name}"
        standing = None if former is None else release.stat(target)
        if standing and (standing.st_size, standing.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
            return former
        return release.offer(target, content, owned=former is not None, modified_ns=found.st_mtime_ns)


def _files(day: int) -> Iterator[str]:
    """Files of the layout, sorted; links, hidden ones, and whatever else lies there, are left out."""
    found = [SUMMARY] if is_regular(SUMMARY, day) else []
    folders = [_PROCESSED]
    with suppress(FileNotFoundError), opened(day, [_SCRAPERS]) as scrapers:
        folders += (f"{_SCRAPERS}/{name}" for name in list_names(scrapers) if _is_directory(name, scrapers))
    for folder in folders:
        with suppress(FileNotFoundError), opened(day, folder.split("/")) as place:
            found += (
                f"{folder}/{name}"
                for name in list_names(place)
                if name.endswith(".json") and not name.startswith(".") and is_regular(name, place)
            )
    yield from sorted(found)


def _jobs(day: int, sums: dict[str, str]) -> int:
    """How many jobs the summary counts; if there is none yet, how many files there are."""
    with suppress(ValueError):
        if (descriptor := regular_descriptor(SUMMARY, day)) is not None:
            with os.fdopen(descriptor, "rb") as file:
                return msgspec.json.decode(file.read(), type=_Summary).total_jobs
    return len(sums)


def _is_directory(name: str, parent: int) -> bool:
    """Whether a directory that is not hidden is there."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        return stat.S_ISDIR(found.st_mode) and not name.startswith(".")
    return False


@contextmanager
def _opened(root: Path, parts: list[str]) -> Generator[int, None, None]:
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # may itself be a link
    try:
        with opened(top, parts) as folder:
            yield folder
    finally:
        os.close(top)
