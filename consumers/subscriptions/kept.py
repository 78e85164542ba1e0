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
        self.path = directory / f"{name}.cursor"
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
            text = self.path.read_text("ascii", errors="replace")
        except FileNotFoundError:
            return None
        try:
            return Cursor.parse(text)
        except InvalidSetting as error:
            raise InvalidSetting(f"{self.path} is not a cursor: {error}; restore or remove it") from error

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
