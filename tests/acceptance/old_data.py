"""A data directory as version 0.1.0 left it: tests/fixtures/version-0.1.0/README.md says what is in it."""

import json
import os
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import zstandard
from psycopg.sql import SQL, Identifier
from redis import Redis

from playhead.embedded.servers import Servers, embedded_servers, running_servers
from playhead.streams.appending.appender import DEFAULT_WINDOW
from playhead.streams.positions import Position

FIXTURE = Path(__file__).parents[1] / "fixtures" / "version-0.1.0"
DERIVED = ("outputs", "archives", "blobs", "recordings")


class Held(msgspec.Struct, frozen=True):
    """What a data directory holds, as sets: files of the projections, lines of the event log, rows of the database.

    Symbolic links are files that hold their target. Rows are text, of the tables and in the columns of version 0.1.0.
    """

    files: frozenset[tuple[str, bytes]]
    lines: frozenset[bytes]
    rows: frozenset[tuple[str | None, ...]]

    def __sub__(self, other: "Held") -> "Held":
        return Held(self.files - other.files, self.lines - other.lines, self.rows - other.rows)


NOTHING = Held(frozenset(), frozenset(), frozenset())


class OldData:
    """Restores the directory, and keeps what the old version left.

    `left` is what it held, `sealed` the sealed segments of its log, `positions` how far each consumer had come, and
    `parked` the fields of each parked entry.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for part in sorted(FIXTURE.glob("*.tar.xz")):
            with tarfile.open(part) as archive:
                archive.extractall(directory, filter="tar")
        keys = [json.loads(line) for line in (FIXTURE / "redis.jsonl").read_text().splitlines()]
        with embedded_servers(directory) as servers:
            with Redis.from_url(servers.redis_url) as client:
                restore_redis(client, keys)
            with psycopg.connect(servers.database_url) as connection:
                connection.execute((FIXTURE / "database.sql").read_bytes())
            self._columns = read_columns(servers.database_url)
            self.left = self._read(servers)
            self.sealed = self.read_sealed()
            self.positions = read_positions(servers)
        self.parked = [
            {"consumer": key["key"].rpartition(":")[2], "id": id_, **fields}
            for key in keys
            if ":parked:" in key["key"]
            for id_, fields in key["entries"]
        ]

    def read(self) -> Held:
        return self._read(running_servers(self.directory))

    def read_sealed(self) -> frozenset[tuple[str, bytes]]:
        """Segments that never change again, with their manifests; the log seals others once they are a day old."""
        log = self.directory / "eventlog"
        paths = [*log.rglob("*.jsonl.zst"), *log.rglob("*.manifest.json")]
        return frozenset((str(path), path.read_bytes()) for path in paths)

    def read_positions(self) -> dict[tuple[str, ...], Position]:
        return read_positions(running_servers(self.directory))

    def _read(self, servers: Servers) -> Held:
        return Held(
            files=frozenset(read_files(self.directory)),
            lines=frozenset(read_lines(self.directory / "eventlog")),
            rows=frozenset(read_rows(servers.database_url, self._columns)),
        )


def restore_redis(client: Redis, keys: Sequence[dict[str, Any]]) -> None:
    """Write each key by the commands of its type.

    The hashes of event ids are moved to the present: they count whole days, and an upgrade takes minutes.
    """
    days = [int(key["value"][""]) for key in keys if is_memory(key)]
    shift = int(time.time()) // DEFAULT_WINDOW - max(days)
    for key in keys:
        name, value = key["key"], key.get("value")
        if is_memory(key):
            day = int(value[""]) + shift
            name, value = f"{name[:-1]}{day % 2}", value | {"": str(day)}
        match key["type"]:
            case "stream":
                restore_stream(client, key)
            case "hash":
                client.hset(name, mapping=value)
            case "string":
                client.set(name, value)
            case kind:
                raise AssertionError(f"{name} is a {kind}, which nothing here restores")
        if key["expires_in"] is not None:
            client.expire(name, key["expires_in"])


def is_memory(key: Mapping[str, Any]) -> bool:
    return key["key"].endswith((":ids:0", ":ids:1"))


def restore_stream(client: Redis, key: Mapping[str, Any]) -> None:
    name = key["key"]
    for group, position in key["groups"].items():
        client.xgroup_create(name, group, position, mkstream=True)
    for id_, fields in key["entries"]:
        client.xadd(name, fields, id_)
    client.execute_command("XSETID", name, key["last"], "ENTRIESADDED", key["added"], "MAXDELETEDID", key["deleted"])


def read_files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Files and links by their names below the directory; what starts with a dot is the writers' own."""
    for part in DERIVED:
        for path in (directory / part).rglob("*"):
            name = path.relative_to(directory)
            if path.is_symlink():
                yield str(name), os.fsencode(path.readlink())
            elif path.is_file() and not any(each.startswith(".") for each in name.parts):
                yield str(name), path.read_bytes()


def read_lines(log: Path) -> Iterator[bytes]:
    """Lines of plain segments, then of sealed ones: a segment that is sealed meanwhile is read once at least."""
    for path in log.rglob("*.jsonl"):
        with suppress(FileNotFoundError):
            yield from path.read_bytes().splitlines()
    for path in log.rglob("*.jsonl.zst"):
        with zstandard.open(path) as lines:
            yield from lines.read().splitlines()


def read_rows(database_url: str, columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[str | None, ...]]:
    """Each row, after the name of its table."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone TO 'UTC'")
        for table, names in columns.items():
            values = SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in names)
            for row in connection.execute(SQL("SELECT {} FROM {}").format(values, Identifier(table))):
                yield table, *row


def read_positions(servers: Servers) -> dict[tuple[str, ...], Position]:
    """How far each group has come in Redis, and each checkpoint in Postgres."""
    found: dict[tuple[str, ...], Position] = {}
    with Redis.from_url(servers.redis_url, decode_responses=True) as client:
        for key in client.scan_iter(_type="STREAM"):
            for group in client.xinfo_groups(key):
                found[key, group["name"]] = Position.parse(group["last-delivered-id"])
    with psycopg.connect(servers.database_url) as connection:
        for *name, milliseconds, counter in connection.execute(
            "SELECT projection, source, position_ms, position_counter FROM playhead_checkpoints"
        ):
            found[tuple(name)] = Position(milliseconds, counter)
    return found


def read_schemas(directory: Path) -> set[str]:
    """The schemas that have tables."""
    with psycopg.connect(running_servers(directory).database_url) as connection:
        names = connection.execute(
            "SELECT schemaname FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        return {name for (name,) in names}


def read_columns(database_url: str) -> dict[str, list[str]]:
    """The columns of each table that is not Playhead's own."""
    with psycopg.connect(database_url) as connection:
        return dict(
            connection.execute(
                "SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position)"
                " FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name NOT LIKE 'playhead%' GROUP BY 1"
            ).fetchall()
        )
