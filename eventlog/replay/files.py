"""Files as a source of events: what a domain gives that imports another program's files."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

import msgspec

from playhead.streams.events import Event
from playhead.streams.storage.file_tree import Skipped


class Found(msgspec.Struct, frozen=True):
    """A file that holds an event, by its name relative to the directory; `failed` ones are taken only if asked for."""

    name: str
    event_id: str
    type: str
    subject: str
    scraper: str | None
    time: datetime
    failed: bool = False


class NotAnEvent(ValueError):
    """The file holds no event; a summary, for instance."""


class Files(Protocol):
    """Files below one directory."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def names(self, pattern: str | None = None) -> Iterator[str | Skipped]:
        """Their names in a fixed order, relative to the directory."""
        ...

    def examine(self, name: str) -> Found | Skipped:
        """Say what a file holds, without keeping its content."""
        ...

    def event(self, name: str, imported: str | None = None) -> Event:
        """Read a file as the event that it records; its id is in the file, or follows from the content.

        Raises:
            NotAnEvent: it is some other file.
            InvalidEvent: it cannot be read as an event.
            OSError: it cannot be read.
        """
        ...


class FileSource(Protocol):
    """What reads files as events of one stream."""

    stream: str

    def default_directory(self) -> Path:
        """Where the files of this installation are.

        Raises:
            InvalidSetting: they are not in a directory.
        """
        ...

    def open(self, directory: Path) -> Files:
        """Open the files below a directory."""
        ...

    def scraper_of(self, data: bytes) -> str | None:
        """The scraper that a payload names."""
        ...
