"""The JSON files in a bucket: the layout of the directory, an object a file."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import TypeVar

from playhead.projections.failures import classify
from playhead.projections.jobs.json_files.days import DAILY, SUMMARY, Days, InUse, is_day, next_latest
from playhead.projections.jobs.json_files.documents import STATUSES, Document, make_document, newest_documents
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.summaries import Entry, read_summary
from playhead.projections.scratch import scratch_directory
from playhead.streams.errors import StoreUnavailable
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.sinks import Batch, Failure, Outcome
from playhead.streams.storage.buckets import Bucket

LATEST = "latest"
_THREADS = 16
"""Requests on their way at once: each waits for the store, not for this machine."""
_ATTEMPTS = 5

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


class JsonObjects:
    """The newest result of each job and day as `daily/<day>/scrapers/<scraper>/<job>.json`, a summary a day, `latest`.

    A job id that returns on another day is another run of the job: the objects of other days stay. An object is
    replaced only by that of a newer event, which the store itself checks, and a summary is merged with the one that
    stands. So a process that froze and wakes up late takes nothing back. What is read of a bucket, and what is about
    to be written, is in files below `scratch` that have no name.
    """

    name: str = "json-files"
    streams: tuple[str, ...] = ("jobs",)
    exclusive: bool = True
    directory: Path | None = None

    def __init__(self, location: str, scratch: Path | None = None) -> None:
        self._bucket = Bucket(location)
        self._scratch = scratch
        self._threads = _Threads(self.name)
        self._index: ObjectIndex | None = None
        """None before `open`."""

    def open(self, partition: Partition, epoch: int) -> None:  # noqa: ARG002  # no epoch: see the class
        """Forget what we knew of the days: another process may have written since.

        Raises:
            StoreUnavailable: the bucket is away.
            OSError: there is no directory to keep files in.
        """
        self._bucket.get(LATEST)
        self._forget()
        self._index = ObjectIndex(self._bucket, self._threads, scratch_directory(self._scratch))

    def apply(self, batch: Batch) -> Outcome:
        """Write the newest result of each job and day, then the summaries that name them.

        Raises:
            InvalidEvent: a payload is no job result; nothing was written.
            StoreUnavailable: the bucket is away; the same batch may come again.
            UnreadableSummary: a day's summary was changed by somebody else.
            OSError: the disk is full; the same batch may come again.
        """
        assert self._index is not None, "open comes first"
        documents = newest_documents(batch.events)
        standing = self._index.find(documents)
        chosen = [one for one in documents if _is_newest(one, standing.get(_key(one)))]
        written = self._threads.do(self._put, chosen)
        newest = [document for document, stands in zip(chosen, written, strict=True) if stands]
        left = [(one, known) for one in newest if (known := standing.get(_key(one))) is not None]
        gone = [object_name(one.day, known) for one, known in left if known.folder != one.entry.folder]
        self._threads.do(self._bucket.delete, gone)
        self._index.put([one for one in newest if one.entry != standing.get(_key(one))])
        days = sorted({document.day for document in newest})
        self._index.summarize(days)
        if days:
            self._point_latest(days)
        return "applied"

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        if recorded.event.type in STATUSES:
            make_document(recorded)

    def settle(self) -> None:
        """There is no deferred work."""

    def close(self) -> None:
        """Let go of the threads and the files."""
        self._threads.close()
        self._forget()

    def classify(self, error: Exception) -> Failure:
        """Tell trouble of a summary, which lasts until somebody fixes it, from that of an event or the storage."""
        return "lasting" if isinstance(error, UnreadableSummary) else classify(error)

    def health(self) -> str | None:
        """Nothing that is not seen as an error: a bucket does not fill up."""
        return None

    def _forget(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None

    def _put(self, document: Document) -> bool:
        return self._bucket.put_newer(object_name(document.day, document.entry), document.content, document.entry.order)

    def _point_latest(self, days: Sequence[str]) -> None:
        def follow(standing: bytes | None) -> bytes:
            pointed = (standing or b"").decode(errors="replace").strip().removeprefix(DAILY + "/")
            newest = next_latest(
                pointed, days, stands=lambda day: day in days or self._stands(day), all_days=self._all_days
            )
            return f"{DAILY}/{newest}\n".encode()

        self._bucket.change(LATEST, follow)

    def _stands(self, day: str) -> bool:
        return self._bucket.tag(_summary_name(day)) is not None

    def _all_days(self) -> list[str]:
        days = list(filter(is_day, self._bucket.folders(DAILY)))
        return [day for day, stands in zip(days, self._threads.do(self._stands, days), strict=True) if stands]


class _Day(InUse, gc=False):
    """A day that is in use: the entity tag of its summary as we know it, None if there was none."""

    tag: str | None


class ObjectIndex(Days[_Day]):
    """The days of a bucket. Threads take turns at the entries."""

    def __init__(self, bucket: Bucket, threads: "_Threads", directory: Path) -> None:
        super().__init__(directory)
        self._bucket, self._threads, self._directory = bucket, threads, directory
        self._lock = Lock()

    def find(self, documents: Iterable[Document]) -> dict[tuple[str, str], Entry]:
        """What stands for the days and jobs of documents, by these; days that are not in use are read."""
        if self.failed:
            self.close()
        jobs: dict[str, list[str]] = {}
        for document in documents:
            jobs.setdefault(document.day, []).append(document.entry.job_id)
        self._threads.do(self._use, [day for day in jobs if day not in self._days])
        found = {day: self._entries.find(day, job_ids) for day, job_ids in jobs.items()}
        return {(day, job_id): entry for day, entries in found.items() for job_id, entry in entries.items()}

    def put(self, documents: Iterable[Document]) -> None:
        """Take the entries of documents up."""
        entries: dict[str, list[Entry]] = {}
        for document in documents:
            entries.setdefault(document.day, []).append(document.entry)
        for day, of_day in entries.items():
            self._entries.put(day, of_day)
            self._days[day].dirty = True

    def summarize(self, names: Sequence[str]) -> None:
        """Bring the summaries of days up to date."""
        self._threads.do(self._write, names)
        self.forget_clean()

    def _use(self, name: str) -> None:
        self._days[name] = _Day(tag=self._read(name))

    def _read(self, name: str) -> str | None:
        """Take up what the summary says that we do not know, as another process wrote it; give its entity tag."""
        with TemporaryFile(dir=self._directory) as file:
            tag = self._bucket.get_file(_summary_name(name), file)
            if file.tell():
                file.seek(0)
                with self._lock:
                    self._take_up(name, read_summary(file))
        return tag

    def _write(self, name: str) -> None:
        """Write the summary, unless it is as we know it and so are its entries; merge it with what others wrote."""
        day = self._days[name]
        for _ in range(_ATTEMPTS):
            tag = self._bucket.tag(_summary_name(name))
            if not tag or tag != day.tag:
                day.tag, day.dirty = self._read(name), True
            if not day.dirty:
                return
            with TemporaryFile(dir=self._directory) as file:
                with self._lock:
                    file.writelines(self.summary(name))
                written = self._bucket.put_file(_summary_name(name), file, day.tag)
            if written is not None:
                day.tag, day.dirty = written, False
                return
        raise StoreUnavailable(f"{_summary_name(name)} was changed by others {_ATTEMPTS} times while it was written")


class _Threads:
    """Threads that wait for the store."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=name)

    def do(self, work: Callable[[_Item], _Done], items: Iterable[_Item]) -> list[_Done]:
        """Do something with each item; if that fails with one, nothing is left going on."""
        doing = [self._pool.submit(work, item) for item in items]
        try:
            return [each.result() for each in doing]
        finally:
            for each in doing:
                each.cancel()
            wait(doing)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def object_name(day: str, entry: Entry) -> str:
    """Where the file of a job stands in its bucket."""
    return "/".join((DAILY, day, *entry.folder, entry.file))


def _summary_name(day: str) -> str:
    return f"{DAILY}/{day}/{SUMMARY}"


def _is_newest(document: Document, known: Entry | None) -> bool:
    return known is None or known.order <= document.entry.order


def _key(document: Document) -> tuple[str, str]:
    return document.day, document.entry.job_id
