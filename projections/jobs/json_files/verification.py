"""The JSON files against the log."""

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from playhead.projections.jobs.json_files.documents import STATUSES, Document, make_document, read_event_id
from playhead.projections.jobs.json_files.index import DAILY
from playhead.projections.jobs.json_files.objects import object_name
from playhead.projections.verification import Lack
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.storage.buckets import Bucket
from playhead.streams.storage.directories import opened, read_regular


class JsonFilesVerification:
    """Compares files byte for byte with what the newest event of each job and day writes."""

    def __init__(self, root: Path) -> None:
        self._path = root

    def key(self, recorded: Recorded) -> str | None:
        """The day and the job's id, such as `2025-08-09/17`."""
        document = _document(recorded)
        return None if document is None else _key(document)

    def rank(self, recorded: Recorded) -> str:
        """The order of its events."""
        return str(recorded.order)

    def lacks(self, events: Sequence[Recorded]) -> Iterator[Lack]:
        """Events whose file is not as they would write it."""
        for recorded in events:
            document = _document(recorded)
            if document is None:
                continue
            key, content = _key(document), self._read(document)
            if content == document.content:
                continue
            place = self._place(document)
            if content is None:
                yield Lack("missing", key, recorded, place, "the file is not there")
            elif read_event_id(content) != recorded.event.id:
                yield Lack("stale", key, recorded, place, "the file shows another event")
            else:
                yield Lack("altered", key, recorded, place, "the file was altered")

    def discard(self, lack: Lack) -> None:
        """Remove a file that is wrong, or a replay would take it for written."""
        if lack.kind == "missing":
            return
        document = make_document(lack.recorded)
        with self._root() as root, opened(root, self._folder(document)) as folder:
            os.unlink(document.entry.file, dir_fd=folder)

    def close(self) -> None:
        """Nothing is held."""

    def _place(self, document: Document) -> str:
        return str(self._path / DAILY / document.day / Path(*document.entry.folder) / document.entry.file)

    def _read(self, document: Document) -> bytes | None:
        try:
            with self._root() as root, opened(root, self._folder(document)) as folder:
                return read_regular(document.entry.file, folder)
        except FileNotFoundError:
            return None

    def _folder(self, document: Document) -> tuple[str, ...]:
        return (DAILY, document.day, *document.entry.folder)

    @contextlib.contextmanager
    def _root(self) -> Generator[int]:
        root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)


class JsonObjectsVerification(JsonFilesVerification):
    """The same for the files in a bucket."""

    def __init__(self, location: str) -> None:
        super().__init__(Path())
        self._location, self._bucket = location, Bucket(location)

    def discard(self, lack: Lack) -> None:
        """Remove an object that is wrong."""
        self._bucket.delete(self._name(make_document(lack.recorded)))

    def _place(self, document: Document) -> str:
        return f"{self._location.rstrip('/')}/{self._name(document)}"

    def _read(self, document: Document) -> bytes | None:
        return self._bucket.get(self._name(document))

    def _name(self, document: Document) -> str:
        return object_name(document.day, document.entry)


def _document(recorded: Recorded) -> Document | None:
    """What the event writes, None if nothing."""
    if recorded.event.type not in STATUSES:
        return None
    try:
        return make_document(recorded)
    except InvalidEvent:
        return None


def _key(document: Document) -> str:
    return f"{document.day}/{document.entry.job_id}"
