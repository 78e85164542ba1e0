"""The daily tree: a copy of what the projection `json-files` keeps, a directory a day."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from playhead.organizations.publication.checksums import NAME, read_sums, render_sums
from playhead.organizations.publication.release import Release
from playhead.projections.jobs.json_files.index import DAILY, SUMMARY, is_day

_PROCESSED, _SCRAPERS = "processed", "scrapers"


class _Summary(msgspec.Struct):
    total_jobs: int


def days(root: Path) -> list[str]:
    """The days of a tree, oldest first."""
    with suppress(FileNotFoundError):
        return sorted(one.name for one in os.scandir(root / DAILY) if is_day(one.name) and _is_directory(one))
    return []


def copy_day(root: Path, day: str, release: Release) -> tuple[int, bytes]:
    """Offer the files of a day that are not published as they are; gives the jobs and the checksums of the day.

    A file is taken for the same if its size and time are.
    """
    source, folder = root / DAILY / day, f"{DAILY}/{day}"
    former = read_sums(release.directory / folder)
    sums: dict[str, str] = {}
    for name in _files(source):
        with suppress(FileNotFoundError):  # a newer result has moved the job to another scraper since we looked
            sums[name] = _offer(source / name, f"{folder}/{name}", release, former.get(name))
    for name in former.keys() - sums.keys():
        release.remove(f"{folder}/{name}")
    content = render_sums(sums)
    release.offer(f"{folder}/{NAME}", content, owned=bool(former))
    return _jobs(source, sums), content


def remove_day(day: str, release: Release) -> None:
    """Take out what was published of a day."""
    folder = f"{DAILY}/{day}"
    for name in (*read_sums(release.directory / folder), NAME):
        release.remove(f"{folder}/{name}")


def _offer(source: Path, name: str, release: Release, former: str | None) -> str:
    found, target = source.stat(), release.directory / name
    if former is not None:
        with suppress(FileNotFoundError):
            standing = target.lstat()
            if (standing.st_size, standing.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                return former
    digest = release.offer(name, source.read_bytes(), owned=former is not None)
    place = release.staged(name)
    os.utime(place if place.exists() else target, ns=(found.st_mtime_ns, found.st_mtime_ns))
    return digest


def _files(day: Path) -> Iterator[str]:
    """Files of the layout, sorted; links, and whatever else lies there, are left out."""
    found = [SUMMARY] if (day / SUMMARY).is_file() else []
    folders = [_PROCESSED]
    with suppress(FileNotFoundError):
        folders += [f"{_SCRAPERS}/{one.name}" for one in os.scandir(day / _SCRAPERS) if _is_directory(one)]
    for folder in folders:
        with suppress(FileNotFoundError):
            found += [
                f"{folder}/{one.name}"
                for one in os.scandir(day / folder)
                if one.name.endswith(".json") and one.is_file(follow_symlinks=False)
            ]
    yield from sorted(found)


def _jobs(day: Path, sums: dict[str, str]) -> int:
    """How many jobs the summary counts; if there is none yet, how many files there are."""
    try:
        return msgspec.json.decode((day / SUMMARY).read_bytes(), type=_Summary).total_jobs
    except (FileNotFoundError, ValueError):
        return len(sums)


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)
