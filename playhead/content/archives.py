"""`playhead archives`: what the projection `archives` keeps."""

from collections.abc import Iterator
from contextlib import suppress

import msgspec
from cyclopts import App

from playhead.content.domain import ARCHIVE_DIR
from playhead.eventlog.reader import read
from playhead.projections.content.archive import (
    Named,
    archive_name,
    check_archive,
    parse_name,
    read_archive,
)
from playhead.projections.content.captured import Check, decode_captured
from playhead.projections.content.errors import ArchiveAltered
from playhead.settings.settings import Settings, load
from playhead.streams.content.events import CAPTURED
from playhead.streams.errors import BlobAltered, BlobMissing, InvalidEvent, InvalidSetting
from playhead.streams.events import format_time
from playhead.streams.storage.blobs import Blobs
from playhead.streams.storage.objects import Objects
from playhead.terminal.exit_codes import CORRUPT, DONE, FAILED
from playhead.terminal.options import DataDir, Json, moment
from playhead.terminal.output import counted, print_json, print_lines, print_table, say, write
from playhead.terminal.progress import Progress

archives_app = App(name="archives", help="List, show and verify archives of captured content.")


class ArchiveShown(msgspec.Struct, frozen=True):
    """An archive as its name tells of it; the scraper is null if its id is too long for a name."""

    name: str
    captured_at: str
    scraper_id: str | None
    bytes: int


class Fault(msgspec.Struct, frozen=True):
    """Something wrong: an archive that is `altered`, `misnamed` or `missing`, or a `blob`."""

    kind: str
    name: str
    problem: str


class Verified(msgspec.Struct, frozen=True):
    """How many archives there are, and every fault."""

    archives: int
    faults: list[Fault]


@archives_app.command(name="list")
def list_archives(
    *,
    scraper: str | None = None,
    since: str | None = None,
    until: str | None = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List archives by time, with their scrapers and sizes.

    Args:
        scraper: Only those of this scraper.
        since: Only captures of this time or later, such as 2025-08-09, 2025-08-09T06:30:00Z or '2 hours ago'.
        until: Only captures before this time.

    Example:
        playhead archives list --scraper city_list --since 2025-08-09
    """
    first, end = moment("--since", since), moment("--until", until)
    found = [
        ArchiveShown(name, format_time(named.moment), named.scraper_id, size)
        for name, named, size in _listed(Objects(load(data_dir)[ARCHIVE_DIR]))
        if scraper in {None, named.scraper_id}
        and (first is None or named.moment >= first)
        and (end is None or named.moment < end)
    ]
    if json:
        print_json(found)
        return
    print_table(
        ("CAPTURED", "SCRAPER", "BYTES", "NAME"),
        [(one.captured_at[:19], one.scraper_id or "-", one.bytes, one.name) for one in found],
    )
    print_lines(f"{counted(len(found), 'archive')}, {counted(sum(one.bytes for one in found), 'byte')}")


@archives_app.command
def show(name: str, /, *, content: bool = False, data_dir: DataDir = None, json: Json = False) -> int:
    """Print the metadata of an archive, or its content; exit code 4 if it was altered.

    Args:
        name: The archive, as `playhead archives list` prints it.
        content: Print the content, as it was captured.

    Example:
        playhead archives show 20250809_063658_city.6f0f60b3c6f1.tar.gz --content
    """
    if content and json:
        raise InvalidSetting("--content prints the content as it was captured: omit --json")
    parts = Objects(load(data_dir)[ARCHIVE_DIR]).parts(name) if parse_name(name) else None
    if parts is None:
        say(f"there is no archive {name}; see `playhead archives list`")
        return FAILED
    try:
        archive = read_archive(parts) if content else check_archive(parts)
    except ArchiveAltered as error:
        say(f"{name}: {error}; delete it and replay its event")
        return CORRUPT
    if content:
        write([archive.content], is_json=False)
    elif json:
        print_json(archive.metadata)
    else:
        for member, value in archive.metadata.items():
            print_lines(f"{member}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}")
    return DONE


@archives_app.command
def verify(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Unpack and check every archive, and compare them with the log; exit code 4 if there is a fault.

    If the log is on this machine, each captured event must have its archive, and each blob its content.

    Example:
        playhead archives verify
    """
    settings = load(data_dir)
    objects = Objects(settings[ARCHIVE_DIR])
    names: set[str] = set()
    faults: list[Fault] = []
    with Progress("listing archives") as progress:
        listed = _listed(objects)
        progress.begin("checking archives", len(listed))
        for name, _, _ in listed:
            names.add(name)
            faults += _examine(objects, name)
            progress.advanced()
        if settings.event_log_dir.is_dir():
            progress.begin("comparing with the log")
            faults += _compare(settings, names)
        elif objects.directory is not None and not objects.directory.is_dir():
            raise InvalidSetting(
                f"there are no archives in {settings[ARCHIVE_DIR]} and no event log in {settings.event_log_dir}:"
                " pass --data-dir, or set ARCHIVE_DIR"
            )
        else:
            progress.say(f"there is no event log in {settings.event_log_dir}, so missing archives are not found")
    if json:
        print_json(Verified(len(names), faults))
    else:
        for fault in faults:
            print_lines(f"{fault.kind}  {fault.name}: {fault.problem}")
        print_lines(f"{counted(len(names), 'archive')}, {counted(len(faults), 'fault')}")
    return CORRUPT if faults else DONE


def _listed(objects: Objects) -> list[tuple[str, Named, int]]:
    found = ((one.name, parse_name(one.name), one.size) for one in objects.list())
    return sorted((name, named, size) for name, named, size in found if named is not None)


def _examine(objects: Objects, name: str) -> Iterator[Fault]:
    parts = objects.parts(name)
    if parts is None:  # deleted while we looked
        return
    try:
        archive = check_archive(parts)
    except ArchiveAltered as error:
        yield Fault("altered", name, str(error))
        return
    if archive.name != name:
        yield Fault("misnamed", name, f"what it holds belongs to {archive.name}")


def _compare(settings: Settings, names: set[str]) -> Iterator[Fault]:
    """What the log has and the archives lack. An event that is no capture is parked, and shown there."""
    blobs = Blobs(settings.blob_dir)
    checked: set[str] = set()
    for _, recorded in read(settings.event_log_dir, types=[CAPTURED]):
        with suppress(InvalidEvent):
            captured = decode_captured(recorded.event)
            name = archive_name(recorded.event.id, captured)
            if name not in names:
                yield Fault("missing", name, "replay it: `playhead replay --log --to archives`")
            if isinstance(captured.content, Check) and captured.content.sha256 not in checked:
                checked.add(captured.content.sha256)
                try:
                    blobs.check(captured.content.sha256, captured.content.size)
                except (BlobMissing, BlobAltered) as error:
                    yield Fault("blob", captured.content.sha256, str(error))
