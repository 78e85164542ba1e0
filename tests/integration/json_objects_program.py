"""Adds jobs to a day of JSON files in a bucket, and prints by how many MiB its memory grew at most.

Pages of files do not count: the kernel may drop them.
"""

import re
import sys
from pathlib import Path
from threading import Event, Thread

from playhead.projections.jobs.json_files.objects import JsonObjects
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.events import job

JOBS = Partition("jobs", 0)


def kibibytes() -> int:
    """Memory of this process that is of no file."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def apply(sink: JsonObjects, number: int, day: str) -> None:
    """Apply a batch of one job."""
    inner = {"id": str(number), "created_at": f"{day}T06:36:58Z"}
    recorded = Recorded(job(number, job=inner), Position(number, 0))
    assert sink.apply(Batch(Source(JOBS), [recorded], recorded.position)) == "applied"


def main() -> None:
    """Add jobs to the day in the arguments."""
    location, directory, day = sys.argv[1:]
    sink = JsonObjects(location, Path(directory))
    sink.open(JOBS, 1)
    apply(sink, 1, "2025-01-01")  # imports, threads, connections
    before, seen, done = kibibytes(), [0], Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(kibibytes())

    watching = Thread(target=watch)
    watching.start()
    for number in range(2, 5):
        apply(sink, number, day)
    done.set()
    watching.join()
    sink.close()
    sys.stdout.write(f"{(max(seen) - before) // 1024}")


if __name__ == "__main__":
    main()
