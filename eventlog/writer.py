"""The writer: the event log as a sink."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from playhead.eventlog.errors import BehindTail, LinkInLog, LogCorrupt, LogInUse, LogWriteFailed
from playhead.eventlog.gaps import Gap, note_gap
from playhead.eventlog.history import History, tail_of
from playhead.eventlog.lines import line_parts
from playhead.eventlog.recovery import recover
from playhead.eventlog.restoring import refuse_unfinished
from playhead.eventlog.seals import seal, sync_directory
from playhead.eventlog.segments import MANIFEST, PLAIN, SEALED, Segment, partition_directory, stem_of
from playhead.streams import failpoints, failures
from playhead.streams.domains.discovery import installed
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.sinks import PARKED, Batch, Failure, Outcome
from playhead.streams.storage import disk

SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_SECONDS = 24 * 60 * 60

_LOCK = ".lock"
_BUFFERS_A_WRITE = 3 * 340
"""Whole lines of three parts, within the 1,024 that one writev takes."""
_SEAL_RETRY_SECONDS = 60
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LogWriter:
    """The log of every stream, or of those given, below one directory, one file at a time for each partition.

    A segment is sealed when it is over `segment_bytes` long or `segment_seconds` old; `clock` gives Unix seconds.
    """

    name = "log"
    exclusive = False

    def __init__(
        self,
        root: Path,
        *,
        streams: Sequence[str] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segment_seconds: float = SEGMENT_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.streams: tuple[str, ...] = tuple(installed().streams if streams is None else streams)
        self.directory = root
        self.counts: Mapping[str, int] = {}
        """The number of partitions of each stream, as far as it is known: that of the log is its last directory."""
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._clock = clock
        self._writers: dict[Partition, _PartitionWriter] = {}
        self._failed: LogWriteFailed | None = None

    @property
    def history(self) -> History:
        """What is written, to read; holes are for others to find, as this process must go on writing."""
        return History(self.directory, strict=False)

    def open(self, partition: Partition, epoch: int) -> Position:  # noqa: ARG002  # the lock is the fence
        """Lock a partition, recover it, and give the position of its last event, the beginning if it has none.

        Raises:
            LogInUse: another process has it.
            LinkInLog: a link in its place leads elsewhere.
            LogCorrupt: it is damaged, and no crash can have done it, or it is not restored to its end.
            InvalidSetting: the stream's name is not fit for a path.
        """
        self._refuse_after_failure()
        refuse_unfinished(self.directory)
        if partition in self._writers and self._writers[partition].damage is not None:
            self._writers.pop(partition).close()  # somebody may have mended it since
        if partition not in self._writers:
            directory = partition_directory(self.directory, partition)
            self._make_last(partition.stream)
            try:
                self._writers[partition] = _PartitionWriter(self.directory, directory, self._clock)
            except LogWriteFailed as error:
                self._failed = error
                raise
        return self._writers[partition].tail or START

    def _make_last(self, stream: str) -> None:
        """Have the directory of a stream's last partition before any other, so that the log knows their number."""
        if (count := self.counts.get(stream)) is not None:
            last = partition_directory(self.directory, Partition(stream, count - 1))
            if not last.parent.is_symlink() and not last.exists():
                self.directory.mkdir(mode=disk.PRIVATE, parents=True, exist_ok=True)
                last.mkdir(parents=True, exist_ok=True)
                sync_directory(last.parent)

    def apply(self, batch: Batch) -> Outcome:
        """Append the events after the tail and make them durable with one fdatasync; replays are passed over.

        Raises:
            BehindTail: an event that was parked stands before what is logged by now.
            LogWriteFailed: the disk failed, or the log was deleted; every later call raises it too.
            LogCorrupt: a segment that is to be sealed is damaged; so does every later call until it is opened again.
            OSError: the disk is full, and the log is as it was before.
        """
        self._refuse_after_failure()
        writer = self._writers[batch.source.partition]
        if batch.source.replay == PARKED and batch.last <= (writer.tail or START):
            raise BehindTail(batch.last)
        if batch.source.replay not in {None, PARKED}:
            return "already applied"
        try:
            outcome = writer.append(batch)
            self._seal_when_due(writer)
        except LogWriteFailed as error:
            self._failed = error
            raise
        return outcome

    def settle(self) -> None:
        """Seal segments that are old enough.

        Raises:
            LogCorrupt: one is damaged.
            LogWriteFailed: the disk failed.
        """
        self._refuse_after_failure()
        for writer in self._writers.values():
            try:
                self._seal_when_due(writer)
            except LogWriteFailed as error:
                self._failed = error
                raise

    def close(self) -> None:
        """Release every partition."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def classify(self, error: Exception) -> Failure:
        """A disk that failed ends the process; damage lasts until somebody fixes it."""
        match error:
            case LogWriteFailed():
                return "fatal"
            case LogCorrupt():
                return "lasting"
            case _:
                return failures.classify(error)

    def health(self) -> str | None:
        """What an operator must fix, or None."""
        return disk.problem(self.directory)

    def _seal_when_due(self, writer: "_PartitionWriter") -> None:
        writer.seal_when_due(self._segment_bytes, self._segment_seconds)

    def _refuse_after_failure(self) -> None:
        if self._failed is not None:
            raise self._failed


class _PartitionWriter:
    def __init__(self, root: Path, directory: Path, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._segment: Segment | None = None
        self._file = -1
        self._size = 0
        self._since = 0.0
        self._no_seal_before = 0.0
        self.damage: LogCorrupt | None = None
        _make_directory(root, directory)
        _refuse_links(directory)
        self._lock = lock_partition(directory)
        try:
            recovered = recover(directory)
            self.tail, self._sequence = recovered.tail, _sequence_at_end(directory)
            if recovered.active is not None:
                self._go_on_with(recovered.active)
        except BaseException:
            self.close()
            raise

    def append(self, batch: Batch) -> Outcome:
        if self.damage is not None:
            raise self.damage
        parts: list[bytes] = []
        first = None
        tail, sequence = self.tail or START, self._sequence
        for recorded in batch.events:
            if recorded.position > tail:
                parts += line_parts(recorded)
                if recorded.sequence is not None:
                    if sequence is not None and recorded.sequence > sequence + 1:
                        note_gap(self._directory, Gap(tail, recorded.position, recorded.sequence - sequence - 1))
                    sequence = recorded.sequence
                tail = recorded.position
                first = first or tail
        if first is None:
            return "already applied"
        if self._segment is None:
            self._begin(first)
        self._write(parts)
        self.tail, self._sequence = tail, sequence
        return "applied"

    def seal_when_due(self, segment_bytes: int, segment_seconds: float) -> None:
        now = self._clock()
        if self._segment is None or not self._size or now < self._no_seal_before or self.damage is not None:
            return
        if self._size < segment_bytes and now - self._since < segment_seconds:
            return
        try:
            seal(self._segment)
        except OSError:  # a full disk: the events are safe in the plain file, which goes on growing meanwhile
            self._no_seal_before = now + _SEAL_RETRY_SECONDS
            return
        except LogCorrupt as error:
            self.damage = error
            raise
        os.close(self._file)
        self._file, self._segment, self._size = -1, None, 0

    def close(self) -> None:
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _begin(self, first: Position) -> None:
        segment = Segment(self._directory, stem_of(first), first, frozenset({PLAIN}))
        try:
            self._file = os.open(segment.plain, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
            sync_directory(self._directory)
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            raise LogWriteFailed(segment.plain, f"the directory is not as this process left it: {error}") from error
        self._segment, self._size, self._since = segment, 0, self._clock()

    def _go_on_with(self, segment: Segment) -> None:
        self._file = os.open(segment.plain, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._file).st_size
        self._segment = segment
        # Recovered lines may have been read from the page cache of a process that died before its fdatasync.
        self._sync(segment.plain)
        self._since = min(self._clock(), segment.first.milliseconds / 1000)

    def _write(self, parts: Sequence[bytes]) -> None:
        assert self._segment is not None
        path = self._segment.plain
        if not _stands(path, self._file):  # nobody would ever read what goes into a deleted file
            raise LogWriteFailed(path, "it was deleted, moved or replaced while this process writes it")
        if os.fstat(self._file).st_size != self._size:  # events are missing, or a line that nobody can read follows
            raise LogWriteFailed(path, "it was cut, or written by somebody else, while this process writes it")
        try:
            written = sum(
                _write_all(self._file, parts[start : start + _BUFFERS_A_WRITE])
                for start in range(0, len(parts), _BUFFERS_A_WRITE)
            )
        except OSError as error:
            if error.errno not in _FULL:
                raise LogWriteFailed(path, f"a write failed: {error}") from error
            self._undo(path)
            raise
        self._sync(path)
        self._size += written

    def _undo(self, path: Path) -> None:
        try:
            os.ftruncate(self._file, self._size)
            if not self._size:  # the next batch may begin with another position, and so another name
                os.close(self._file)
                self._file, self._segment = -1, None
                path.unlink()
        except OSError as error:
            raise LogWriteFailed(path, f"a full disk, and the incomplete batch cannot be removed: {error}") from error

    def _sync(self, path: Path) -> None:
        failpoints.reach(Point.BEFORE_SYNC)
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise LogWriteFailed(path, f"fdatasync failed: {error}") from error
        failpoints.reach(Point.AFTER_SYNC)


def _sequence_at_end(directory: Path) -> int | None:
    """The number that the next event follows, None if no event has one."""
    tail = tail_of(directory)
    return 0 if tail is None else tail.sequence or None


def _stands(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _write_all(file: int, parts: Sequence[bytes]) -> int:
    """Write parts without joining them first, which would cost as much as writing them; gives the bytes written."""
    written, size = os.writev(file, failpoints.portion(parts)), sum(map(len, parts))
    failpoints.reach(Point.MID_FILE)
    if written < size:
        disk.write_all(file, memoryview(b"".join(parts))[written:])
    return size


def _make_directory(root: Path, directory: Path) -> None:
    for path in (directory.parent, directory):
        if path.is_symlink():
            raise LinkInLog(path)
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    root.mkdir(mode=disk.PRIVATE, parents=True, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_directory(path.parent)


def _refuse_links(directory: Path) -> None:
    """Only sealed files, which are never written again, may lie elsewhere."""
    for path in directory.iterdir():
        if path.is_symlink() and not path.name.endswith((SEALED, MANIFEST)):
            raise LinkInLog(path)


def lock_partition(directory: Path) -> int:
    """Lock a partition for the one who writes it; the lock lasts until the descriptor is closed.

    Raises:
        LogInUse: another process has it.
    """
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise LogInUse(directory) from error
        raise
    return descriptor
