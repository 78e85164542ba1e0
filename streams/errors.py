"""Every error of the ground floor.

- PlayheadError
    - InvalidEvent            an event or entry that breaks the format, with the field that does
        - EventTooLarge
    - InvalidSetting          a value that cannot be used as it stands
    - RedisUnavailable        Redis cannot be reached, or refuses writes for now
        - NotReplicated       fewer replicas than asked for have the event
    - PartitionsChanged       the number of partitions differs from the one recorded in Redis
    - InvalidPcm              audio that is no whole frames, or out of order
    - MeetingOver             a session that ended cannot go on
    - AudioNotWritten         the disk does not take audio
    - SpoolFailed             the spool directory did not take the events
"""


class PlayheadError(Exception):
    """Playhead could not go on."""


class InvalidEvent(PlayheadError, ValueError):
    """The event is not valid: mend the named field and append it again."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class EventTooLarge(InvalidEvent):
    """The event is larger than the limit: put its content into the blob store and append a reference."""


class InvalidSetting(PlayheadError, ValueError):
    """The setting cannot be used as it stands."""


class RedisUnavailable(PlayheadError):
    """Redis cannot be reached or refuses writes: see that it runs, or set a spool directory."""


class PartitionsChanged(PlayheadError):
    """A stream keeps the number of partitions it was created with: set PLAYHEAD_PARTITIONS back to that number."""


class NotReplicated(RedisUnavailable):
    """Fewer replicas than asked for confirmed the events in time: they may be lost in a failover, append them again."""


class SpoolFailed(PlayheadError):
    """The spool did not take the events, and they are nowhere else: free space or mend permissions, append again."""


class InvalidPcm(PlayheadError, ValueError):
    """The audio is not PCM of the recorder's form, or stands before audio that came earlier: none of it was taken."""


class MeetingOver(PlayheadError):
    """The session ended, or was promoted: start another one, with a meeting_id of its own."""


class AudioNotWritten(PlayheadError):
    """Audio cannot be written to disk: free space or mend permissions; what is in memory is tried again."""
