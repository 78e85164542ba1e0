"""Every error of the ground floor.

- PlayheadError
    - InvalidEvent            an event or entry that breaks the format, with the field that does
        - EventTooLarge
    - InvalidSetting          a value that cannot be used as it stands
    - RedisUnavailable        Redis cannot be reached, or refuses writes for now
        - NotReplicated       fewer replicas than asked for have the event
    - Fenced                  a newer owner of the partition has opened the sink
    - PartitionsChanged       the number of partitions differs from the one recorded in Redis
    - InvalidPcm              audio that is no whole frames, or out of order
    - MeetingOver             a session that ended cannot go on
    - AudioNotWritten         the disk does not take audio
    - SpoolFailed             the spool directory did not take the events
    - StoreUnavailable        a directory or bucket did not take or give an object
    - UnsafePath              a link, or something that is no directory, stands where a directory belongs
    - BlobMissing             content that an event refers to is not in the blob store
    - BlobAltered             what is there is not that content
    - DomainInvalid           a domain's declaration contradicts itself
    - DomainsCollide          two domains declare the same name
    - DomainNotLoaded         a domain that is named cannot be imported
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


class Fenced(PlayheadError):
    """Another process owns this partition with a higher epoch: stop writing to it."""

    def __init__(self, message: str, standing: int) -> None:
        super().__init__(message)
        self.standing = standing
        """The higher epoch."""


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


class StoreUnavailable(PlayheadError, ConnectionError):
    """The directory or bucket did not take or give an object: see that it is there, and check its rights and space."""


class UnsafePath(PlayheadError, OSError):
    """A symbolic link or a file stands where a directory belongs: remove it, nothing is written through it."""


class BlobMissing(PlayheadError):
    """The content is not in the blob store: bring the blob back, or capture the content again, then retry the event."""

    def __init__(self, sha256: str, place: str) -> None:
        super().__init__(
            f"the content with SHA-256 {sha256} is not at {place}: bring it back, or capture it again, then retry"
        )


class BlobAltered(PlayheadError):
    """The blob is not the content it was: remove it, bring it back or capture the content again, retry the event."""

    def __init__(self, sha256: str, place: str, problem: str) -> None:
        super().__init__(
            f"{place} is not the content with SHA-256 {sha256}: {problem}; "
            "remove it, capture the content again, then retry"
        )


class DomainInvalid(PlayheadError):
    """The declaration of a domain contradicts itself: correct it where the message says."""


class DomainsCollide(PlayheadError):
    """Two domains declare the same name: rename it in one of them, or remove one domain."""


class DomainNotLoaded(PlayheadError):
    """A domain cannot be imported: correct its name where it is set, or install or uninstall its package."""
