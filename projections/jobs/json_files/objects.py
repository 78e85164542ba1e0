"""The JSON files in a bucket: the layout of the directory, an object a file."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playhead.projections.failures import classify
from playhead.projections.jobs.json_files.documents import STATUSES, Document, make_document, newest_documents
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.index import DAILY, SUMMARY, is_day, newest_day
from playhead.projections.jobs.json_files.summaries import Entry, decode_summary, encode_summary
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.sinks import Batch, Failure, Outcome
from playhead.streams.storage.buckets import Bucket

LATEST = "latest"
_THREADS = 16
"""Requests on their way at once: each waits for the store, not for this machine."""


class JsonObjects:
    """The newest result of each job and day as `daily/<day>/scrapers/<scraper>/<job>.json`, a summary a day, `latest`.

    A job id that returns on another day is another run of the job: the objects of other days stay. An object is
    replaced only by that of a newer event, which the store itself checks, and a summary is merged with the one that
    stands. So a process that froze and wakes up late takes nothing back.
    """

    name: str = "json-files"
    streams: tuple[str, ...] = ("jobs",)
    exclusive: bool = True
    directory: Path | None = None

    def __init__(self, location: str) -> None:
        self._bucket = Bucket(location)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self.name)
        self._known: dict[str, dict[str, Entry]] | None = None
        """The entries of each day by job id; None before `open`."""

    def open(self, partition: Partition, epoch: int) -> None:  # noqa: ARG002  # no epoch: see the class
        """Read the summaries of all days.

        Raises:
            StoreUnavailable: the bucket is away.
            UnreadableSummary: a day's summary was changed by somebody else.
        """
        days = [day for day in self._bucket.folders(DAILY) if is_day(day)]
        self._known = dict(zip(days, self._pool.map(self._entries, days), strict=True))

    def apply(self, batch: Batch) -> Outcome:
        """Write the newest result of each job and day, then the summaries that name them.

        Raises:
            InvalidEvent: a payload is no job result; nothing was written.
            StoreUnavailable: the bucket is away; the same batch may come again.
        """
        assert self._known is not None, "open comes first"
        chosen = [one for one in newest_documents(batch.events) if self._is_newest(one)]
        written = list(self._pool.map(self._put, chosen))
        newest = [document for document, stands in zip(chosen, written, strict=True) if stands]
        left = [(one, known) for one in newest if (known := self._find(one)) is not None]
        gone = [object_name(one.day, known) for one, known in left if known.folder != one.entry.folder]
        list(self._pool.map(self._bucket.delete, gone))
        for document in newest:
            self._known.setdefault(document.day, {})[document.entry.job_id] = document.entry
        self._summarise({document.day for document in newest})
        return "applied"

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        if recorded.event.type in STATUSES:
            make_document(recorded)

    def settle(self) -> None:
        """There is no deferred work."""

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown()

    def classify(self, error: Exception) -> Failure:
        """Tell trouble of a summary, which lasts until somebody fixes it, from that of an event or the storage."""
        return "lasting" if isinstance(error, UnreadableSummary) else classify(error)

    def health(self) -> str | None:
        """Nothing that is not seen as an error: a bucket does not fill up."""
        return None

    def _is_newest(self, document: Document) -> bool:
        known = self._find(document)
        return known is None or known.order <= document.entry.order

    def _find(self, document: Document) -> Entry | None:
        """What stands for the job and day, as far as this process knows."""
        return (self._known or {}).get(document.day, {}).get(document.entry.job_id)

    def _put(self, document: Document) -> bool:
        return self._bucket.put_newer(object_name(document.day, document.entry), document.content, document.entry.order)

    def _summarise(self, days: Iterable[str]) -> None:
        known = self._known or {}

        def write(day: str) -> None:
            own = known[day]

            def merge(standing: bytes | None) -> bytes:
                # What we do not know was written by another process.
                entries = own | {
                    job_id: entry
                    for job_id, entry in (_decode(day, standing) if standing else {}).items()
                    if job_id not in own or own[job_id].order < entry.order
                }
                return encode_summary(day, list(entries.values()))

            self._bucket.change(f"{DAILY}/{day}/{SUMMARY}", merge)

        chosen = sorted(days)
        list(self._pool.map(write, chosen))
        if chosen:
            newest = newest_day(day for day, entries in known.items() if entries)
            self._bucket.change(LATEST, lambda _: f"{DAILY}/{newest}\n".encode())

    def _entries(self, day: str) -> dict[str, Entry]:
        return _decode(day, self._bucket.get(f"{DAILY}/{day}/{SUMMARY}") or b"")


def object_name(day: str, entry: Entry) -> str:
    """Where the file of a job stands in its bucket."""
    return "/".join((DAILY, day, *entry.folder, entry.file))


def _decode(day: str, content: bytes) -> dict[str, Entry]:
    try:
        return decode_summary(content) if content else {}
    except ValueError as error:
        raise UnreadableSummary(f"{DAILY}/{day}/{SUMMARY}: {error}; delete the day and replay it") from error
