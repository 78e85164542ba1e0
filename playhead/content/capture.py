"""`playhead capture`: scraped content from files, from stdin, or from a recorder's content store."""

import hashlib
import os
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from playhead.commands.spool import IN_SPOOL, open_producer
from playhead.eventlog.reader import read
from playhead.eventlog.replay.replay import new_run
from playhead.settings.settings import Settings, load
from playhead.streams import telemetry
from playhead.streams.appending.producer import Producer
from playhead.streams.content.events import capture_event
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Event
from playhead.streams.members import without_mark
from playhead.streams.names import TRACER
from playhead.streams.storage.blobs import Blobs
from playhead.streams.storage.claims import INLINE_LIMIT
from playhead.streams.storage.file_tree import HIDDEN, OTHER_NAME, FileTree, Skipped, shown
from playhead.terminal import diagnostics
from playhead.terminal.exit_codes import DONE, FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_json_line, print_lines, say
from playhead.terminal.progress import Progress

_NAMESPACE = uuid.UUID("0d3a4f0e-2b0c-5a7e-9d4b-6a3c1f5e8b21")
_BATCH = 100
_STDIN = Path("-")
_CONTENT = "content"
"""The directory of a content store that holds the contents."""


class CaptureShown(msgspec.Struct, frozen=True):
    """A capture that is on disk; `stored` says where its content is, the position is null while it is in the spool."""

    file: str
    id: str
    sha256: str
    size: int
    stored: str
    position: str | None


class ImportShown(msgspec.Struct, frozen=True):
    """What became of the contents of a store; `known` were captured before, `skipped` is what no content belongs to."""

    read: int
    captured: int
    known: int
    refused: int
    skipped: int


class _Record(msgspec.Struct, frozen=True):
    """A file of a content store."""

    content: str
    metadata: dict[str, object] = {}
    timestamp: str | None = None


def capture(
    path: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    source_url: str | None = None,
    scraper: str | None = None,
    metadata: str | None = None,
    time: str | None = None,
    id: str | None = None,
    content_store: Path | None = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Record scraped content: a file, stdin as -, or each file below a directory.

    Prints the position of each. Content above 256 KiB goes to PLAYHEAD_BLOB_DIR first. Hidden files and links in a
    directory are omitted. Exit code 1 if a file cannot be read; the rest is captured.

    Args:
        path: A file, a directory, or - for stdin.
        source_url: Where the content was found.
        scraper: The scraper that found it.
        metadata: A JSON object with anything else about the content.
        time: When it was captured, RFC 3339; now if omitted.
        id: The id of one capture; the same id again adds nothing. Generated if omitted.
        content_store: Instead of PATH, import a recorder's content store; idempotent.

    Example:
        playhead capture page.html --source-url https://example.org --scraper city
        playhead capture --content-store content_store
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    telemetry.set_up(f"{TRACER}-capture")
    if (path is None) == (content_store is None):
        raise InvalidSetting("name a file, a directory or -, or a --content-store")
    if content_store is not None:
        if any(given is not None for given in (source_url, scraper, metadata, time, id)):
            raise InvalidSetting("--content-store takes no options about its contents; omit the other options")
        return _import(content_store, settings, json=json)
    assert path is not None, "or the content store is given"
    if str(path).startswith("-") and path != _STDIN:
        raise InvalidSetting(f"unknown option {path}; for a file of that name, write ./{path}")
    if id is not None and path.is_dir():
        raise InvalidSetting("--id is for one file, and a directory has many")
    described = _described(metadata)
    blobs = Blobs(settings.blob_dir)
    below = _Directory(path) if path.is_dir() else None
    with open_producer(settings) as producer, nullcontext() if below is None else below:
        for file, content in _contents(path) if below is None else below:
            event = capture_event(
                content,
                source_url,
                described if below is None else {"file": file} | described,
                blobs=blobs,
                scraper_id=scraper,
                id=id,
                time=time,
            )
            position = producer.append_events([event])[0]
            if below is not None:
                below.captured += 1
            stored = "blob" if len(content) > INLINE_LIMIT else "event"
            sha256 = hashlib.sha256(content).hexdigest()
            about = CaptureShown(file or "-", event.id, sha256, len(content), stored, position and str(position))
            if json:
                print_json_line(about)
            else:
                print_lines(about.position or IN_SPOOL)
            sys.stdout.flush()
    return FAILED if below is not None and below.unreadable else DONE


def _described(metadata: str | None) -> dict[str, object]:
    if metadata is None:
        return {}
    try:
        return msgspec.json.decode(metadata, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise InvalidSetting(f"--metadata is not a JSON object: {error}") from error


def _contents(path: Path) -> Iterator[tuple[str | None, bytes]]:
    if path == _STDIN:
        yield None, sys.stdin.buffer.read()
    else:
        yield shown(str(path)), path.read_bytes()


class _Directory:
    """The contents of the files below a directory, in the order of their names.

    As a context manager it says at the end how many were captured, also where an error or a closed pipe ends it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left_out = 0
        self.captured = self.unreadable = 0

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        left_out = f", {self._left_out} skipped (hidden, a link, or not a file)" if self._left_out else ""
        unreadable = f", {self.unreadable} not readable" if self.unreadable else ""
        ended = "" if kind is None else "; ended before the last file"
        say(f"{self.captured} captured{left_out}{unreadable}{ended}")

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for directory, below, files in os.walk(self._path, onerror=self._name):
            names = sorted(
                name for name in below if not name.startswith(".") and not Path(directory, name).is_symlink()
            )
            self._left_out += len(below) - len(names)
            below[:] = names
            for name in sorted(files):
                file = Path(directory, name)
                try:
                    if name.startswith(".") or not stat.S_ISREG(file.lstat().st_mode):
                        self._left_out += 1
                        continue
                    content = file.read_bytes()
                except OSError as error:
                    self._name(error)
                    continue
                yield shown(str(file.relative_to(self._path))), content

    def _name(self, error: OSError) -> None:
        say(f"{shown(str(error.filename))}: {error.strerror}")
        self.unreadable += 1


def _import(directory: Path, settings: Settings, *, json: bool) -> int:
    if not any(_CONTENT in below for _, below, _ in os.walk(directory)):
        raise InvalidSetting(f"{directory} is not a content store: there is no directory `{_CONTENT}` in it or below")
    log = settings.event_log_dir
    known = {recorded.event.id for _, recorded in read(log, streams=["content"])} if log.is_dir() else set[str]()
    found = {"read": 0, "captured": 0, "known": 0, "refused": 0, "skipped": 0}
    with FileTree(directory) as files, open_producer(settings) as producer, Progress("importing") as progress:
        events = _stored(files, Blobs(settings.blob_dir), known, found)
        try:
            while batch := list(islice(events, _BATCH)):
                _append(producer, batch, found)
                progress.advanced(len(batch))
        except BaseException:
            say(f"{found['captured']} captured; ended before the last one")
            raise
    shown_ = ImportShown(**found)
    if json:
        print_json(shown_)
    else:
        skipped = f", {shown_.skipped} skipped (not in a store)" if shown_.skipped else ""
        counts = f"{shown_.captured} captured, {shown_.known} known, {shown_.refused} refused"
        print_lines(f"{shown_.read} read, {counts}{skipped}")
    return FAILED if shown_.refused else DONE


def _append(producer: Producer, events: list[Event], found: dict[str, int]) -> None:
    producer.append_events(events)
    found["captured"] += len(events)


def _stored(files: FileTree, blobs: Blobs, known: set[str], found: dict[str, int]) -> Iterator[Event]:
    run = new_run()
    for name in files.names():
        if isinstance(name, Skipped):
            if name.spare or name.reason in {HIDDEN, OTHER_NAME}:
                found["skipped"] += 1
            else:
                say(f"{shown(name.name)}: {name.reason}")
                found["refused"] += 1
            continue
        if _CONTENT not in name.split("/")[:-1]:
            found["skipped"] += 1
            continue
        found["read"] += 1
        try:
            event = _event(files.content(name), name, blobs, run, known)
        except (InvalidEvent, OSError) as error:
            say(f"{shown(name)}: {error}")
            found["refused"] += 1
            continue
        if event is None:
            found["known"] += 1
        else:
            yield event


def _event(data: bytes, name: str, blobs: Blobs, run: str, known: set[str]) -> Event | None:
    """The capture that a file of a store records; its id follows from the file, so that recording it is idempotent."""
    try:
        record = msgspec.json.decode(without_mark(data), type=_Record)
        raw = record.content.encode()
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidEvent("file", f"is not stored content: {error}") from error
    sha256 = Path(name).stem
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise InvalidEvent("file", "its content does not match the SHA-256 in its name")
    described = msgspec.json.encode([record.metadata, record.timestamp], order="sorted").decode()
    id = str(uuid.uuid5(_NAMESPACE, f"{sha256} {described}"))
    if id in known:
        return None
    url = record.metadata.get("source_url")
    return capture_event(
        raw,
        url if isinstance(url, str) else None,
        record.metadata,
        blobs=blobs,
        id=id,
        time=record.timestamp,
        imported=run,
    )
