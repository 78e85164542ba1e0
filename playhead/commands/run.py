"""`playhead run`: one consumer or worker as a process."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from playhead.checks.redis import warn_of_weakness
from playhead.registry import CONSUMERS, STREAMS, WORKERS, readers_by_stream, work_settings
from playhead.settings.settings import Servers, Settings, load, servers
from playhead.streams import telemetry
from playhead.streams.errors import InvalidSetting
from playhead.streams.names import TRACER
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir

if TYPE_CHECKING:
    from playhead.consumers.processes.service import ServiceSettings


def run(name: str, /, *, data_dir: DataDir = None) -> int:
    """Run one consumer or worker process until it is told to stop.

    Args:
        name: The consumer or worker; `playhead consumers` lists them.

    Example:
        playhead run json-files
    """
    if name not in STREAMS:
        raise InvalidSetting(f"there is no consumer {name!r}; there are {', '.join(STREAMS)}")
    settings = load(data_dir)
    diagnostics.configure(settings.log_format)
    telemetry.set_up(f"{TRACER}-{name}")
    reached = servers(settings)
    warn_of_weakness(reached.redis_url)
    from playhead.consumers.processes.service import ServiceSettings  # and with it FastStream

    place = ServiceSettings(
        redis_url=reached.redis_url,
        redis_timeout=settings.redis_timeout,
        partitions=settings.partitions,
        http_host=settings.http_host,
        http_port=settings.http_port,
    )
    if name in CONSUMERS:
        return _run_consumer(name, settings, reached, place)
    if name in WORKERS:
        return _run_worker(name, settings, reached, place)
    return _run_sweep(settings, reached, place)


def _run_consumer(name: str, settings: Settings, reached: Servers, place: "ServiceSettings") -> int:
    from playhead.consumers.processes.projection import ProcessSettings, run_consumer
    from playhead.consumers.reading.reader import ReaderSettings

    process = ProcessSettings(
        **msgspec.structs.asdict(place),
        reader=ReaderSettings(batch=settings.batch, lease=settings.lease_seconds),
        trim=readers_by_stream() if name == "log" else {},
        event_log_dir=settings.event_log_dir,
    )
    return asyncio.run(run_consumer(CONSUMERS[name](settings, reached), process))


def _run_worker(name: str, settings: Settings, reached: Servers, place: "ServiceSettings") -> int:
    from playhead.consumers.processes.worker import WorkerProcessSettings, run_worker

    work = WorkerProcessSettings(
        **msgspec.structs.asdict(place), work=work_settings(name, settings), event_log_dir=settings.event_log_dir
    )
    return asyncio.run(run_worker(WORKERS[name](settings, reached), work))


def _run_sweep(settings: Settings, reached: Servers, place: "ServiceSettings") -> int:
    from playhead.consumers.recordings.sweeping import SweepSettings, run_sweep
    from playhead.streams.recordings.files import RecordingFiles

    files, sweeping = RecordingFiles(settings.recordings_dir), SweepSettings.after(settings.sweep_seconds)
    return asyncio.run(run_sweep(files, reached.database_url, place, sweeping))
