"""Chosen files: which events of files a run takes, in order of time and id, on disk so that memory stays small."""

import os
import sqlite3
import weakref
from collections.abc import Iterator

import msgspec

from playhead.eventlog.replay.files import Found
from playhead.streams.events import format_time

_SCHEMA = """
CREATE TABLE chosen (
    id TEXT PRIMARY KEY,
    time TEXT NOT NULL,
    name BLOB NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER,
    former TEXT,
    own INTEGER NOT NULL,
    known INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX former ON chosen (former) WHERE former IS NOT NULL;
"""


class Chosen(msgspec.Struct, frozen=True):
    """An event of a file, and which part of the file it is."""

    event_id: str
    name: str
    start: int
    length: int | None
    own: bool


class ChosenFiles:
    """Events of files by id; known are those that the log has. The database goes with the object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._database.close)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def __len__(self) -> int:
        return self._count("SELECT count(*) FROM chosen")

    @property
    def known(self) -> int:
        return self._count("SELECT count(*) FROM chosen WHERE known")

    def add(self, found: Found) -> bool:
        """Take an event; False if the same one of another file was taken before."""
        place = os.fsencode(found.name), found.start, found.length
        values = (found.event_id, format_time(found.time), *place, found.former_id, found.own)
        statement = "INSERT OR IGNORE INTO chosen VALUES (?, ?, ?, ?, ?, ?, ?, 0)"
        return bool(self._database.execute(statement, values).rowcount)

    def has(self, event_id: str) -> bool:
        """Whether an event was taken, by its id or its former one."""
        return self._any("SELECT 1 FROM chosen WHERE id = ?1 OR former = ?1", event_id)

    def is_known(self, event_id: str) -> bool:
        """Whether the log has an event that was taken."""
        return self._any("SELECT 1 FROM chosen WHERE (id = ?1 OR former = ?1) AND known", event_id)

    def mark_known(self, event_id: str) -> None:
        """Note that the log has the event."""
        self._database.execute("UPDATE chosen SET known = 1 WHERE id = ?1 OR former = ?1", (event_id,))

    def new(self) -> Iterator[Chosen]:
        """What the log does not have, in order."""
        found = self._database.execute(
            "SELECT id, name, start, length, own FROM chosen WHERE NOT known ORDER BY time, id"
        )
        return (
            Chosen(event_id, os.fsdecode(name), start, length, bool(own))
            for event_id, name, start, length, own in found
        )

    def _any(self, query: str, event_id: str) -> bool:
        return self._database.execute(query, (event_id,)).fetchone() is not None

    def _count(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])
