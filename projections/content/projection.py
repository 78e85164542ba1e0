"""The projection that keeps an archive of each capture, in a directory or a bucket."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from playhead.projections.content.archive import archive_name, make_archive
from playhead.projections.content.captured import decode_captured
from playhead.projections.content.levels import DEFAULT_LEVEL
from playhead.projections.failures import classify
from playhead.streams.content.events import CAPTURED
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.sinks import Batch, Failure, Outcome
from playhead.streams.storage import disk
from playhead.streams.storage.blobs import Blobs
from playhead.streams.storage.objects import Objects, Staged

_THREADS = 4
"""Compression and writing let go of the interpreter; each thread has one content and its archive in memory."""

_TOGETHER = 16


class Archives:
    """Each `content.captured` as `<YYYYMMDD_HHMMSS>_<scraper>.<digits>.tar.gz` with content.txt and metadata.json.

    Name and bytes follow from the event alone. So any process may write any archive at any time, again too, and needs
    no fence; and archives may be deleted at any time, running or not: a replay brings the same bytes back.
    """

    name: str = "archives"
    streams: tuple[str, ...] = ("content",)
    exclusive: bool = False

    def __init__(self, destination: Path | str, blobs: Path | str, level: int = DEFAULT_LEVEL) -> None:
        self._objects = Objects(destination)
        self._blobs = Blobs(blobs)
        self._level = level
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self.name)

    @property
    def directory(self) -> Path | None:
        """Where archives are, None for a bucket."""
        return self._objects.directory

    def open(self, partition: Partition, epoch: int) -> None:  # noqa: ARG002  # no epoch: see the class
        """Get ready, and remove what a killed process left long ago.

        Raises:
            StoreUnavailable: the directory cannot be made.
        """
        self._objects.prepare()

    def apply(self, batch: Batch) -> Outcome:
        """Write an archive for each capture.

        Raises:
            InvalidEvent: a payload is no capture.
            BlobMissing: the content of one is not in the blob store.
            BlobAltered: what is there is not that content.
            StoreUnavailable: the destination or the blob store is away; the same batch may come again.
        """
        captures = [recorded.event for recorded in batch.events if recorded.event.type == CAPTURED]
        staging = [
            self._pool.submit(self._stage, captures[start : start + _TOGETHER])
            for start in range(0, len(captures), _TOGETHER)
        ]
        wait(staging)
        self._objects.publish([staged for several in staging for staged in several.result()])
        return "applied"

    def examine(self, recorded: Recorded) -> None:
        """Raise what `apply` raises for the payload of an event."""
        if recorded.event.type == CAPTURED:
            decode_captured(recorded.event)

    def settle(self) -> None:
        """There is no deferred work."""

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown()

    def classify(self, error: Exception) -> Failure:
        """Tell trouble of the storage from that of an event."""
        return classify(error)

    def health(self) -> str | None:
        """What an operator must fix, or None."""
        return None if self.directory is None else disk.problem(self.directory)

    def _stage(self, events: Sequence[Event]) -> list[Staged]:
        """One after the other, so that one content is in memory, and passing small ones to threads costs little."""
        return [self._stage_one(event) for event in events]

    def _stage_one(self, event: Event) -> Staged:
        captured = decode_captured(event)
        content = captured.load(self._blobs.get)
        archive = make_archive(event, captured, content, self._level)
        return self._objects.stage(archive_name(event.id, captured), archive)
