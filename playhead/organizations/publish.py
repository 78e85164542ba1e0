"""`playhead publish`: the data set that others use."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from playhead.jobs.domain import OUTPUT_DIR
from playhead.organizations.publication.dataset import Content, assemble, paths
from playhead.organizations.publication.release import Release
from playhead.organizations.publication.repository import Repository, enclosing, find_repository
from playhead.projections.postgres import connect
from playhead.settings.servers import servers
from playhead.settings.settings import Settings, declared, load, output_directory
from playhead.streams.errors import InvalidSetting
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say
from playhead.terminal.progress import Progress

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""A URL, of which a Path keeps one slash."""


class Published(msgspec.Struct, frozen=True):
    """What the data set holds, and what became of its files.

    `share` is the part of results that speak of an organization, of 1; `commit` is null if there is none.
    """

    directory: str
    results: int
    with_organizations: int
    share: float
    organizations: int
    locations: int
    days: int
    jobs: int
    newest: str | None
    written: int
    removed: int
    commit: str | None
    pushed: bool


def publish(
    *,
    to: Path,
    push: Annotated[bool, Parameter(help="Push the repository to its remote.")] = False,
    overwrite: Annotated[
        bool, Parameter(help="Replace files of the same names that were not published before.")
    ] = False,
    allow_empty: Annotated[bool, Parameter(help="Allow an empty data set.")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Write the data set: organizations as SQLite, NDJSON and GeoJSON, the daily files, and pages of counts.

    Writes only what changed. If the directory is the top of a git repository, commits the data set.

    Args:
        to: The directory; created if it is missing.

    Example:
        playhead publish --to dataset --push
    """
    settings = load(data_dir)
    directory = to.expanduser().absolute()
    outputs = output_directory(settings, OUTPUT_DIR, "publish")
    _refuse_places(to, directory, settings)
    reached = servers(settings, redis=False)
    url = reached.database_url
    with Release(directory, settings.data_dir, overwrite=overwrite) as release:
        repository = find_repository(directory)
        if repository is not None:
            repository.check(push=push)
        elif push:
            raise InvalidSetting(f"--push: {directory} is not a repository; run `git init` in it")
        with Progress("reading organizations") as progress:
            with connect(url, "playhead-publish", schema=reached.schema) as connection:
                content = assemble(release, connection, outputs, progress, allow_empty=allow_empty)
            progress.begin("publishing")
            release.publish()
        commit = repository and repository.commit({*paths(directory), *release.changed}, _message(content))
        release.done()
        if push and repository is not None:
            repository.push()
    _tell(_published(directory, content, release, commit, pushed=push), repository, json=json)


def _refuse_places(given: Path, directory: Path, settings: Settings) -> None:
    if _URL.match(str(given)):
        raise InvalidSetting(f"--to: {given} looks like a URL; it takes a directory on this machine")
    place = directory.resolve()
    if place.is_file():
        raise InvalidSetting(f"--to: {directory} is a file; it takes a directory")
    if place == settings.data_dir.resolve():
        raise InvalidSetting(f"--to: {directory} is the data directory; choose another directory")
    places = {one.name: settings[one] for one in declared().values() if one.below is not None}
    for name, source in (*places.items(), ("PLAYHEAD_SPOOL_DIR", settings.spool_dir)):
        if source is not None and "://" not in str(source) and place.is_relative_to(Path(source).resolve()):
            raise InvalidSetting(f"--to: {directory} is in {name}, which is Playhead's own; choose another directory")


def _message(content: Content) -> str:
    found = content.figures
    return (
        f"Publish results up to {found.last or 'none'}\n\n"
        f"{found.organizations:,} organizations in {found.with_organizations:,} of {found.results:,} results, "
        f"{sum(content.days.values()):,} jobs on {len(content.days):,} day(s).\n"
    )


def _published(directory: Path, content: Content, release: Release, commit: str | None, *, pushed: bool) -> Published:
    found = content.figures
    return Published(
        directory=str(directory),
        results=found.results,
        with_organizations=found.with_organizations,
        share=round(found.share, 4),
        organizations=found.organizations,
        locations=found.locations,
        days=len(content.days),
        jobs=sum(content.days.values()),
        newest=found.last,
        written=release.written,
        removed=release.removed,
        commit=commit,
        pushed=pushed,
    )


def _tell(found: Published, repository: Repository | None, *, json: bool) -> None:
    if repository is None and (above := enclosing(Path(found.directory))) is not None:
        say(f"{found.directory} is below the top of the repository {above}, so nothing is committed")
    if json:
        print_json(found)
        return
    percent = 100 * found.with_organizations / found.results if found.results else 0.0
    print_lines(
        f"{found.organizations:,} organizations at {found.locations:,} locations, from {found.with_organizations:,} of "
        f"{found.results:,} results ({percent:.1f} %); {found.jobs:,} jobs on {found.days:,} day(s)"
    )
    changed = f"{found.written:,} files written, {found.removed:,} removed"
    print_lines(changed if found.written or found.removed else "nothing changed")
    if found.commit is not None:
        print_lines(f"committed {found.commit[:12]}{', pushed' if found.pushed else ''}")
    elif found.pushed:
        print_lines("pushed")
