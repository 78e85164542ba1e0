"""The cursor of a subscription with a name: a file, so that it outlives whatever Redis loses."""

import fcntl
import os
import re
from pathlib import Path

from playhead.consumers.subscriptions.errors import SubscriptionInUse
from playhead.streams.cursors import Cursor
from playhead.streams.errors import InvalidSetting
from playhead.streams.storage.disk import make_directory, write_all
from playhead.streams.storage.durability import sync_directory

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SUFFIX = ".cursor"


class KeptCursor:
    """Owns `NAME.cursor` in a directory, by a lock that ends with the process however it ends.

    Raises:
        SubscriptionInUse: another process owns it.
        InvalidSetting: the name cannot be one of a file.
        OSError: the directory cannot be used.
    """

    def __init__(self, directory: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidSetting(
                f"the name of a subscription has letters, digits, dots, hyphens and underscores; not {name!r}"
            )
        make_directory(directory)
        self.path = cursor_path(directory, name)
        self._name = name
        self._lock = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise SubscriptionInUse(self.path) from error

    def load(self) -> Cursor | None:
        """The cursor as it was saved last, None if it never was.

        Raises:
            InvalidSetting: the file holds no cursor.
        """
        try:
            return read_cursor(self.path.parent, self._name)
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """Remove the cursor; when this returns, it is gone from disk. The lock stays, as another process may want it.

        Raises:
            OSError: it is as it was.
        """
        self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)

    def save(self, cursor: Cursor) -> None:
        """Replace the cursor; when this returns, it is on disk.

        Raises:
            OSError: it is as it was.
        """
        temporary = self.path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, f"{cursor}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self.path)
        sync_directory(self.path.parent)

    def close(self) -> None:
        """Give the name free."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def kept_names(directory: Path) -> list[str]:
    """The names that have a cursor in a directory; none if it is not there.

    Raises:
        OSError: it cannot be read.
    """
    try:
        names = [path.name.removesuffix(_SUFFIX) for path in directory.iterdir() if path.name.endswith(_SUFFIX)]
    except FileNotFoundError:
        return []
    return sorted(name for name in names if _NAME.fullmatch(name))


def read_cursor(directory: Path, name: str) -> Cursor:
    """The cursor of a name as it was saved last.

    Raises:
        FileNotFoundError: it never was.
        InvalidSetting: the file holds no cursor.
    """
    path = cursor_path(directory, name)
    text = path.read_text("ascii", errors="replace")
    try:
        return Cursor.parse(text)
    except InvalidSetting as error:
        raise InvalidSetting(f"{path} is not a cursor: {error}; restore or remove it") from error


def cursor_path(directory: Path, name: str) -> Path:
    """The file of the cursor of a name."""
    return directory / f"{name}{_SUFFIX}"
