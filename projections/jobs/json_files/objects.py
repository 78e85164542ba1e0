"""The JSON files in a bucket: the layout of the directory, an object a file."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playhead.projections.failures import classify
from playhead.projections.jobs.json_files.documents import STATUSES, Document, make_document
from playhead.projections.jobs.json_files.errors import UnreadableSummary
from playhead.projections.jobs.json_files.index import DAILY, SUMMARY, is_day
from playhead.projections.jobs.json_files.summaries import Entry, decode_summary, encode_summary
from playhead.streams.partitions import Partition
from playhead.streams.sinks import Batch, Failure, Outcome
from playhead.streams.storage.buckets import Bucket

LATEST = "latest"
_THREADS = 16
"""Requests on their way at once: each waits for the store, not for this machine."""


class JsonObjects:
    """The newest result of each job as `daily/<day>/scrapers/<scraper>/<job>.json`, a summary a day, and `latest`.

    An object is replaced only by that of a newer event, which the store itself checks, and a summary is merged with the
    one that stands. So a process that froze and wakes up late takes nothing back.
    """

    name: str = "json-files"
    streams: tuple[str, ...] = ("jobs",)
    exclusive: bool = True
    directory: Path | None = None

    def __init__(self, location: str) -> None:
        self._bucket = Bucket(location)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self.name)
        self._known: dict[str, tuple[str, Entry]] | None = None

    def open(self, partition: Partition, epoch: int) -> None:  # noqa: ARG002  # no epoch: see the class
        """Read where each job is, and take it out of summaries of days that it has left.

        Raises:
            StoreUnavailable: the bucket is away.
            UnreadableSummary: a day's summary was changed by somebody else.
        """
        days = [day for day in self._bucket.folders(DAILY) if is_day(day)]
        known: dict[str, tuple[str, Entry]] = {}
        stale: set[str] = set()
        for day, entries in zip(days, self._pool.map(self._entries, days), strict=True):
            for entry in entries.values():
                other = known.get(entry.job_id)
                if other is not None:
                    stale.add(day if entry.order < other[1].order else other[0])
                if other is None or other[1].order < entry.order:
                    known[entry.job_id] = day, entry
        self._known = known
        self._summarise(stale)

    def apply(self, batch: Batch) -> Outcome:
        """Write the newest result of each job, then the summaries that name them.

        Raises:
            InvalidEvent: a payload is no job result; nothing was written.
            StoreUnavailable: the bucket is away; the same batch may come again.
        """
        assert self._known is not None, "open comes first"
        documents: dict[str, Document] = {}
        for recorded in batch.events:
            if recorded.event.type in STATUSES:
                document = make_document(recorded)
                other = documents.get(document.entry.job_id)
                if other is None or document.entry.order > other.entry.order:
                    documents[document.entry.job_id] = document
        chosen = [one for one in documents.values() if self._is_newest(one)]
        written = list(self._pool.map(self._put, chosen))
        newest = [document for document, stands in zip(chosen, written, strict=True) if stands]
        places = {(document.day, document.entry.folder, document.entry.file) for document in newest}
        left = [known for one in newest if (known := self._known.get(one.entry.job_id)) is not None]
        gone = [(day, entry) for day, entry in left if (day, entry.folder, entry.file) not in places]
        list(self._pool.map(self._bucket.delete, [object_name(day, entry) for day, entry in gone]))
        for document in newest:
            self._known[document.entry.job_id] = document.day, document.entry
        self._summarise({document.day for document in newest} | {day for day, _ in left})
        return "applied"

    def settle(self) -> None:
        """Nothing is put off."""

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
        known = (self._known or {}).get(document.entry.job_id)
        return known is None or known[1].order <= document.entry.order

    def _put(self, document: Document) -> bool:
        return self._bucket.put_newer(object_name(document.day, document.entry), document.content, document.entry.order)

    def _summarise(self, days: Iterable[str]) -> None:
        own: dict[str, dict[str, Entry]] = {day: {} for day in sorted(days)}
        known = self._known or {}
        for job_id, (day, entry) in known.items():
            if day in own:
                own[day][job_id] = entry

        def write(day: str) -> None:
            def merge(standing: bytes | None) -> bytes | None:
                # What we do not know was written by another process.
                entries = own[day] | {
                    job_id: entry
                    for job_id, entry in (_decode(day, standing) if standing else {}).items()
                    if job_id not in known or known[job_id][1].order < entry.order
                }
                return encode_summary(day, list(entries.values())) if entries else None

            self._bucket.change(f"{DAILY}/{day}/{SUMMARY}", merge)

        list(self._pool.map(write, own))
        if own:
            newest = max(day for day, _ in known.values())
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
