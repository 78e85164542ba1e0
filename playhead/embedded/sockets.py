"""The directory of the servers' Unix sockets: its owner's alone, so that nobody else can answer there or connect.

The path of a socket has at most 107 bytes on Linux and 103 elsewhere. If that of the data directory leaves no room, the
sockets get a directory in XDG_RUNTIME_DIR, in TMPDIR, or in /tmp. It stays when the servers end: whoever made
another of its name would be sent the password by programs that still have the URL.
"""

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from playhead.embedded.errors import SocketPathTooLong
from playhead.streams.errors import Untrusted
from playhead.streams.storage.trust import refuse_shared

POSTGRES_PORT = 5432
"""Part of the name of a socket. It stands in the URL too, as a client would look in PGPORT else."""

SHORTEST = "/tmp"  # noqa: S108  # a directory with a random name is made there
"""The place for temporary files whose path is short, whatever TMPDIR says."""

_VALKEY, _POSTGRES = "valkey.sock", "postgres"
_LIMIT = 107 if sys.platform == "linux" else 103
_LONGEST = f"/{_POSTGRES}/.s.PGSQL.{POSTGRES_PORT}"
_PRIVATE = 0o700


class Sockets:
    """Where the servers of a data directory have their sockets; made, and checked, when this is."""

    def __init__(self, data_dir: Path, earlier: str | None = None) -> None:
        """Choose the directory, that of an earlier start if it is still right.

        Raises:
            Untrusted: another user owns it.
            SocketPathTooLong: no place is left whose path is short enough.
        """
        self.directory = _own(data_dir) or _earlier(data_dir, earlier) or _fresh(data_dir)
        self.postgres.mkdir(mode=_PRIVATE, exist_ok=True)

    @property
    def valkey(self) -> Path:
        """The socket of Valkey."""
        return self.directory / _VALKEY

    @property
    def postgres(self) -> Path:
        """The directory of Postgres' socket, which belongs to the user whom Postgres runs as."""
        return self.directory / _POSTGRES


def in_url(path: Path) -> str:
    """A path as a part of a URL."""
    return quote(os.fsencode(path))


def _own(data_dir: Path) -> Path | None:
    """The directory below the data directory, unless its path is too long."""
    directory = data_dir / "sockets"
    if not _fits(directory):
        return None
    directory.mkdir(mode=_PRIVATE, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, _PRIVATE)  # a copy or a restore may have given it another mode
    finally:
        os.close(descriptor)
    refuse_shared(directory)
    return directory


def _earlier(data_dir: Path, recorded: str | None) -> Path | None:
    """That of an earlier start; None for that of a data directory which this one is a copy of."""
    if recorded is None or not Path(recorded).name.startswith(_prefix(data_dir)):
        return None
    directory = Path(recorded)
    with suppress(OSError, Untrusted):
        directory.mkdir(mode=_PRIVATE, exist_ok=True)
        refuse_shared(directory)
        return directory
    return None


def _fresh(data_dir: Path) -> Path:
    for place in _places():
        if _fits(place / f"{_prefix(data_dir)}xxxxxxxx"):
            with suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=_prefix(data_dir), dir=place))
    raise SocketPathTooLong(data_dir, _LIMIT - len(_LONGEST))


def _places() -> Iterator[Path]:
    """Directories in which nobody else can replace a directory of ours."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for place in (runtime, tempfile.gettempdir(), SHORTEST):
        with suppress(OSError):
            found = Path(place).resolve(strict=True)
            status = found.stat()
            if Path(place).is_absolute() and status.st_uid in {0, os.geteuid()} and _keeps_names(status.st_mode):
                yield found


def _keeps_names(mode: int) -> bool:
    return bool(mode & stat.S_ISVTX) or not mode & (stat.S_IWGRP | stat.S_IWOTH)


def _prefix(data_dir: Path) -> str:
    return f"playhead-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:6]}-"


def _fits(directory: Path) -> bool:
    """Whether the kernel takes the path, and the lists of paths of Postgres and libpq, in which a comma parts two."""
    path = f"{directory}{_LONGEST}"
    return path.isprintable() and not set(path) & {",", '"'} and len(os.fsencode(path)) <= _LIMIT
