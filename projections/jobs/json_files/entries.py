"""What stands in the days that are in use: on disk, so that a day may have any number of jobs."""

import contextlib
import errno
import os
import secrets
import sqlite3
import weakref
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from playhead.projections.encoding import decode
from playhead.projections.jobs.json_files.summaries import UNKNOWN, Entry, make_line, summary_pieces

SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -4096;
CREATE TABLE entries (
    day TEXT, job BLOB, moment BLOB, scraper BLOB, escaped INTEGER, text BLOB,
    PRIMARY KEY (day, job)
);
BEGIN
"""
_FIND = "SELECT text, scraper FROM entries WHERE day = ? AND job IN ({})"
_AT_ONCE = 500
"""Jobs that are looked for at once; SQLite takes 32,766 values."""
_PUT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)"
_SCRAPERS = """
SELECT coalesce(scraper, ?), count(*), min(moment), max(moment), max(escaped) FROM entries WHERE day = ? GROUP BY 1
"""
_IN_ORDER = "SELECT text FROM entries WHERE day = ? ORDER BY moment, job"
_ALL = "SELECT text, scraper FROM entries WHERE day = ?"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Entries:
    """Entries by day and job, in a database in a directory that has no name there and ends with the process.

    It is never what counts: a day is read from its summary and the journal.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: sqlite3.Connection | None = None
        self.failed = False
        """Whether something may be missing since the disk failed."""

    def find(self, day: str, job_ids: Iterable[str]) -> dict[str, Entry]:
        """The entries of jobs, as far as there are some."""
        wanted = iter(map(_bytes, job_ids))
        found: list[Entry] = []
        with self._database() as database:
            while some := list(islice(wanted, _AT_ONCE)):
                places = ",".join("?" * len(some))
                rows = database.execute(_FIND.format(places), (day, *some))
                found += [_entry(*row) for row in rows]
        return {entry.job_id: entry for entry in found}

    def put(self, day: str, entries: Iterable[Entry]) -> None:
        """Take entries up, in place of the jobs' former ones."""
        with self._database() as database:
            database.executemany(_PUT, (_row(day, entry) for entry in entries))

    def put_newer(self, day: str, entries: Iterable[Entry]) -> None:
        """Take entries up but for jobs that have a newer one."""
        coming = iter(entries)
        while some := list(islice(coming, _AT_ONCE)):
            known = self.find(day, [entry.job_id for entry in some])
            self.put(day, [one for one in some if one.job_id not in known or known[one.job_id].order <= one.order])

    def remove(self, day: str, job_ids: Iterable[str]) -> None:
        """Drop entries of jobs."""
        with self._database() as database:
            rows = ((day, _bytes(job_id)) for job_id in job_ids)
            database.executemany("DELETE FROM entries WHERE day = ? AND job = ?", rows)

    def forget(self, day: str) -> None:
        """Drop a day."""
        with self._database() as database:
            database.execute("DELETE FROM entries WHERE day = ?", (day,))

    def has_any(self, day: str) -> bool:
        """Whether a day has entries."""
        with self._database() as database:
            return database.execute("SELECT 1 FROM entries WHERE day = ? LIMIT 1", (day,)).fetchone() is not None

    def of(self, day: str) -> Iterator[Entry]:
        """The entries of a day."""
        with self._database() as database:
            for text, scraper in database.execute(_ALL, (day,)):
                yield _entry(text, scraper)

    def summary(self, day: str) -> Iterator[bytes]:
        """The day's summary.json, piece by piece: the bytes of `encode_summary`."""
        with self._database() as database:
            found = database.execute(_SCRAPERS, (UNKNOWN.encode(), day)).fetchall()
            plain = not any(escaped for *_, escaped in found)
            scrapers = {_text(name): (count, _text(first), _text(last)) for name, count, first, last, _ in found}
            lines = (text for (text,) in database.execute(_IN_ORDER, (day,)))
            yield from summary_pieces(day, scrapers, lines, plain=plain)

    def close(self) -> None:
        """Remove everything."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None
        self.failed = False

    @contextlib.contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        """The database, made when it is first needed.

        Raises:
            OSError: the disk is full, or cannot be read.
        """
        try:
            if self._opened is None:
                self._opened = self._make()
            yield self._opened
        except sqlite3.Error as error:
            self.failed = True
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL if hasattr(error, "sqlite_errorcode") else False
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, f"the index of the days: {error}", str(self._directory)) from error

    def _make(self) -> sqlite3.Connection:
        """A file that only this process knows. Nobody can plant a link in its place, as its name cannot be guessed."""
        path = self._directory.absolute() / f"index.{secrets.token_hex(16)}"
        os.close(os.open(path, _FLAGS, 0o600))
        try:
            uri = f"{path.as_uri()}?mode=rw&nolock=1"
            database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        finally:
            path.unlink(missing_ok=True)
        try:
            database.executescript(SCHEMA)
        except BaseException:
            database.close()
            raise
        weakref.finalize(self, database.close)
        return database


def _row(day: str, entry: Entry) -> tuple[object, ...]:
    line, scraper = make_line(entry), entry.scraper_id
    marks = _bytes(entry.job_id), _bytes(entry.timestamp), None if scraper is None else _bytes(scraper)
    return day, *marks, line.escaped, line.text


def _entry(text: bytes, scraper: bytes | None) -> Entry:
    return msgspec.structs.replace(decode(text, Entry), scraper_id=None if scraper is None else _text(scraper))


def _bytes(text: str) -> bytes:
    """Sorts as the text does, also with lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")
