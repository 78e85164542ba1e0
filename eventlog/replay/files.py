"""Files as a source of events: what a domain gives that imports another program's files."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, Self

import msgspec

from playhead.streams.events import Event
from playhead.streams.storage.file_tree import Skipped

Meaning = Literal["completed", "failed", "unfinished"]
"""What the status of a recorded job may mean; an unfinished one gives no event."""


class Found(msgspec.Struct, frozen=True):
    """An event in a file, by the file's name relative to the directory; `failed` ones are taken only if asked for.

    It is so many bytes from `start` on; the whole file where `length` is None. `former_id` is the id that an earlier
    version gave it, `note` what a person should know of it. An event wrote the file if it is `own`: it has the id.
    """

    name: str
    event_id: str
    type: str
    subject: str
    scraper: str | None
    time: datetime
    failed: bool = False
    start: int = 0
    length: int | None = None
    former_id: str | None = None
    note: str | None = None
    own: bool = False


class NotAnEvent(ValueError):
    """The file holds no event; a summary, for instance."""

    def __init__(self, reason: str, detail: str = "", *, spare: bool = False) -> None:
        super().__init__(reason)
        self.detail, self.spare = detail, spare


class Files(Protocol):
    """Files below one directory."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def names(self, pattern: str | None = None) -> Iterator[str | Skipped]:
        """Their names in a fixed order, relative to the directory."""
        ...

    def examine(self, name: str) -> Iterator[Found | Skipped]:
        """Say what a file holds, without keeping its content."""
        ...

    def event(self, name: str, imported: str | None = None, *, start: int = 0, length: int | None = None) -> Event:
        """Read a file, or a part, as the event that it records; its id is in the file, or follows from the content.

        Raises:
            NotAnEvent: it is some other file.
            InvalidEvent: it cannot be read as an event.
            OSError: it cannot be read.
        """
        ...


class FileSource(Protocol):
    """What reads files as events of one stream. `projection` is the one that writes such files from the events."""

    stream: str
    projection: str

    def default_directory(self) -> Path:
        """Where the files of this installation are.

        Raises:
            InvalidSetting: they are not in a directory.
        """
        ...

    def open(self, directory: Path, statuses: Mapping[str, Meaning]) -> Files:
        """Open the files below a directory; `statuses` says what a status means that is not known otherwise."""
        ...

    def scraper_of(self, data: bytes) -> str | None:
        """The scraper that a payload names."""
        ...
