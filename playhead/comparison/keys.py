"""Keys: what the log says of each row or file of a projection, on disk so that memory stays small."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from playhead.eventlog.lines import decode_line, encode_line
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

_SCHEMA = """
CREATE TABLE keys (
    key BLOB PRIMARY KEY,
    rank TEXT,
    partition INTEGER,
    position TEXT,
    standing BLOB,
    shown TEXT,
    shown_mark BLOB
) WITHOUT ROWID;
CREATE TABLE events (number INTEGER PRIMARY KEY, key BLOB NOT NULL, partition INTEGER NOT NULL, line BLOB NOT NULL);
CREATE INDEX events_of_key ON events (key, number);
"""
_NOTE = """
INSERT INTO keys VALUES (:key, :rank, :partition, :position, :standing, :shown, :shown_mark)
ON CONFLICT (key) DO UPDATE SET
    rank = iif(excluded.rank >= coalesce(rank, ''), excluded.rank, rank),
    partition = iif(excluded.rank >= coalesce(rank, ''), excluded.partition, partition),
    position = iif(excluded.rank >= coalesce(rank, ''), excluded.position, position),
    standing = iif(excluded.rank >= coalesce(rank, ''), excluded.standing, standing),
    shown = iif(excluded.shown >= coalesce(shown, ''), excluded.shown, shown),
    shown_mark = iif(excluded.shown >= coalesce(shown, ''), excluded.shown_mark, shown_mark)
"""


class Noted(msgspec.Struct, frozen=True):
    """An event of the log by its key: whether it took effect before the projection was looked at, and whether it is
    shown. `standing` is the mark of what is shown instead.
    """

    key: str
    rank: str
    mark: str
    position: Position
    is_due: bool
    is_shown: bool
    standing: str | None


class Due(msgspec.Struct, frozen=True):
    """The event that should stand, or a newer one, and does not; `standing` is the mark of what does."""

    key: str
    rank: str
    partition: Partition
    position: Position
    standing: str | None

    @property
    def at(self) -> tuple[Partition, Position]:
        """Where the log has it."""
        return self.partition, self.position


class Keys:
    """The newest event of each key that took effect, and the newest one that is shown; gone when it is closed."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._partitions = partitions
        self._numbers = {partition: number for number, partition in enumerate(partitions)}
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")

    def note(self, partition: Partition, events: Iterable[Noted]) -> None:
        """Take events of a partition."""
        self._database.executemany(_NOTE, (self._row(partition, event) for event in events))

    def lacking(self) -> Iterator[Due]:
        """Events that took effect, of which nothing as new was seen to be shown."""
        found = self._database.execute(
            "SELECT key, rank, partition, position, standing FROM keys"
            " WHERE rank IS NOT NULL AND (shown IS NULL OR shown < rank) ORDER BY key"
        )
        for key, rank, partition, position, standing in found:
            at = self._partitions[int(partition)], Position.parse(position)
            yield Due(_text(key), rank, *at, None if standing is None else _text(standing))

    def shows(self, key: str, mark: str) -> bool:
        """Whether the newest event of a key that was seen to be shown has this mark."""
        found = self._database.execute("SELECT shown_mark FROM keys WHERE key = ?", (_bytes(key),)).fetchone()
        return found is not None and found[0] == _bytes(mark)

    def add(self, key: str, partition: Partition, recorded: Recorded) -> None:
        """Keep an event whole."""
        values = _bytes(key), self._numbers[partition], encode_line(recorded)
        self._database.execute("INSERT INTO events (key, partition, line) VALUES (?, ?, ?)", values)

    def has_events(self, key: str) -> bool:
        """Whether an event of the key was kept."""
        return self._database.execute("SELECT 1 FROM events WHERE key = ?", (_bytes(key),)).fetchone() is not None

    def events(self) -> Iterator[tuple[str, Partition, Recorded]]:
        """The events that were kept, key by key, each key's in the order in which they came."""
        found = self._database.execute("SELECT key, partition, line FROM events ORDER BY key, number")
        for key, partition, line in found:
            yield _text(key), self._partitions[int(partition)], decode_line(line)

    def close(self) -> None:
        """Remove everything."""
        self._database.close()

    def _row(self, partition: Partition, event: Noted) -> dict[str, object]:
        due = event.is_due
        return {
            "key": _bytes(event.key),
            "rank": event.rank if due else None,
            "partition": self._numbers[partition] if due else None,
            "position": str(event.position) if due else None,
            "standing": None if event.standing is None or not due else _bytes(event.standing),
            "shown": event.rank if event.is_shown else None,
            "shown_mark": _bytes(event.mark) if event.is_shown else None,
        }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")
