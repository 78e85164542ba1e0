"""Where audio lies: `pcm/<meeting>/<user>/<sequence>.pcm`, `mp3/` likewise, and `recordings/<meeting>/`.

Ids come from outside. Encoded, each is one path component that leads nowhere else, and gives the id back.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path

import msgspec

from playhead.streams.errors import InvalidSetting, UnsafePath
from playhead.streams.storage.directories import open_regular
from playhead.streams.storage.disk import PRIVATE
from playhead.streams.storage.filenames import decode_name, encode_name

_DIGITS = 8
_NAME_LIMIT = 200


class InvalidId(InvalidSetting):
    """The id is too long to be the name of a directory: use one of at most 200 characters, fewer if not ASCII."""


class Chunk(msgspec.Struct, frozen=True, order=True):
    """A chunk, as its place says."""

    meeting_id: str
    user_id: str
    sequence: int


class RecordingFiles:
    """The files below one directory, each written whole and synced before it has its name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @staticmethod
    def pcm(chunk: Chunk) -> str:
        """The path of a chunk's PCM, below the directory.

        Raises:
            InvalidId: it cannot be a path.
        """
        return f"pcm/{_place(chunk)}.pcm"

    @staticmethod
    def mp3(chunk: Chunk) -> str:
        """The path of a chunk's MP3, below the directory.

        Raises:
            InvalidId: it cannot be a path.
        """
        return f"mp3/{_place(chunk)}.mp3"

    @staticmethod
    def recording(meeting_id: str, user_id: str | None, recording_id: str) -> str:
        """The path of a recording, below the directory."""
        whose = "meeting" if user_id is None else _name(user_id)
        return f"recordings/{_name(meeting_id)}/{whose}-{recording_id}.mp3"

    def session(self, meeting_id: str) -> str:
        """The path of what a recorder notes about a session, below the directory."""
        return f"pcm/{_name(meeting_id)}/session.json"

    def path(self, relative: str) -> Path:
        """A path to open, without a link below the directory.

        Raises:
            UnsafePath: there is one.
        """
        path = self.directory / relative
        if (link := self._link_in(path)) is not None:
            raise UnsafePath(errno.ELOOP, "a link stands where audio belongs; remove it", str(link))
        return path

    def open(self, relative: str) -> BufferedReader:
        """Open a file to read.

        Raises:
            FileNotFoundError: it is not there.
            UnsafePath: a link, or something that is no file, stands there or on the way.
        """
        return open_regular(self.directory, relative.split("/"))

    def read(self, relative: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: it is not there.
            UnsafePath: a link, or something that is no file, stands there or on the way.
        """
        with self.open(relative) as file:
            return file.read()

    def has_any(self, kind: str) -> bool:
        """Whether there ever was a chunk of the kind, `pcm` or `mp3`; False if the disk is not mounted."""
        return self.path(kind).is_dir()

    def has_recording(self, meeting_id: str) -> bool:
        """Whether a finished recording of the meeting is there."""
        return bool(self.finished(meeting_id))

    def finished(self, meeting_id: str) -> list[Path]:
        """The finished recordings of a meeting."""
        return sorted(self.path(f"recordings/{_name(meeting_id)}").glob("*.mp3"))

    def last_sign_of_life(self, meeting_id: str) -> datetime | None:
        """When a recorder last had the session open, None if it is not known."""
        try:
            return datetime.fromtimestamp(self.path(self.session(meeting_id)).stat().st_mtime, UTC)
        except (FileNotFoundError, InvalidId):
            return None

    def give_sign_of_life(self, meeting_id: str) -> None:
        """Say that a recorder has the session open."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(self.session(meeting_id)))

    def write(self, relative: str, content: bytes, *, modified: int | None = None) -> None:
        """Write a file: all of it, or none. `modified` becomes its time of modification, in microseconds."""
        with self.new(relative) as temporary:
            temporary.write_bytes(content)
            if modified is not None:
                os.utime(temporary, ns=(modified * 1000, modified * 1000))

    @contextlib.contextmanager
    def new(self, relative: str) -> Generator[Path, None, None]:
        """A temporary file for the block to write; then it is synced and gets its name."""
        path = self.path(relative)
        self._make_directory(path.parent)
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there, for good."""
        path = self.path(relative)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync(path.parent)

    def remove_chunks(self, meeting_id: str, *kinds: str) -> None:
        """Remove all that is temporary of a meeting, or only `mp3` or `pcm`."""
        for kind in kinds or ("mp3", "pcm"):
            shutil.rmtree(self.path(f"{kind}/{_name(meeting_id)}"), ignore_errors=True)

    def remove_promoted(self, meeting_id: str) -> None:
        """Remove what is temporary of a meeting whose chunks all are in its recordings.

        PCM without an MP3 was never transcoded, so no event speaks of it: it stays, until a recorder adopts it.
        """
        unsaid = False
        for chunk in self.chunks("pcm", meeting_id):
            if self.path(self.mp3(chunk)).exists():
                self.remove(self.pcm(chunk))
            else:
                unsaid = True
        self.remove_chunks(meeting_id, "mp3", *([] if unsaid else ["pcm"]))

    def remove_leftovers(self, meeting_id: str) -> None:
        """Remove what a process that died left beside the recordings of a meeting."""
        for path in self.path(f"recordings/{_name(meeting_id)}").glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def sessions(self) -> list[Path]:
        """What recorders noted about each session; links are passed over."""
        return sorted(path for path in (self.directory / "pcm").glob("*/session.json") if self._link_in(path) is None)

    def chunks(self, kind: str, meeting_id: str | None = None) -> Iterator[Chunk]:
        """Every chunk that has a file of the kind, `pcm` or `mp3`; other files are passed over."""
        pattern = f"{'*' if meeting_id is None else _name(meeting_id)}/*/*.{kind}"
        for path in sorted((self.directory / kind).glob(pattern)):
            with contextlib.suppress(ValueError):
                meeting, user = decode_name(path.parent.parent.name), decode_name(path.parent.name)
                if self._link_in(path) is None and path.is_file():
                    yield Chunk(meeting, user, int(path.stem))

    def _link_in(self, path: Path) -> Path | None:
        """The first link on the way from the directory, which may be one itself, to a path."""
        way = [path, *path.parents]
        return next((each for each in way[way.index(self.directory) - 1 :: -1] if each.is_symlink()), None)

    def _make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self._make_directory(path.parent)
            path.mkdir(mode=PRIVATE if path == self.directory else 0o777, exist_ok=True)
            _sync(path.parent)


def _place(chunk: Chunk) -> str:
    return f"{_name(chunk.meeting_id)}/{_name(chunk.user_id)}/{chunk.sequence:0{_DIGITS}d}"


def _name(identifier: str) -> str:
    name = encode_name(identifier)
    if "~" in name:
        raise InvalidId(f"{identifier[:40]}...: {InvalidId.__doc__}")
    return name


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
