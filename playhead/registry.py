"""What consumers there are, and how to make one."""

from collections.abc import Callable

from eventlog.writer import EventLog
from playhead.settings import Servers, Settings
from projections.jobs.projection import Jobs
from projections.jobs.verification import JobsVerification
from projections.json_files.projection import JsonFiles
from projections.json_files.verification import JsonFilesVerification
from projections.verification import Verifiable
from streams.partitions import CATALOGUE
from streams.sinks import Sink

CONSUMERS: dict[str, Callable[[Settings, Servers], Sink]] = {
    "log": lambda settings, _: EventLog(settings.event_log_dir),
    "json-files": lambda settings, _: JsonFiles(settings.output_dir),
    "jobs": lambda _, servers: Jobs(servers.database_url),
}
"""Consumers by name."""

VERIFICATIONS: dict[str, Callable[[Settings, Servers], Verifiable]] = {
    "json-files": lambda settings, _: JsonFilesVerification(settings.output_dir),
    "jobs": lambda _, servers: JobsVerification(servers.database_url),
}
"""What compares a projection with the log, by the projection's name."""

STREAMS: dict[str, tuple[str, ...]] = {"log": tuple(CATALOGUE), "json-files": ("jobs",), "jobs": ("jobs",)}
"""The streams that each consumer reads."""

PROJECTIONS = tuple(name for name in CONSUMERS if name != "log")


def readers_by_stream() -> dict[str, tuple[str, ...]]:
    """Every consumer of each stream: an entry may go only when all of them are past it."""
    return {stream: tuple(name for name, read in STREAMS.items() if stream in read) for stream in CATALOGUE}
