"""The data set as a whole."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from playhead.organizations.publication.checksums import NAME, read_sums, render_sums
from playhead.organizations.publication.database import build, read
from playhead.organizations.publication.days import copy_day, days, remove_day
from playhead.organizations.publication.errors import NothingThere
from playhead.organizations.publication.exports import write_locations, write_organizations
from playhead.organizations.publication.pages import Figures, figures, readme, stats
from playhead.organizations.publication.release import Release
from playhead.projections.jobs.json_files.index import DAILY

DATABASE, ORGANIZATIONS, LOCATIONS = "organizations.sqlite", "organizations.ndjson", "locations.geojson"
README, STATS = "README.md", "STATS.md"


class Content(msgspec.Struct, frozen=True):
    """What the data set holds: figures of the tables, and jobs by day."""

    figures: Figures
    days: dict[str, int]


def assemble(release: Release, database_url: str, output_dir: Path, *, allow_empty: bool = False) -> Content:
    """Offer every file of the data set, and take out those that are no longer part of it.

    Raises:
        NothingThere: there is neither an organization nor a day, or there are none any more.
        DatabaseNotUpgraded: the tables are not there yet.
    """
    former = read_sums(release.directory)
    path = release.staged(DATABASE)
    build(database_url, path)
    found_days = days(output_dir)
    database = read(path)
    try:
        found = figures(database)
        if not allow_empty:
            _refuse_emptiness(release, former, found, found_days, output_dir)
        write_organizations(database, release.staged(ORGANIZATIONS))
        write_locations(database, release.staged(LOCATIONS))
        sums: dict[str, str] = {}
        jobs: dict[str, int] = {}
        for day in found_days:
            jobs[day], checksums = copy_day(output_dir, day, release)
            sums[f"{DAILY}/{day}/{NAME}"] = hashlib.sha256(checksums).hexdigest()
        pages = {README: readme(found, jobs), STATS: stats(database, found, jobs)}
    finally:
        database.close()
    for name in former.keys() - sums.keys():
        if name.startswith(f"{DAILY}/"):
            remove_day(name.split("/")[1], release)
    for name in (DATABASE, ORGANIZATIONS, LOCATIONS):
        sums[name] = release.offer(name, owned=name in former)
    for name, content in pages.items():
        sums[name] = release.offer(name, content, owned=name in former)
    release.offer(NAME, render_sums(sums), owned=bool(former))
    return Content(found, jobs)


def paths(directory: Path) -> Iterator[str]:
    """Every file that was published in a directory, by its path below it."""
    sums = read_sums(directory)
    for name in (*sums, NAME) if sums else ():
        yield name
        folder, _, file = name.rpartition("/")
        if file == NAME and folder:
            yield from (f"{folder}/{below}" for below in read_sums(directory / folder))


def _refuse_emptiness(
    release: Release, former: dict[str, str], found: Figures, found_days: list[str], output_dir: Path
) -> None:
    """A database that was reset, or a wrong directory, must not empty the data set."""
    if not found.organizations and not found_days:
        raise NothingThere(
            f"the database has no organization and {output_dir} no day: see `playhead status` and "
            "`playhead config show`, or publish nothing by --allow-empty"
        )
    published = release.directory / ORGANIZATIONS
    if not found.organizations and ORGANIZATIONS in former and published.exists() and published.stat().st_size:
        raise NothingThere(
            "the database has no organization any more, but the data set has: replay them by "
            "`playhead replay --log --to organizations`, or take them out by --allow-empty"
        )
    if not found_days and any(name.startswith(f"{DAILY}/") for name in former):
        raise NothingThere(
            f"{output_dir} has no day any more, but the data set has: check OUTPUT_DIR, replay them by "
            "`playhead replay --log --to json-files`, or take them out by --allow-empty"
        )
