"""What consumers there are, and how to make one.

Each is imported where it is made: a process runs one of them, and most commands only want their names.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from playhead.settings.settings import Servers, Settings
from playhead.streams.partitions import CATALOGUE
from playhead.streams.sinks import Sink
from playhead.streams.storage.objects import Objects

if TYPE_CHECKING:
    from playhead.consumers.recordings.ffmpeg import Ffmpeg
    from playhead.consumers.recordings.promotion import Promoter
    from playhead.consumers.work.worker import Handler, WorkerSettings
    from playhead.projections.verification import Foldable, Verifiable


def _log(settings: Settings, _: Servers) -> Sink:
    from playhead.eventlog.writer import EventLog

    return EventLog(settings.event_log_dir)


def _json_files(settings: Settings, _: Servers) -> Sink:
    from playhead.projections.jobs.json_files.objects import JsonObjects
    from playhead.projections.jobs.json_files.projection import JsonFiles

    place = Objects(settings.output_dir)
    return JsonObjects(place.location) if place.directory is None else JsonFiles(Path(settings.output_dir))


def _jobs(_: Settings, servers: Servers) -> Sink:
    from playhead.projections.jobs.table.projection import Jobs

    return Jobs(servers.database_url)


def _organizations(_: Settings, servers: Servers) -> Sink:
    from playhead.projections.organizations.projection import Organizations

    return Organizations(servers.database_url)


def _recordings(settings: Settings, servers: Servers) -> Sink:
    from playhead.projections.recordings.projection import Recordings

    return Recordings(servers.database_url, keep=settings.keep_chunks)


def _archives(settings: Settings, _: Servers) -> Sink:
    from playhead.projections.content.projection import Archives

    return Archives(settings.archive_dir, settings.blob_dir, settings.archive_level)


CONSUMERS: dict[str, Callable[[Settings, Servers], Sink]] = {
    "log": _log,
    "json-files": _json_files,
    "jobs": _jobs,
    "organizations": _organizations,
    "recordings": _recordings,
    "archives": _archives,
}
"""The log and the projections, by name."""


def _verify_json_files(settings: Settings, _: Servers) -> "Verifiable":
    from playhead.projections.jobs.json_files.verification import JsonFilesVerification, JsonObjectsVerification

    place = Objects(settings.output_dir)
    if place.directory is None:
        return JsonObjectsVerification(place.location)
    return JsonFilesVerification(Path(settings.output_dir))


def _verify_jobs(_: Settings, servers: Servers) -> "Verifiable":
    from playhead.projections.jobs.table.verification import JobsVerification

    return JobsVerification(servers.database_url)


def _verify_organizations(_: Settings, servers: Servers) -> "Verifiable":
    from playhead.projections.organizations.verification import OrganizationsVerification

    return OrganizationsVerification(servers.database_url)


def _verify_archives(settings: Settings, _: Servers) -> "Verifiable":
    from playhead.projections.content.verification import ArchivesVerification

    return ArchivesVerification(settings.archive_dir)


def _verify_recordings(settings: Settings, servers: Servers) -> "Foldable":
    from playhead.projections.recordings.verification import RecordingsVerification

    return RecordingsVerification(servers.database_url, settings.recordings_dir, keep=settings.keep_chunks)


VERIFICATIONS: "dict[str, Callable[[Settings, Servers], Verifiable | Foldable]]" = {
    "json-files": _verify_json_files,
    "jobs": _verify_jobs,
    "organizations": _verify_organizations,
    "archives": _verify_archives,
    "recordings": _verify_recordings,
}
"""What compares a projection with the log, by the projection's name."""


def _transcode(settings: Settings, _: Servers) -> "Handler":
    from playhead.consumers.recordings.transcode import Transcode
    from playhead.streams.recordings.files import RecordingFiles

    return Transcode(RecordingFiles(settings.recordings_dir), _ffmpeg(settings))


def _promote(settings: Settings, servers: Servers) -> "Handler":
    from playhead.consumers.recordings.progress import Progress
    from playhead.consumers.recordings.promote import Promote, PromoteSettings
    from playhead.streams.recordings.files import RecordingFiles
    from playhead.streams.redis.connections import connect

    return Promote(
        RecordingFiles(settings.recordings_dir),
        make_promoter(settings),
        servers.database_url,
        Progress(connect(servers.redis_url, settings.redis_timeout)),
        PromoteSettings(
            partitions=settings.partitions, wait_seconds=settings.promote_seconds, keep=settings.keep_chunks
        ),
    )


WORKERS: "dict[str, Callable[[Settings, Servers], Handler]]" = {"transcode": _transcode, "promote": _promote}
"""Workers by name."""

STREAMS: dict[str, tuple[str, ...]] = {
    "log": tuple(CATALOGUE),
    "json-files": ("jobs",),
    "jobs": ("jobs",),
    "organizations": ("jobs",),
    "recordings": ("recordings",),
    "archives": ("content",),
    "transcode": ("recordings",),
    "promote": ("recordings",),
    "sweep": (),
}
"""The streams that each consumer and worker reads; `sweep` is called by the clock."""

PROJECTIONS = tuple(name for name in CONSUMERS if name != "log")

_NEED_FFMPEG = frozenset({"transcode", "promote"})
_LEAST_ATTEMPTS = {"promote": 20}
"""Of workers that wait for others by trying again."""


def lacking(settings: Settings) -> dict[str, str]:
    """The workers that cannot be started here, each with what it lacks."""
    from playhead.consumers.recordings.errors import FfmpegMissing
    from playhead.consumers.recordings.ffmpeg import find_ffmpeg

    try:
        find_ffmpeg(settings.ffmpeg)
    except FfmpegMissing as error:
        return dict.fromkeys(sorted(_NEED_FFMPEG), str(error))
    return {}


def work_settings(name: str, settings: Settings) -> "WorkerSettings":
    """How a worker works."""
    from playhead.consumers.work.worker import WorkerSettings

    return WorkerSettings(
        hold=settings.lease_seconds,
        concurrency=settings.concurrency,
        max_attempts=max(settings.max_attempts, _LEAST_ATTEMPTS.get(name, 1)),
    )


def readers_by_stream() -> dict[str, tuple[str, ...]]:
    """Every consumer of each stream: an entry may go only when all of them are past it."""
    return {stream: tuple(name for name, read in STREAMS.items() if stream in read) for stream in CATALOGUE}


def _ffmpeg(settings: Settings) -> "Ffmpeg":
    from playhead.consumers.recordings.ffmpeg import Ffmpeg, find_ffmpeg

    return Ffmpeg(find_ffmpeg(settings.ffmpeg), settings.transcode_seconds)


def make_promoter(settings: Settings) -> "Promoter":
    """What makes recordings.

    Raises:
        FfmpegMissing: there is no ffmpeg.
    """
    from playhead.consumers.recordings.promotion import Promoter
    from playhead.streams.recordings.files import RecordingFiles

    return Promoter(RecordingFiles(settings.recordings_dir), _ffmpeg(settings))
