"""The data set as a whole."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from playhead.organizations.publication.checksums import NAME, read_sums, render_sums
from playhead.organizations.publication.database import build, read
from playhead.organizations.publication.days import copy_day, days, published, remove_day
from playhead.organizations.publication.errors import NothingThere
from playhead.organizations.publication.exports import write_locations, write_organizations
from playhead.organizations.publication.pages import Figures, figures, readme, stats
from playhead.organizations.publication.release import Release
from playhead.projections.jobs.json_files.days import DAILY, is_day
from playhead.projections.postgres import Connection
from playhead.terminal.progress import Progress

DATABASE, ORGANIZATIONS, LOCATIONS = "organizations.sqlite", "organizations.ndjson", "locations.geojson"
README, STATS = "README.md", "STATS.md"
_FILES = frozenset({DATABASE, ORGANIZATIONS, LOCATIONS, README, STATS})


class Content(msgspec.Struct, frozen=True):
    """What the data set holds: figures of the tables, and jobs by day."""

    figures: Figures
    days: dict[str, int]


def assemble(
    release: Release, connection: Connection, output_dir: Path, progress: Progress, *, allow_empty: bool = False
) -> Content:
    """Offer every file of the data set, and take out those that are no longer part of it.

    Raises:
        NothingThere: there is neither an organization nor a day, or there are none any more.
        DatabaseNotUpgraded: the tables are not there yet.
    """
    former = _published(release.directory)
    build(connection, release.scratch(DATABASE))
    found_days = days(output_dir)
    database = read(release.scratch(DATABASE))
    try:
        found = figures(database)
        if not allow_empty:
            _refuse_emptiness(release, former, found, found_days, output_dir)
        write_organizations(database, release.scratch(ORGANIZATIONS))
        write_locations(database, release.scratch(LOCATIONS))
        progress.begin("copying days", len(found_days))
        sums: dict[str, str] = {}
        jobs: dict[str, int] = {}
        for day in found_days:
            jobs[day], checksums = copy_day(output_dir, day, release)
            sums[f"{DAILY}/{day}/{NAME}"] = hashlib.sha256(checksums).hexdigest()
            progress.advanced()
        pages = {README: readme(found, jobs), STATS: stats(database, found, jobs)}
    finally:
        database.close()
    for name in former.keys() - sums.keys():
        if name not in _FILES:
            remove_day(_day(name), release)
    for name in (DATABASE, ORGANIZATIONS, LOCATIONS):
        with release.scratch(name).open("rb") as file:
            sums[name] = release.offer(name, file, owned=name in former)
    for name, content in pages.items():
        sums[name] = release.offer(name, content, owned=name in former)
    release.offer(NAME, render_sums(sums), owned=bool(former))
    return Content(found, jobs)


def paths(directory: Path) -> Iterator[str]:
    """Every file that was published in a directory, by its path below it."""
    found = _published(directory)
    for name in (*found, NAME) if found else ():
        yield name
        if day := _day(name):
            yield from (f"{DAILY}/{day}/{below}" for below in published(directory, day))


def _published(directory: Path) -> dict[str, str]:
    """What the checksums of a directory name, as far as that is a file of the data set."""
    return {name: sum for name, sum in read_sums(directory).items() if name in _FILES or _day(name)}


def _day(name: str) -> str:
    """The day whose checksums a file holds; empty if it is another file."""
    folder, _, rest = name.partition("/")
    day, _, file = rest.partition("/")
    return day if folder == DAILY and is_day(day) and file == NAME else ""


def _refuse_emptiness(
    release: Release, former: dict[str, str], found: Figures, found_days: list[str], output_dir: Path
) -> None:
    """A database that was reset, or a wrong directory, must not empty the data set."""
    if not found.organizations and not found_days:
        raise NothingThere(
            f"the database has no organization and {output_dir} no day: see `playhead status` and "
            "`playhead config show`, or publish nothing by --allow-empty"
        )
    standing = release.stat(ORGANIZATIONS) if ORGANIZATIONS in former else None
    if not found.organizations and standing is not None and standing.st_size:
        raise NothingThere(
            "the database has no organization any more, but the data set has: replay them by "
            "`playhead replay --log --to organizations`, or take them out by --allow-empty"
        )
    if not found_days and any(name.startswith(f"{DAILY}/") for name in former):
        raise NothingThere(
            f"{output_dir} has no day any more, but the data set has: check OUTPUT_DIR, replay them by "
            "`playhead replay --log --to json-files`, or take them out by --allow-empty"
        )
