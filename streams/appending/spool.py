"""Events that wait on disk while Redis is away: JSON lines in numbered segments.

One directory serves all programs of a machine. Whoever adds or reads holds `lock`, whoever sends holds `sending`, so
the events go out in the order in which they were added, whichever process added or sends them, and what a dead process
left is sent by any other. A line is the CRC-32C of the rest and `[attributes, payload]`.
"""

import fcntl
import logging
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import islice
from pathlib import Path

import crc32c
import msgspec

from playhead.streams.errors import SpoolFailed
from playhead.streams.events import Event
from playhead.streams.storage.durability import sync_directory
from playhead.streams.storage.trust import refuse_untrusted

SEGMENT_BYTES = 64 * 1024 * 1024
"""Bytes after which a new segment begins; a segment that is sent is removed."""

_SEGMENT = re.compile(r"(\d{20})\.jsonl", re.ASCII)
_SENT = re.compile(rb"(\d{20}) (\d{20})\n")
_BATCH_EVENTS = 500
_BATCH_BYTES = 8 * 1024 * 1024
_CRC_CHARACTERS = 8
_LINE = msgspec.json.Decoder(tuple[Event, str])
_log = logging.getLogger(__name__)


class SpoolBatch(msgspec.Struct, frozen=True):
    """Events to send next, and where in which segment they end."""

    segment: int
    end: int
    events: list[Event]


class SpoolContent(msgspec.Struct, frozen=True):
    """What waits in a spool; `oldest` is the time of the first event, `damaged` counts lines that cannot be sent."""

    directory: str
    events: int
    bytes: int
    oldest: str | None
    damaged: int


class Spool:
    """A directory of unsent events.

    Raises:
        SpoolFailed: the directory cannot be made or written.
        Untrusted: another user owns it, or may write to it.
    """

    def __init__(self, directory: Path | str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = Path(directory).absolute()
        self._segment_bytes = segment_bytes
        self._damaged = self.directory / "damaged.jsonl"
        refuse_untrusted(self.directory)
        with self._locked():
            pass

    @staticmethod
    def used(directory: Path) -> bool:
        """Whether the directory is a spool, or was one; to open one that is none makes it one."""
        return any(path.name == "lock" or _SEGMENT.fullmatch(path.name) for path in directory.iterdir())

    @property
    def pending(self) -> bool:
        """Whether something is unsent: then later events must go behind it."""
        try:
            return any(map(_SEGMENT.fullmatch, os.listdir(self.directory)))  # noqa: PTH208  on the path of every append
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _failed(self.directory, error) from error

    def add(self, events: Sequence[Event]) -> None:
        """Write events behind all that wait; when this returns they are on disk, and when it raises none is there.

        Raises:
            SpoolFailed: the disk is full, or the directory cannot be written.
        """
        with self._locked():
            segments = self._segments()
            number = segments[-1] if segments else self._next_number()
            if segments:
                self._mend(number)
                if self._path(number).stat().st_size >= self._segment_bytes:
                    number += 1
            self._write(self._path(number), map(_encode, events))

    @contextmanager
    def sending(self, *, wait: bool = False) -> Generator[bool, None, None]:
        """Be the one who sends; False while another process or thread is, unless told to wait for it."""
        with _open(self.directory / "sending") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # explicitly: a forked child holds the same lock by its copy

    def read(self) -> SpoolBatch | None:
        """The next events to send, None if all is sent. Only the one who sends may call this."""
        with self._locked():
            while segments := self._segments():
                number = segments[0]
                self._mend(number)
                start = self._sent(number)
                events, end = self._read(number, start)
                if events:
                    return SpoolBatch(number, end, events)
                if end == start:
                    self._path(number).unlink()
                    sync_directory(self.directory)
                self._write_sent(number, end)
            return None

    def advance(self, batch: SpoolBatch) -> None:
        """Remember that a batch is sent. Should a power failure undo this, it is sent again, which adds nothing."""
        with self._locked():
            self._write_sent(batch.segment, batch.end)

    def content(self) -> SpoolContent:
        """Look at what waits, without sending it; nothing is made if the directory is empty."""
        count, size, oldest = 0, 0, None
        with self._locked():
            for number in self._segments():
                start = self._sent(number)
                with self._path(number).open("rb") as file:
                    file.seek(start)
                    for line in file:
                        event = _decode(line)
                        oldest = oldest or (event.time if event else None)
                        count, size = count + 1, size + len(line)
        damaged = 0
        with suppress(FileNotFoundError), self._damaged.open("rb") as file:
            damaged = sum(1 for _ in file)
        return SpoolContent(str(self.directory), count, size, oldest, damaged)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """Nobody else adds, reads or removes meanwhile; an unterminated line is one whose writer died."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _open(self.directory / "lock") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    yield
                finally:
                    fcntl.flock(file, fcntl.LOCK_UN)
        except OSError as error:
            raise _failed(self.directory, error) from error

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:020d}.jsonl"

    def _segments(self) -> list[int]:
        found = (_SEGMENT.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def _next_number(self) -> int:
        """A number is never used again, so that `sent` cannot speak of another segment of the same name."""
        return self._read_sent()[0] + 1

    def _write(self, path: Path, lines: Iterator[bytes]) -> None:
        with _open(path) as file:
            start = file.seek(0, os.SEEK_END)
            try:
                while chunk := b"".join(islice(lines, _BATCH_EVENTS)):
                    _write_all(file, chunk)
                os.fsync(file.fileno())
                if start == 0:
                    sync_directory(self.directory)
            except OSError:
                with suppress(OSError):
                    file.truncate(start)
                    if start == 0:
                        path.unlink()
                raise

    def _mend(self, number: int) -> None:
        """End the last line if it is whole, cut it if its writer died within it."""
        path = self._path(number)
        with _open(path) as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n":
                return
            start = _start_of_last_line(file, size)
            file.seek(start)
            tail = file.read()
            if _decode(tail + b"\n") is not None:
                _write_all(file, b"\n")
            else:
                file.truncate(start)
                _log.warning("%s ended within an event whose writer died: cut %d bytes", path, len(tail))
            os.fsync(file.fileno())

    def _read(self, number: int, start: int) -> tuple[list[Event], int]:
        """Whole events from there on; a damaged line is set aside once it comes first."""
        events: list[Event] = []
        end = start
        with self._path(number).open("rb") as file:
            file.seek(start)
            for line in file:
                event = _decode(line)
                if event is None:
                    if not events:
                        self._set_aside(number, end, line)
                        end += len(line)
                    break
                events.append(event)
                end += len(line)
                if end - start >= _BATCH_BYTES or len(events) >= _BATCH_EVENTS:
                    break
        return events, end

    def _set_aside(self, number: int, offset: int, line: bytes) -> None:
        path = self._path(number)
        _log.error(
            "%s is damaged at byte %d: %d bytes cannot be sent and are kept in %s; append that event again by hand",
            path,
            offset,
            len(line),
            self._damaged,
        )
        self._write(self._damaged, iter([line]))

    def _sent(self, number: int) -> int:
        """Where the unsent part of a segment begins."""
        segment, offset = self._read_sent()
        if segment != number or offset == 0:
            return 0
        with self._path(number).open("rb") as file:
            return offset if os.pread(file.fileno(), 1, offset - 1) == b"\n" else 0

    def _read_sent(self) -> tuple[int, int]:
        with _open(self.directory / "sent") as file:
            found = _SENT.fullmatch(os.pread(file.fileno(), 64, 0))
            return (int(found[1]), int(found[2])) if found else (0, 0)

    def _write_sent(self, number: int, offset: int) -> None:
        with _open(self.directory / "sent") as file:
            os.pwrite(file.fileno(), b"%020d %020d\n" % (number, offset), 0)


def _failed(directory: Path, error: OSError) -> SpoolFailed:
    return SpoolFailed(f"{SpoolFailed.__doc__} ({error.strerror or error}: {directory})")


def _open(path: Path) -> FileIO:
    """Unbuffered, so that closing it after a failed write writes nothing."""
    return FileIO(path, "r+", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o600))


def _write_all(file: FileIO, content: bytes) -> None:
    """A nearly full disk takes part of what it is given."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _start_of_last_line(file: FileIO, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(file.fileno(), end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _encode(event: Event) -> bytes:
    content = msgspec.json.encode((msgspec.structs.replace(event, data=b""), event.data.decode()))
    return b"%08x %s\n" % (crc32c.crc32c(content), content)


def _decode(line: bytes) -> Event | None:
    content = line[_CRC_CHARACTERS + 1 : -1]
    if line[: _CRC_CHARACTERS + 1] != b"%08x " % crc32c.crc32c(content):
        return None
    attributes, data = _LINE.decode(content)
    return msgspec.structs.replace(attributes, data=data.encode())
