"""The archives against the log."""

import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from playhead.projections.content.archive import archive_name, check_archive, describe, read_archive
from playhead.projections.content.captured import Captured, Check, decode_captured
from playhead.projections.content.errors import ArchiveAltered
from playhead.projections.encoding import decode
from playhead.projections.verification import Held, Lack, Remark, Stray
from playhead.streams.content.events import CAPTURED
from playhead.streams.errors import BlobAltered, BlobMissing, InvalidEvent
from playhead.streams.events import Event, Recorded
from playhead.streams.storage.blobs import Blobs, blob_name
from playhead.streams.storage.objects import Objects

_DIGITS = 100
"""Bytes by which the size and encoding of a content can make its metadata larger."""


class ArchivesVerification:
    """Compares what each archive holds with what its event writes, and the blobs that events have claim checks for."""

    compares = "archives by content and metadata, blobs by SHA-256 and size; what is of no event"
    unlogged = "append the event again, or restore the log from a backup"

    def __init__(self, destination: Path | str, blobs: Path | str) -> None:
        self._objects, self._blobs = Objects(destination), Blobs(blobs)
        self._seen = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._seen.close)
        self._seen.executescript("CREATE TABLE seen (name BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN")

    def key(self, recorded: Recorded) -> str | None:
        """The event's id: every capture has an archive of its own."""
        return recorded.event.id if recorded.event.type == CAPTURED else None

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def mark(self, recorded: Recorded) -> str:
        """The event's id, which the name of an archive follows from."""
        return recorded.event.id

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Captures whose archive or blob is not there, or holds something else.

        Raises:
            StoreUnavailable: the bucket cannot be asked.
        """
        for recorded in events:
            key = self.key(recorded)
            if key is None:
                continue
            try:
                captured = decode_captured(recorded.event)
            except InvalidEvent:
                continue
            name = archive_name(recorded.event.id, captured)
            self._note(name)
            lack = partial(Lack, key=key, recorded=recorded, place=self._objects.url(name))
            blob = self._blob_fault(captured)
            parts = None if self._objects.size(name) is None else self._objects.parts(name)
            problem = "the archive is not there" if parts is None else _problem(recorded.event, captured, parts)
            if problem is not None:
                kind, mark = ("missing", None) if parts is None else ("altered", key)
                if blob is None:
                    yield lack(kind, problem=problem, standing=mark)
                else:
                    yield lack(kind, problem=f"{problem}, nor can it be made: {blob}", repair="none", standing=mark)
            elif isinstance(captured.content, Check) and blob is not None:
                place = self._blobs.objects.url(blob_name(captured.content.sha256))
                kind = "missing" if isinstance(blob, BlobMissing) else "altered"
                yield lack(kind, place=place, problem=str(blob), repair="none", standing=key)

    def held(self) -> Iterator[Held | Stray | Remark]:
        """Every archive that no event gave, with the event that it says it is of; how many blobs are of no event."""
        for one in self._objects.list():
            if not self._has_seen(one.name):
                yield from self._of_archive(one.name)
        spare = sum(not self._has_seen(one.name) for one in self._blobs.objects.list())
        if spare:
            yield Remark(f"{spare} of the blobs are of no event of the log")

    def _of_archive(self, name: str) -> Iterator[Held | Stray]:
        place = self._objects.url(name)
        parts = self._objects.parts(name)
        if parts is None:
            return  # it was there a moment ago
        try:
            event_id = check_archive(parts).metadata["event_id"]
        except (ArchiveAltered, KeyError):
            event_id = None
        if isinstance(event_id, str):
            yield Held(event_id, event_id, place)
        else:
            yield Stray(name, place, "no event wrote this file; move it away if nobody needs it")

    def _blob_fault(self, captured: Captured) -> BlobMissing | BlobAltered | None:
        """What is wrong with the blob of a claim check; each is looked at once, as long as it is well."""
        check = captured.content
        if not isinstance(check, Check) or self._has_seen(f"{check.size}/{check.sha256}"):
            return None
        directory, place = self._blobs.objects.directory, self._blobs.objects.url(blob_name(check.sha256))
        if directory is not None and not directory.is_dir():
            return BlobMissing(check.sha256, place)
        try:
            self._blobs.check(check.sha256, check.size)
        except InvalidEvent:
            return None  # parked, and shown there
        except (BlobMissing, BlobAltered) as error:
            return error
        self._note(blob_name(check.sha256))
        self._note(f"{check.size}/{check.sha256}")
        return None

    def _note(self, name: str) -> None:
        self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_bytes(name),))

    def _has_seen(self, name: str) -> bool:
        return self._seen.execute("SELECT 1 FROM seen WHERE name = ?", (_bytes(name),)).fetchone() is not None

    def discard(self, lack: Lack) -> bool:  # noqa: ARG002  # as in the protocol
        """Nothing: a replay writes over what is there, the bytes that follow from the event."""
        return True

    def close(self) -> None:
        """Forget what was seen."""
        self._seen.close()


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _problem(event: Event, captured: Captured, parts: Iterator[bytes]) -> str | None:
    most = len(describe(event, captured, b"")) + _DIGITS
    try:
        archive = read_archive(parts, limit=captured.size, metadata_limit=most)
    except ArchiveAltered as error:
        return str(error)
    expected = decode(describe(event, captured, archive.content), dict[str, object])
    fits = captured.fits(archive.content) and archive.metadata == expected
    return None if fits else "it holds something else than its event"
