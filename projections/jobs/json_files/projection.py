"""The projection that keeps one JSON file a job and day, in a directory a day."""

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from playhead.projections.failures import classify
from playhead.projections.jobs.json_files.days import DAILY, SUMMARY, next_latest
from playhead.projections.jobs.json_files.documents import (
    STATUSES,
    Document,
    make_document,
    newest_documents,
    read_event_id,
)
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.index import (
    Day,
    Fact,
    Index,
    list_days,
)
from playhead.projections.jobs.json_files.summaries import Entry
from playhead.projections.staging import Checkpoint, Staging
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Failure, Outcome
from playhead.streams.storage import disk
from playhead.streams.storage.directories import identity, opened, read_regular, sync_directories
from playhead.streams.storage.disk import sync_many

_ATTEMPTS = 3
_LATEST = "latest"
_JOURNAL_BYTES = 64 * 1024


class JsonFiles:
    """The newest result of each job and day as `daily/<day>/scrapers/<scraper>/<job>.json`, a summary a day, `latest`.

    A job id that returns on another day is another run of the job: the files of other days stay. The tree may be
    deleted at any time, running or not; a replay brings the same bytes back.
    """

    name: str = "json-files"
    streams: tuple[str, ...] = ("jobs",)
    exclusive: bool = True

    def __init__(self, root: Path) -> None:
        self.directory = root
        self._staging = Staging(root)
        self._index = Index(self._staging.path)
        self._journal_bytes = 0
        self._reached: dict[str, Checkpoint] = {}
        self._is_recovered = False
        """Whether everything that the journals say is folded in since the tree is ours."""

    def open(self, partition: Partition, epoch: int) -> Position | None:
        """Take the tree over, fold in what a crash left, and give the position up to which the tree has everything.

        None if the tree does not say: it is new, or an earlier version wrote it.

        Raises:
            Fenced: it was opened with a higher epoch.
            OSError: the root cannot be written.
        """
        try:
            taken = self._staging.take(str(partition), epoch)
        except PermissionError as error:
            raise PermissionError(error.errno, "the output directory is not writable", str(self.directory)) from error
        if taken or not self._is_recovered:
            self._take_up_tree()
        reached = self._reached.get(str(partition))
        return None if reached is None else Position.parse(reached.position)

    def apply(self, batch: Batch) -> Outcome:
        """Write the newest result of each job and day.

        Raises:
            InvalidEvent: a payload is no job result; nothing was written.
            OSError: a symbolic link stands in the way, or the disk is full; the same batch may come again.
        """
        documents = newest_documents(batch.events)
        for attempt in range(1, _ATTEMPTS + 1):
            if not self._still_ours() or not self._staging.has_opened(str(batch.source.partition)):
                return "fenced"
            try:
                self._index.refresh(self._staging.root)
                self._write(documents)
            except FileNotFoundError:  # fenced or deleted in between; the next look tells which
                if attempt == _ATTEMPTS:
                    raise
                continue
            break
        if batch.source.replay is None:
            self._note(batch.source.partition, batch.last, batch.sequence)
        return "applied"

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        if recorded.event.type in STATUSES:
            make_document(recorded)

    def pass_over(self, partition: Partition, last: Position, sequence: int | None) -> Outcome:
        """Move the checkpoint past events that are parked."""
        if not self._still_ours() or not self._staging.has_opened(str(partition)):
            return "fenced"
        self._note(partition, last, sequence)
        return "applied"

    def settle(self) -> None:
        """Bring the summaries up to date.

        Raises:
            UnreadableSummary: what a crash left cannot be folded in.
            OSError: the disk is full, for instance.
        """
        if self._staging.fd < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            if self._still_ours():
                self._index.refresh(self._staging.root)
                self._flush()

    def close(self) -> None:
        """Bring the summaries up to date and let go of the tree; one that could not be opened is left as it is."""
        try:
            if self._is_recovered:
                self.settle()
        finally:
            self._index.close()
            self._staging.close()
            self._reached, self._is_recovered = {}, False

    def classify(self, error: Exception) -> Failure:
        """Tell trouble of a summary, which lasts until somebody fixes it, from that of an event or the storage."""
        return "lasting" if isinstance(error, UnreadableSummary) else classify(error)

    def health(self) -> str | None:
        """What an operator must fix, or None."""
        return disk.problem(self.directory)

    def _note(self, partition: Partition, last: Position, sequence: int | None) -> None:
        """Note how far the tree has come; a sequence of None leaves the one before."""
        before = self._reached.get(str(partition))
        if sequence is None and before is not None:
            sequence = before.sequence
        self._reached[str(partition)] = Checkpoint(str(last), sequence)
        self._staging.note(self._reached)

    def _still_ours(self) -> bool:
        created = self._staging.confirm()
        if created is None:
            return False
        if not self._is_recovered:
            self._take_up_tree()
        elif created or self._index.failed:
            self._recover()
        return True

    def _take_up_tree(self) -> None:
        self._recover()
        self._reached = self._staging.checkpoints()

    def _recover(self) -> None:
        self._is_recovered = False
        root = self._staging.root
        self._journal_bytes = 0
        self._index.close()
        self._index = Index(self._staging.path)
        removed: list[tuple[str, str]] = []
        for fact in filter(None, map(Fact.decode, self._staging.journals())):
            if _stands(root, fact):
                self._take_up([fact])
            if fact.old_day is not None and fact.old_day != fact.day:  # removed by an earlier version
                removed.append((fact.old_day, fact.entry.job_id))
        for day, job_id in removed:
            self._index.forget_missing(root, day, job_id)
        self._flush()
        self._staging.drop_journals()
        self._is_recovered = True

    def _write(self, documents: Sequence[Document]) -> None:
        root = self._staging.root
        chosen: list[tuple[Document, Fact]] = []
        days: dict[str, list[str]] = {}
        for document in documents:
            days.setdefault(document.day, []).append(document.entry.job_id)
        standing = {day: self._index.find(root, day, job_ids) for day, job_ids in days.items()}
        for document in documents:
            known = standing[document.day].get(document.entry.job_id)
            if known is None:
                chosen.append((document, Fact(document.day, document.entry)))
            elif document.entry.order > known.order:
                chosen.append((document, Fact(document.day, document.entry, document.day, known)))
        if chosen:
            self._stage(chosen)
            self._publish([fact for _, fact in chosen])
        self._point_latest({document.day for document, _ in chosen})
        if self._journal_bytes > max(_JOURNAL_BYTES, sum(day.size for day in self._index.dirty().values())):
            self._flush()

    def _stage(self, chosen: Sequence[tuple[Document, Fact]]) -> None:
        """Write the files and the journal beside the tree, and sync them together."""
        descriptors: list[int] = []
        try:
            for number, (document, _) in enumerate(chosen):
                # One content at a time: memory that is used again costs less than memory for a whole batch.
                descriptors.append(self._staging.write(_staged(number), document.content))
            lines = b"".join([fact.encode() for _, fact in chosen])
            descriptors.append(self._staging.append_journal(lines))
            self._journal_bytes += len(lines)
            sync_many(self._staging.root, descriptors)
        except BaseException:
            for number in range(len(chosen)):
                self._staging.discard(_staged(number))
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _publish(self, facts: Sequence[Fact]) -> None:
        """Move the staged files to their places, one directory after the other."""
        root = self._staging.root
        folders: dict[tuple[str, ...], list[int]] = {}
        for number, fact in enumerate(facts):
            folders.setdefault((DAILY, fact.day, *fact.entry.folder), []).append(number)
        touched: set[tuple[str, ...]] = set(folders)
        try:
            for folder, numbers in folders.items():
                with opened(root, folder, made=touched) as directory:
                    for number in numbers:
                        self._staging.publish(_staged(number), directory, facts[number].entry.file)
        except OSError:
            for number in range(len(facts)):
                self._staging.discard(_staged(number))
            raise
        sync_directories(root, touched)
        self._take_up(facts)

    def _take_up(self, facts: Sequence[Fact]) -> None:
        """Let the index follow the files, and remove the files that jobs had in another folder of the day."""
        days: dict[str, list[Entry]] = {}
        for fact in facts:
            days.setdefault(fact.day, []).append(fact.entry)
        for day, entries in days.items():
            self._index.put(self._staging.root, day, entries)
        for fact in facts:
            self._remove_old(fact)

    def _remove_old(self, fact: Fact) -> None:
        root, old_entry = self._staging.root, fact.old_entry
        if old_entry is None or fact.old_day != fact.day or old_entry.folder == fact.entry.folder:
            return
        folder = (DAILY, fact.day, *old_entry.folder)
        with contextlib.suppress(FileNotFoundError):
            with opened(root, folder) as directory:
                os.unlink(old_entry.file, dir_fd=directory)
            _remove_empty(root, folder, stop=2)

    def _flush(self) -> None:
        """Rewrite the summaries that are out of date, and drop the journal, which they make needless."""
        dirty = self._index.dirty()
        if not dirty and not self._journal_bytes:
            return
        root = self._staging.root
        for name, day in dirty.items():
            self._write_summary(root, name, day)
        sync_directories(root, {(DAILY, name) for name in dirty if self._index.has_any(name)})
        self._staging.drop_journals()
        self._journal_bytes = 0
        for day in dirty.values():
            day.dirty = False
        self._index.forget_clean()
        self._point_latest(())

    def _write_summary(self, root: int, name: str, day: Day) -> None:
        if not self._index.has_any(name):
            with contextlib.suppress(FileNotFoundError):
                with opened(root, (DAILY, name)) as directory:
                    os.unlink(SUMMARY, dir_fd=directory)
                _remove_empty(root, (DAILY, name), stop=1)
            day.size, day.directory = 0, None
            return
        size = 0
        descriptor = self._staging.write(SUMMARY, b"")
        try:
            for piece in self._index.summary(name):
                disk.write_all(descriptor, piece)
                size += len(piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with opened(root, (DAILY, name)) as directory:
            self._staging.publish(SUMMARY, directory, SUMMARY)
            found = os.fstat(directory)
        day.size, day.directory = size, (found.st_dev, found.st_ino)

    def _point_latest(self, days: Iterable[str]) -> None:
        """Swap the link to the newest day, if it is another one."""
        root = self._staging.root
        try:
            current = os.readlink(_LATEST, dir_fd=root)
        except OSError:
            current = None
        newest = next_latest(
            current.removeprefix(DAILY + "/") if current else "",
            days,
            stands=lambda pointed: identity(f"{DAILY}/{pointed}", root) is not None,
            all_days=lambda: list_days(root),
        )
        if newest is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_LATEST, dir_fd=root)
        elif current != f"{DAILY}/{newest}":
            self._staging.discard(_LATEST)
            os.symlink(f"{DAILY}/{newest}", _LATEST, dir_fd=self._staging.fd)
            self._staging.publish(_LATEST, root, _LATEST)
            os.fsync(root)


def _staged(number: int) -> str:
    """The name of a file in staging; long, as ext4 compares it with every name in a block of the directory."""
    return f"{number:064d}"


def _stands(root: int, fact: Fact) -> bool:
    """Whether the file of a journal line was put in place by that line's event; if not, the event comes again."""
    with contextlib.suppress(FileNotFoundError), opened(root, (DAILY, fact.day, *fact.entry.folder)) as folder:
        return read_event_id(read_regular(fact.entry.file, folder) or b"") == fact.entry.event_id
    return False


def _remove_empty(root: int, path: tuple[str, ...], stop: int) -> None:
    """Remove a directory and those above it, down to a length, while they are empty."""
    while len(path) > stop:
        try:
            with opened(root, path[:-1]) as parent:
                os.rmdir(path[-1], dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            raise
        path = path[:-1]
