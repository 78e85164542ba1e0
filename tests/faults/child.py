"""What a forked consumer process does: a real consumer, with a fault built in where its specification says so."""

import os
import signal
from pathlib import Path

from consumers.group import Group
from consumers.process import ProcessSettings, run_consumer
from consumers.reader import ReaderSettings
from eventlog.writer import EventLog
from projections.failures import is_transient
from projections.jobs.projection import Jobs
from projections.json_files.projection import JsonFiles
from streams.sinks import Batch, Outcome, Sink
from tests.faults import naive
from tests.faults.nursery import Spec


async def serve(spec: Spec) -> int:
    sink = Faulty(make_sink(spec), spec)
    advance = Group.advance

    async def counted(self, stream_key, position):
        await advance(self, stream_key, position)
        if position is not None:
            sink.reach("after advance")

    Group.advance = counted
    settings = ProcessSettings(
        redis_url=spec.redis,
        partitions=spec.partitions,
        reader=ReaderSettings(batch=spec.batch, lease=spec.lease, max_deliveries=spec.max_deliveries),
    )
    return await run_consumer(sink, settings, is_transient)


def make_sink(spec: Spec) -> Sink:
    directory = Path(spec.directory)
    match spec.control:
        case "no checkpoint" | "no lease" | "no event ids" if spec.sink == "jobs":
            sink = naive.NaiveRows(spec.sink, spec.database)
        case "no checkpoint" | "no lease" | "no event ids":
            sink = naive.NaiveLines(spec.sink, directory / "effects")
        case _:
            sink = {
                "log": lambda: OnlyJobs(EventLog(directory / "eventlog")),
                "json-files": lambda: JsonFiles(directory / "outputs"),
                "jobs": lambda: Jobs(spec.database),
            }[spec.sink]()
    if spec.control == "no event ids":
        naive.without_event_ids()
    if spec.control == "no lease":
        naive.without_lease()
    if spec.control == "acknowledge first":
        naive.AcknowledgeFirst.install()
        return naive.AcknowledgeFirst(sink)
    return sink


class OnlyJobs:
    """The log of one stream: the others are quiet, and a reader each would only cost time."""

    streams: tuple[str, ...] = ("jobs",)

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


class Faulty:
    """A sink around which the process kills or freezes itself at a given point."""

    def __init__(self, sink: Sink, spec: Spec) -> None:
        self._sink, self._spec = sink, spec
        self._reached: dict[str, int] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._sink, name)

    def apply(self, batch: Batch) -> Outcome:
        if any(recorded.event.id == self._spec.poison for recorded in batch.events):
            os.kill(os.getpid(), signal.SIGKILL)
        self.reach("before apply")
        outcome = self._sink.apply(batch)
        self.reach("after apply")
        return outcome

    def reach(self, point: str) -> None:
        number = self._reached[point] = self._reached.get(point, 0) + 1
        for wanted, sign in ((self._spec.kill, signal.SIGKILL), (self._spec.freeze, signal.SIGSTOP)):
            if wanted == f"{point}:{number}":
                os.kill(os.getpid(), sign)
