"""Chosen files: which files a run takes, in order of event time and id, on disk so that memory stays small."""

import os
import sqlite3
from collections.abc import Iterator

from playhead.eventlog.replay.files import Found
from playhead.streams.events import format_time

_SCHEMA = """
CREATE TABLE chosen (id TEXT PRIMARY KEY, time TEXT NOT NULL, name BLOB NOT NULL, known INTEGER NOT NULL DEFAULT 0)
WITHOUT ROWID
"""


class ChosenFiles:
    """Files by event id; known are those whose event the log has. The database goes with the object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(_SCHEMA)
        self._database.execute("BEGIN")

    def __len__(self) -> int:
        return self._count("SELECT count(*) FROM chosen")

    @property
    def known(self) -> int:
        return self._count("SELECT count(*) FROM chosen WHERE known")

    def add(self, found: Found) -> bool:
        """Take a file; False if another one with the same event was taken before."""
        values = (found.event_id, format_time(found.time), os.fsencode(found.name))
        return bool(self._database.execute("INSERT OR IGNORE INTO chosen VALUES (?, ?, ?, 0)", values).rowcount)

    def has(self, event_id: str) -> bool:
        """Whether a file of this event was taken."""
        return self._database.execute("SELECT 1 FROM chosen WHERE id = ?", (event_id,)).fetchone() is not None

    def is_known(self, event_id: str) -> bool:
        """Whether the log has the event of a file that was taken."""
        return self._database.execute("SELECT 1 FROM chosen WHERE id = ? AND known", (event_id,)).fetchone() is not None

    def mark_known(self, event_id: str) -> None:
        """Note that the log has the event."""
        self._database.execute("UPDATE chosen SET known = 1 WHERE id = ?", (event_id,))

    def new(self) -> Iterator[tuple[str, str]]:
        """Event id and file name of what the log does not have, in order."""
        found = self._database.execute("SELECT id, name FROM chosen WHERE NOT known ORDER BY time, id")
        return ((event_id, os.fsdecode(name)) for event_id, name in found)

    def _count(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])
