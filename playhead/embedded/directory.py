"""A data directory: who owns it, and what is written beside its servers' files.

playhead.lock    locked by the owner, and holds the owner's process id
access.json      passwords, ports and the place of the sockets, the same at every start
servers.json     the servers which run now
sockets/         of the servers, if there is room for its path
valkey/, postgres/
"""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from playhead.embedded.errors import DataDirectoryInUse, DataDirectoryUnusable
from playhead.streams.storage.durability import sync_directory
from playhead.streams.storage.trust import refuse_shared, refuse_untrusted

_LOCK, _ACCESS, _SERVERS = "playhead.lock", "access.json", "servers.json"
_MADE = (_LOCK, _ACCESS, _SERVERS, f"{_ACCESS}.new", f"{_SERVERS}.new", "sockets", "valkey", "postgres")
"""What the servers, and who starts them, make in a data directory."""
_SMALL = 4096


class Access(msgspec.Struct, frozen=True):
    """The password that programs get; the port is None until the server listened on one for the first time."""

    password: str
    port: int | None = None


class AccessToServers(msgspec.Struct, frozen=True):
    """`superuser` is the password of the superuser of Postgres, who makes the role of programs; `sockets` where the
    sockets are if that is outside. Version 0.1 knew neither.
    """

    valkey: Access
    postgres: Access
    superuser: str = ""
    sockets: str | None = None


class Running(msgspec.Struct, frozen=True):
    url: str
    pid: int
    version: str


class RunningServers(msgspec.Struct, frozen=True):
    owner: int
    valkey: Running | None
    postgres: Running | None
    sockets: str | None = None
    """The directory of their sockets; None if they listen on ports."""


class Leftovers:
    """What a start leaves in a directory that it made or found empty: removed if nothing came of it.

    So is the directory `outside`, which the start made elsewhere then.
    """

    def __init__(self, data_dir: Path, *, is_new: bool) -> None:
        self._data_dir, self._is_new = data_dir, is_new
        self.kept = any(path.name != _LOCK for path in data_dir.iterdir())
        self.outside: Path | None = None

    def remove(self) -> None:
        """Unless they are kept; after the servers ended, and under the lock."""
        if self.kept:
            return
        if self.outside is not None:
            shutil.rmtree(self.outside)
        for path in (self._data_dir / name for name in _MADE):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if self._is_new:
            with suppress(OSError):  # somebody else has put something there meanwhile, such as a spool
                self._data_dir.rmdir()


@contextmanager
def owned(data_dir: Path) -> Generator[Leftovers, None, None]:
    """Makes the directory, and holds its lock; raises DataDirectoryInUse when another process holds it."""
    is_new = not data_dir.exists()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise DataDirectoryUnusable(data_dir, "it is not a directory") from None
    refuse_untrusted(data_dir, shared=False)
    lock = open_private(data_dir / _LOCK, os.O_RDWR)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryInUse(data_dir, int(os.pread(lock, 20, 0) or 0)) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        leftovers = Leftovers(data_dir, is_new=is_new)
        try:
            yield leftovers
        finally:
            leftovers.remove()
    finally:
        os.close(lock)


@contextmanager
def reporting_trouble(data_dir: Path) -> Generator[None, None, None]:
    """Turns what the file system refuses into DataDirectoryUnusable."""
    try:
        yield
    except (OSError, msgspec.DecodeError) as error:
        raise DataDirectoryUnusable(data_dir, str(error)) from error


def load_access(data_dir: Path) -> AccessToServers:
    """The passwords of the servers, made and saved if they are missing."""
    refuse_untrusted(data_dir, shared=False)
    try:
        access = msgspec.json.decode((data_dir / _ACCESS).read_bytes(), type=AccessToServers)
    except FileNotFoundError:
        access = AccessToServers(Access(_password()), Access(_password()))
    if not access.superuser:
        access = msgspec.structs.replace(access, superuser=_password())
        save_access(data_dir, access)
    return access


def save_access(data_dir: Path, access: AccessToServers) -> None:
    write_private(data_dir / _ACCESS, msgspec.json.encode(access))


def load_running(data_dir: Path) -> RunningServers | None:
    """The servers that run, if any do; what stands in a directory of another user says nothing.

    Raises:
        Untrusted: another user could have written it.
    """
    refuse_untrusted(data_dir, shared=False)
    try:
        return msgspec.json.decode((data_dir / _SERVERS).read_bytes(), type=RunningServers)
    except (FileNotFoundError, NotADirectoryError):
        return None


def save_running(data_dir: Path, running: RunningServers) -> None:
    write_private(data_dir / _SERVERS, msgspec.json.encode(running))


def refuse_replaced(running: RunningServers) -> None:
    """Refuse sockets where another user could answer in place of the servers, who would be sent the password.

    Raises:
        Untrusted: another user could.
    """
    if running.sockets is not None:
        with suppress(FileNotFoundError):  # so nobody answers
            refuse_shared(Path(running.sockets))


def forget_running(data_dir: Path) -> None:
    (data_dir / _SERVERS).unlink(missing_ok=True)


def open_private(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def read_plain(path: Path) -> str:
    """A small file that another user may write: Postgres runs as another one if this is root."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return file.read(_SMALL)


def _password() -> str:
    return secrets.token_urlsafe(32)


def write_private(path: Path, content: bytes) -> None:
    """Atomic and durable: after a crash the file has its old content or the new."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(open_private(fresh, os.O_WRONLY), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)
