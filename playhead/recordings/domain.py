"""The domain `recordings`: meetings, their chunks of audio, and the recordings that they become."""

from playhead.streams.domains.domain import Domain
from playhead.streams.domains.settings import number, optional_path
from playhead.streams.recordings.events import (
    ChunkCleaned,
    ChunkExpired,
    ChunkFlushed,
    MeetingStopped,
    PromotionFailed,
    RecordingPromoted,
    TranscodeFailed,
    TranscodeFinished,
    stream,
)

recordings = Domain("recordings", migrations="../projections/recordings/migrations")
recordings.stream(stream)

RECORDINGS_DIR = recordings.directory(
    "PLAYHEAD_RECORDINGS_DIR", "recordings", "Audio of meetings, for recorders and workers.", title="recordings"
)
FFMPEG = recordings.setting(
    "PLAYHEAD_FFMPEG", "", "The ffmpeg that workers run; if empty, that of imageio-ffmpeg.", read=optional_path
)
TRANSCODE_SECONDS = recordings.setting(
    "PLAYHEAD_TRANSCODE_SECONDS", 60, "Seconds that ffmpeg has for one chunk.", read=number(1)
)
KEEP_CHUNKS = recordings.setting(
    "PLAYHEAD_KEEP_CHUNKS",
    default=False,
    help="Keep rows and MP3 files of chunks after the promotion of their meeting.",
)
PROMOTE_SECONDS = recordings.setting(
    "PLAYHEAD_PROMOTE_SECONDS", 300, "Seconds that `promote` waits for chunks after a meeting ends.", read=number(0)
)
GAP_SECONDS = recordings.setting(
    "PLAYHEAD_GAP_SECONDS",
    3600,
    "Seconds of silence that recordings keep; longer silence of all participants is cut.",
    read=number(1),
)
SWEEP_SECONDS = recordings.setting(
    "PLAYHEAD_SWEEP_SECONDS", 86400, "Seconds after which `sweep` ends a session without a heartbeat.", read=number(60)
)
FLUSH_SECONDS = recordings.setting(
    "PLAYHEAD_FLUSH_SECONDS", 10, "Seconds in a chunk of `playhead recordings import`.", read=number(0.1)
)

recordings.projection(
    "recordings",
    "playhead.recordings.projections:recordings",
    reads=[stream],
    verification="playhead.recordings.projections:recordings_verification",
)
recordings.worker(
    "transcode",
    on=[ChunkFlushed],
    ends=[TranscodeFinished, TranscodeFailed, ChunkCleaned, ChunkExpired],
    handler="playhead.recordings.workers:transcode",
    lacks="playhead.recordings.checks:lacks_ffmpeg",
)
recordings.worker(
    "promote",
    on=[MeetingStopped],
    ends=[RecordingPromoted, PromotionFailed],
    handler="playhead.recordings.workers:promote",
    lacks="playhead.recordings.checks:lacks_ffmpeg",
    max_attempts=20,  # it waits for others by trying again
)
recordings.clock("sweep", "playhead.recordings.sweeping:sweep", every=3600)
recordings.command(
    "playhead.recordings.commands:recordings_app", help="List, promote, sweep and import recordings of meetings."
)
recordings.extend("check", "playhead.recordings.checks:check_ffmpeg")
recordings.extend("demo", "playhead.recordings.demo:record_a_meeting")
