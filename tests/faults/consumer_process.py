"""What a forked consumer process does: a real consumer, with a fault built in if its specification says so."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec

from playhead.consumers.processes.projection import ProcessSettings, run_consumer
from playhead.consumers.processes.worker import WorkerProcessSettings, run_worker
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.work.functions import FunctionHandler
from playhead.consumers.work.task import Task
from playhead.consumers.work.worker import WorkerSettings
from playhead.eventlog.writer import LogWriter
from playhead.projections.content.projection import Archives
from playhead.projections.file_projection import ProjectedFiles
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.organizations.projection import Organizations
from playhead.projections.recordings.projection import Recordings
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import resolve
from playhead.streams.domains.place import Place
from playhead.streams.events import Event
from playhead.streams.sinks import Batch, Outcome, Sink
from playhead.wiring import sink_of
from tests.faults import naive, sessions
from tests.faults.effects import STRANGERS, kind_of
from tests.faults.spec import Spec
from tests.support.fork_server import arm
from tests.support.ledger import Ledger, ledger_place
from tests.support.places import place_of

WORKER = "enrich"


def prepare() -> None:
    """Import once, for all that are forked, what the declarations of strangers name."""
    for name in STRANGERS.keys() & {*installed().projections, *installed().workers}:
        resolve((installed().projections | installed().workers)[name].target)


def run(argument: object) -> int:
    """What a forked process does."""
    spec = msgspec.convert(argument, Spec)
    arm(spec.failpoint)
    return asyncio.run(serve(spec))


async def serve(spec: Spec) -> int:
    if spec.sink in sessions.ROLES:
        return await sessions.serve(spec)
    if spec.sink in installed().workers:
        if spec.control == "acknowledge first":
            naive.acknowledge_before_work()
        work = WorkerSettings(hold=spec.lease, first_delay=0.01, max_attempts=1000)
        handler = FunctionHandler(installed().workers[spec.sink], strangers_place(spec))
        return await run_worker(handler, WorkerProcessSettings(redis_url=spec.redis, work=work))
    if spec.sink == WORKER:
        work = WorkerSettings(hold=spec.lease, first_delay=0.01, max_attempts=1000)
        return await run_worker(Enrich(), WorkerProcessSettings(redis_url=spec.redis, work=work))
    settings = ProcessSettings(
        redis_url=spec.redis,
        partitions=spec.partitions,
        reader=ReaderSettings(batch=spec.batch, lease=spec.lease, max_deliveries=spec.max_deliveries),
        event_log_dir=Path(spec.directory) / "eventlog" if spec.recovering else None,
    )
    sink = make_sink(spec)
    return await run_consumer(sink if spec.poison is None else Poisoned(sink, spec.poison), settings)


def make_sink(spec: Spec) -> Sink:
    directory = Path(spec.directory)
    match spec.control:
        case "no transaction":
            sink = naive.NaiveInserts(spec.sink, spec.database)
        case "no checkpoint" | "no lease" | "no event ids" if kind_of(spec.sink).table:
            sink = naive.NaiveRows(spec.sink, spec.database)
        case "no checkpoint" | "no lease" | "no event ids":
            sink = naive.NaiveLines(spec.sink, directory / "effects")
        case _:
            sink = {
                "log": lambda: make_log(spec),
                "json-files": lambda: JsonFiles(directory / "outputs"),
                "jobs": lambda: Jobs(place_of("jobs", spec.database)),
                "ledger": lambda: ProjectedFiles(Ledger(ledger_place(directory / "ledger"))),
                "archives": lambda: Archives(directory / "archives", directory / "blobs"),
                "organizations": lambda: Organizations(place_of("organizations", spec.database)),
                "recordings": lambda: Recordings(place_of("recordings", spec.database)),
                **dict.fromkeys(STRANGERS, lambda: make_strangers_sink(spec)),
            }[spec.sink]()
    if spec.control == "no fsync":
        naive.without_sync()
    if spec.control == "no event ids":
        naive.without_event_ids()
    if spec.control == "no lease":
        naive.without_lease()
    if spec.control == "acknowledge first":
        naive.AcknowledgeFirst.install()
        return naive.AcknowledgeFirst(sink)
    return sink


def strangers_place(spec: Spec) -> Place:
    return place_of(spec.sink, spec.database, location=Path(spec.directory) / spec.sink, settings=spec.settings)


def make_strangers_sink(spec: Spec) -> Sink:
    return sink_of(resolve(installed().projections[spec.sink].target)(strangers_place(spec)))


def make_log(spec: Spec) -> Sink:
    log = LogWriter(Path(spec.directory) / "eventlog", segment_bytes=spec.segment_bytes)
    if spec.recovering:
        log.streams = OnlyJobs.streams
        return log
    return OnlyJobs(log)


class Enrich:
    """The worker whose outcomes are counted: one for each note."""

    name = WORKER
    streams = ("notes",)
    types = frozenset({"note.submitted"})
    ends = frozenset({"note.enriched", "note.enrichment_failed"})

    def key(self, event: Event) -> str:
        return event.subject

    async def handle(self, task: Task) -> list[Event]:
        return [task.event("note.enriched", {})]

    def give_up(self, task: Task, reason: str) -> list[Event]:
        return [task.event("note.enrichment_failed", {"reason": reason})]


class OnlyJobs:
    """The log of one stream: the others are quiet, and a reader each would only cost time."""

    streams: tuple[str, ...] = ("jobs",)

    def __init__(self, log: LogWriter) -> None:
        self._log = log

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)


class Poisoned:
    """A sink whose process one event kills."""

    def __init__(self, sink: Sink, event_id: str) -> None:
        self._sink, self._event_id = sink, event_id

    def __getattr__(self, name: str) -> object:
        return getattr(self._sink, name)

    def apply(self, batch: Batch) -> Outcome:
        if any(recorded.event.id == self._event_id for recorded in batch.events):
            os.kill(os.getpid(), signal.SIGKILL)
        return self._sink.apply(batch)
