"""One consumer, worker or clock as a process."""

import asyncio
from functools import partial

import msgspec
import structlog

from playhead.belonging import claim_of
from playhead.checks.marks import find_marks
from playhead.checks.redis import warn_of_weakness
from playhead.consumers.processes.clock import run_clock
from playhead.consumers.processes.projection import ProcessSettings, run_consumer
from playhead.consumers.processes.service import ServiceSettings
from playhead.consumers.processes.worker import WorkerProcessSettings, run_worker
from playhead.consumers.reading.reader import ReaderSettings
from playhead.settings.core import BATCH
from playhead.settings.producers import refuse_other_partitions
from playhead.settings.servers import Servers, servers
from playhead.settings.settings import Settings
from playhead.streams import telemetry
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import resolve
from playhead.streams.names import TRACER
from playhead.wiring import make_clock, make_handler, make_sink, work_settings


def run_process(name: str, settings: Settings) -> int:
    """Run until SIGTERM or Ctrl-C, and give the exit code."""
    telemetry.set_up(f"{TRACER}-{name}")
    reached = servers(settings)
    warn_of_weakness(reached.redis_url)
    refuse_other_partitions(reached.redis_url, settings)
    place = ServiceSettings(
        redis_url=reached.redis_url,
        redis_timeout=settings.redis_timeout,
        partitions=settings.partitions,
        http_host=settings.http_host,
        http_port=settings.http_port,
    )
    if name in installed().workers:
        return _run_worker(name, settings, reached, place)
    if name in installed().clocks:
        return _run_clock(name, settings, reached, place)
    return _run_consumer(name, settings, reached, place)


def _run_consumer(name: str, settings: Settings, reached: Servers, place: ServiceSettings) -> int:
    sink = make_sink(name, settings, reached)
    process = ProcessSettings(
        **msgspec.structs.asdict(place),
        reader=ReaderSettings(batch=settings[BATCH], lease=settings.lease_seconds),
        trim=installed().readers if name == LOG else {},
        observers=tuple(partial(resolve(target), name) for target in installed().extensions("observer")),
        marks=partial(find_marks, settings, reached, structlog.get_logger().warning) if name == LOG else None,
        event_log_dir=settings.event_log_dir,
        claim=claim_of(name, settings, reached, sink),
    )
    return asyncio.run(run_consumer(sink, process))


def _run_worker(name: str, settings: Settings, reached: Servers, place: ServiceSettings) -> int:
    work = WorkerProcessSettings(
        **msgspec.structs.asdict(place),
        work=work_settings(name, settings),
        claim=claim_of(name, settings, reached),
        event_log_dir=settings.event_log_dir,
        rivals=installed().rivals_of(name),
    )
    return asyncio.run(run_worker(make_handler(name, settings, reached), work))


def _run_clock(name: str, settings: Settings, reached: Servers, place: ServiceSettings) -> int:
    call, every = make_clock(name, settings, reached)
    claim = claim_of(name, settings, reached)

    def claim_and_call() -> float | None:
        claim()
        return call()

    return asyncio.run(run_clock(name, claim_and_call, every, place))
