"""The workers of the domain `recordings`, made with its settings."""

from playhead.consumers.recordings.ffmpeg import Ffmpeg, find_ffmpeg
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.promote import Promote, PromoteSettings
from playhead.consumers.recordings.promotion import Promoter
from playhead.consumers.recordings.transcode import Transcode
from playhead.recordings.domain import (
    FFMPEG,
    GAP_SECONDS,
    KEEP_CHUNKS,
    PROMOTE_SECONDS,
    RECORDINGS_DIR,
    TRANSCODE_SECONDS,
)
from playhead.settings.core import REDIS_TIMEOUT
from playhead.streams.domains.place import Place
from playhead.streams.domains.settings import SettingValues
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.redis.connections import connect


def transcode(place: Place) -> Transcode:
    """Makes an MP3 of each chunk."""
    return Transcode(RecordingFiles(place.settings[RECORDINGS_DIR]), _ffmpeg(place.settings))


def promote(place: Place) -> Promote:
    """Makes the recordings of each meeting that ended."""
    settings = place.settings
    return Promote(
        RecordingFiles(settings[RECORDINGS_DIR]),
        make_promoter(settings),
        place.database_url,
        Progress(connect(place.redis_url, settings[REDIS_TIMEOUT])),
        PromoteSettings(wait_seconds=settings[PROMOTE_SECONDS], keep=settings[KEEP_CHUNKS]),
        place.schema,
    )


def make_promoter(settings: SettingValues) -> Promoter:
    """What makes recordings.

    Raises:
        FfmpegMissing: there is no ffmpeg.
    """
    files = RecordingFiles(settings[RECORDINGS_DIR])
    return Promoter(files, _ffmpeg(settings), longest_gap=settings[GAP_SECONDS])


def _ffmpeg(settings: SettingValues) -> Ffmpeg:
    return Ffmpeg(find_ffmpeg(settings[FFMPEG]), settings[TRANSCODE_SECONDS])
