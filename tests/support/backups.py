"""A data directory that is backed up and restored."""

from pathlib import Path

from playhead.backups.backup import back_up
from playhead.backups.restoration import find_run, restore
from playhead.backups.store import Store
from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.settings.settings import load
from playhead.streams.events import Recorded
from playhead.streams.installation import PlaceMark
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.sinks import Batch, Source
from playhead.streams.storage.blobs import Blobs
from tests.support.events import job

JOBS = Partition("jobs", 0)
ID = "0198-one"
"""The id of the installation."""


class Data:
    """A data directory with a log, blobs and recordings, as consumers leave them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "eventlog"
        self.recordings = RecordingFiles(directory / "recordings")
        self.settings = load(directory)

    def fill(self) -> None:
        """Give the installation its id, and the log a sealed segment and an active one."""
        self.append(1, 2, seal=True)
        self.append(3, 4)
        PlaceMark("EVENT_LOG_DIR", self.log).write(ID)

    def append(self, *numbers: int, seal: bool = False, partition: Partition = JOBS) -> None:
        writer = LogWriter(self.log, segment_bytes=1 if seal else 1 << 30, clock=lambda: 1)
        try:
            writer.open(partition, 1)
            events = [Recorded(job(number), Position(number, 0), number) for number in numbers]
            writer.apply(Batch(Source(partition), events, events[-1].position))
        finally:
            writer.close()

    def put_blob(self, content: bytes) -> None:
        Blobs(self.settings.blob_dir).put(content)

    def back_up(self, target):
        return back_up(self.settings, Store(str(target)))

    def restore(self, target, run: int | None = None):
        store = Store(str(target))
        return restore(self.settings, store, find_run(store, run))

    def numbers(self) -> list[int | None]:
        return [recorded.sequence for _, recorded in read(self.log)]

    def tree(self) -> dict[str, bytes]:
        """All that a backup must have, by its path."""
        paths = (path for path in self.directory.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in paths
            if not any(part.startswith(".") for part in path.relative_to(self.directory).parts)
        }
