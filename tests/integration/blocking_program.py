"""A worker process whose function is not async, and blocks its thread until the file `go` is there."""

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec

from playhead.consumers.processes.worker import WorkerProcessSettings, run_worker
from playhead.consumers.work.functions import FunctionHandler
from playhead.consumers.work.worker import WorkerSettings
from playhead.streams.domains.discovery import chosen
from playhead.streams.domains.domain import Domain
from playhead.streams.domains.place import Place

CONCURRENCY = 40
"""More than the executor of any loop has threads on a machine of this test."""
QUICK = -1
"""The number of an event on which there is no work."""

blocking = Domain("blocking")
stream = blocking.stream("blocking")
directory = Path(os.environ.get("BLOCKING_DIR", ""))


@stream.event("work.asked", subject="work/{number}")
class WorkAsked(msgspec.Struct, frozen=True):
    number: int


@stream.event("work.done", subject="work/{number}")
class WorkDone(msgspec.Struct, frozen=True):
    number: int
    attempt: int


@blocking.worker("blocked", on=WorkAsked, ends=WorkDone)
def blocked(task):
    (directory / f"begun-{task.data.number}-{os.getpid()}").touch()
    while task.data.number != QUICK and not (directory / "go").exists():
        time.sleep(0.01)  # another process makes it
    return WorkDone(task.data.number, task.attempt)


if __name__ == "__main__":
    with chosen([blocking]) as catalogue:
        settings = WorkerProcessSettings(
            redis_url=sys.argv[1], work=WorkerSettings(concurrency=CONCURRENCY, hold=3.0, grace=0.2)
        )
        handler = FunctionHandler(catalogue.workers["blocked"], Place("blocked", catalogue=catalogue))
        sys.exit(asyncio.run(run_worker(handler, settings)))
