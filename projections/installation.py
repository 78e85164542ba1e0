"""The id of the installation in the database."""

from contextlib import closing

from playhead.projections.postgres import SQL, Connection, connect

_READ, _WRITE = ((SQL / f"installation_{name}.sql").read_bytes() for name in ("read", "write"))


class DatabaseMark:
    """The id in the table `playhead_installation`, which has one row."""

    title = "the database of DATABASE_URL"

    def __init__(self, database_url: str, schema: str) -> None:
        self._url, self._schema = database_url, schema

    def read(self) -> str | None:
        """The id, None if the database has none, or is not upgraded yet.

        Raises:
            psycopg.Error: it cannot be asked.
        """
        with closing(connect(self._url, "playhead-installation", schema=self._schema)) as connection:
            if not _is_upgraded(connection):
                return None
            found = connection.execute(_READ).fetchone()
            return None if found is None else str(found[0])

    def write(self, installation: str) -> None:
        """Set it, whatever stands there; not in a database that is not upgraded, which no sink opens.

        Raises:
            psycopg.Error: it cannot be written.
        """
        with closing(connect(self._url, "playhead-installation", schema=self._schema)) as connection:
            if _is_upgraded(connection):
                connection.execute(_WRITE, (installation,))


def _is_upgraded(connection: Connection) -> bool:
    row = connection.execute("SELECT to_regclass('playhead_installation') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])
