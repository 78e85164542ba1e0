"""What consumers there are, and how to make one."""

from collections.abc import Callable
from pathlib import Path

from consumers.recordings.errors import FfmpegMissing
from consumers.recordings.ffmpeg import Ffmpeg, find_ffmpeg
from consumers.recordings.progress import Progress
from consumers.recordings.promote import Promote, PromoteSettings
from consumers.recordings.promotion import Promoter
from consumers.recordings.transcode import Transcode
from consumers.work.worker import Handler, WorkerSettings
from eventlog.writer import EventLog
from playhead.settings import Servers, Settings
from projections.archives import Archives
from projections.archives.verification import ArchivesVerification
from projections.jobs.projection import Jobs
from projections.jobs.verification import JobsVerification
from projections.json_files.objects import JsonObjects
from projections.json_files.projection import JsonFiles
from projections.json_files.verification import JsonFilesVerification, JsonObjectsVerification
from projections.organizations.projection import Organizations
from projections.organizations.verification import OrganizationsVerification
from projections.recordings.projection import Recordings
from projections.recordings.verification import RecordingsVerification
from projections.verification import Foldable, Verifiable
from streams.connections import connect
from streams.objects import Objects
from streams.partitions import CATALOGUE
from streams.recording_files import RecordingFiles
from streams.sinks import Sink

CONSUMERS: dict[str, Callable[[Settings, Servers], Sink]] = {
    "log": lambda settings, _: EventLog(settings.event_log_dir),
    "json-files": lambda settings, _: _json_files(settings),
    "jobs": lambda _, servers: Jobs(servers.database_url),
    "organizations": lambda _, servers: Organizations(servers.database_url),
    "recordings": lambda settings, servers: Recordings(servers.database_url, keep=settings.keep_chunks),
    "archives": lambda settings, _: Archives(settings.archive_dir, settings.blob_dir, settings.archive_level),
}
"""The log and the projections, by name."""

VERIFICATIONS: dict[str, Callable[[Settings, Servers], Verifiable | Foldable]] = {
    "json-files": lambda settings, _: _json_files_verification(settings),
    "jobs": lambda _, servers: JobsVerification(servers.database_url),
    "organizations": lambda _, servers: OrganizationsVerification(servers.database_url),
    "archives": lambda settings, _: ArchivesVerification(settings.archive_dir),
    "recordings": lambda settings, servers: RecordingsVerification(
        servers.database_url, settings.recordings_dir, keep=settings.keep_chunks
    ),
}
"""What compares a projection with the log, by the projection's name."""

WORKERS: dict[str, Callable[[Settings, Servers], Handler]] = {
    "transcode": lambda settings, _: Transcode(RecordingFiles(settings.recordings_dir), _ffmpeg(settings)),
    "promote": lambda settings, servers: Promote(
        RecordingFiles(settings.recordings_dir),
        make_promoter(settings),
        servers.database_url,
        Progress(connect(servers.redis_url, settings.redis_timeout)),
        PromoteSettings(
            partitions=settings.partitions, wait_seconds=settings.promote_seconds, keep=settings.keep_chunks
        ),
    ),
}
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
    try:
        find_ffmpeg(settings.ffmpeg)
    except FfmpegMissing as error:
        return dict.fromkeys(sorted(_NEED_FFMPEG), str(error))
    return {}


def work_settings(name: str, settings: Settings) -> WorkerSettings:
    """How a worker works."""
    return WorkerSettings(
        hold=settings.lease_seconds,
        concurrency=settings.concurrency,
        max_attempts=max(settings.max_attempts, _LEAST_ATTEMPTS.get(name, 1)),
    )


def readers_by_stream() -> dict[str, tuple[str, ...]]:
    """Every consumer of each stream: an entry may go only when all of them are past it."""
    return {stream: tuple(name for name, read in STREAMS.items() if stream in read) for stream in CATALOGUE}


def _json_files(settings: Settings) -> Sink:
    place = Objects(settings.output_dir)
    return JsonObjects(place.location) if place.directory is None else JsonFiles(Path(settings.output_dir))


def _json_files_verification(settings: Settings) -> Verifiable:
    place = Objects(settings.output_dir)
    if place.directory is None:
        return JsonObjectsVerification(place.location)
    return JsonFilesVerification(Path(settings.output_dir))


def _ffmpeg(settings: Settings) -> Ffmpeg:
    return Ffmpeg(find_ffmpeg(settings.ffmpeg), settings.transcode_seconds)


def make_promoter(settings: Settings) -> Promoter:
    """What makes recordings.

    Raises:
        FfmpegMissing: there is no ffmpeg.
    """
    return Promoter(RecordingFiles(settings.recordings_dir), _ffmpeg(settings))
