"""One commit of job files, to be killed at any system call: `python -m tests.faults.commit DIRECTORY [naive]`."""

import json
import sys
from pathlib import Path

from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.events import job

PARTITION = Partition("jobs", 0)


def batch() -> Batch:
    """Two events of one job and one of another."""
    events = [
        Recorded(job(number, subject), Position(1754800000000 + number, 0))
        for number, subject in ((1, "job/a"), (2, "job/b"), (3, "job/a"))
    ]
    return Batch(Source(PARTITION), events, events[-1].position)


def commit(root: Path, epoch: int) -> None:
    files = JsonFiles(root)
    files.open(PARTITION, epoch)
    files.apply(batch())
    files.close()


def commit_naively(root: Path) -> None:
    """As one would write it first: in place."""
    folder = root / "daily/2025-08-09/scrapers/s"
    folder.mkdir(parents=True, exist_ok=True)
    for recorded in batch().events:
        payload = json.loads(recorded.event.data)
        with (folder / f"{payload['job_id']}.json").open("w") as file:
            json.dump(payload, file)


if __name__ == "__main__":
    if sys.argv[2:]:
        commit_naively(Path(sys.argv[1]))
    else:
        commit(Path(sys.argv[1]), 1)
