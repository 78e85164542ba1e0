"""Errors of the workers of recordings.

- PlayheadError
    - FfmpegMissing  no ffmpeg can be executed
    - InvalidAudio   audio that no attempt can read
    - Stopped        the work was called off
    - Retry
        - FfmpegFailed  ffmpeg ended with an error, or took too long
        - NotMounted    the directory of recordings is empty, or not there
"""

from pathlib import Path

from playhead.consumers.errors import Retry
from playhead.streams.errors import InvalidSetting, PlayheadError

_MOUNTED_SECONDS = 10.0


class FfmpegMissing(InvalidSetting):
    """No ffmpeg: `pip install imageio-ffmpeg` brings one, or set PLAYHEAD_FFMPEG to the path of yours."""


class InvalidAudio(PlayheadError, ValueError):
    """The audio cannot be read, however often it is tried."""

    def __init__(self, what: Path | str, problem: str) -> None:
        super().__init__(f"{what}: {problem}")


class Stopped(PlayheadError):
    """The work was called off: another process has the event, or this one is to end."""


class FfmpegFailed(Retry):
    """ffmpeg ended with an error, or took too long: `stderr` is the end of what it said."""

    def __init__(self, problem: str, stderr: str) -> None:
        last = stderr.strip().splitlines()[-1:] or ["it said nothing"]
        super().__init__(f"ffmpeg {problem}: {last[0]}")
        self.stderr = stderr


class NotMounted(Retry):
    """The directory of recordings is empty, or not there: see that its disk is mounted, and PLAYHEAD_RECORDINGS_DIR."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"{directory}: {self.__doc__}", _MOUNTED_SECONDS, counts=False)
