"""Whether the workers of recordings have an ffmpeg that can do their work."""

import subprocess
from collections.abc import Iterator

from playhead.checks.check import Check, judge
from playhead.consumers.recordings.errors import FfmpegMissing
from playhead.consumers.recordings.ffmpeg import find_ffmpeg
from playhead.recordings.domain import FFMPEG
from playhead.streams.domains.settings import SettingValues

_SECONDS = 20
_ENCODER = "libmp3lame"
_IDLE = "so `transcode` and `promote` cannot run"


def lacks_ffmpeg(settings: SettingValues) -> str | None:
    """Why there is no ffmpeg to work with, None if there is one."""
    try:
        find_ffmpeg(settings[FFMPEG])
    except FfmpegMissing as error:
        return str(error)
    return None


def check_ffmpeg(settings: SettingValues) -> Iterator[Check]:
    """Ask the ffmpeg there is for its encoders."""
    try:
        program = find_ffmpeg(settings[FFMPEG])
    except FfmpegMissing as error:
        yield Check("ffmpeg", "warn", f"none, {_IDLE}", str(error))
        return
    try:
        done = subprocess.run(
            [program, "-hide_banner", "-encoders"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        encodes = done.returncode == 0 and _ENCODER.encode() in done.stdout
    except (OSError, subprocess.TimeoutExpired):
        encodes = False
    yield judge(
        "ffmpeg",
        str(program) if encodes else f"{program} does not run or lacks {_ENCODER}, {_IDLE}",
        good=encodes,
        otherwise="warn",
        advice=f"set PLAYHEAD_FFMPEG to an ffmpeg with {_ENCODER}, or unset it to use that of `imageio-ffmpeg`",
    )
