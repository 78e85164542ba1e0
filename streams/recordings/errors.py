"""Errors of recording.

PlayheadError
- InvalidPcm              audio that is no whole frames, or out of order
- MeetingOver             a session that ended cannot go on
- SessionUnreadable       what a recorder noted about a session is damaged
- AudioNotWritten         the disk does not take audio
"""

from pathlib import Path

from playhead.streams.errors import PlayheadError


class InvalidPcm(PlayheadError, ValueError):
    """The audio is not PCM in the recorder's format, or is earlier than audio already written: none of it was taken."""


class MeetingOver(PlayheadError):
    """The session has ended or was promoted: start another one, with a new meeting_id."""


class SessionUnreadable(PlayheadError):
    """The session cannot continue: restore its session.json, or record under a new meeting_id; its audio is kept."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}. {self.__doc__}")


class AudioNotWritten(PlayheadError):
    """Audio cannot be written to disk: free space or fix permissions; audio in memory is retried."""
