"""Every error of the ground floor.

- PlayheadError
    - InvalidEvent            an event or entry that breaks the format, with the field that does
        - EventTooLarge
    - InvalidSetting          a value that cannot be used as it stands
        - Untrusted           another user owns, or may write to, what is read
    - RedisUnavailable        Redis cannot be reached, or refuses writes for now
        - NotReplicated       fewer replicas than asked for have the event
        - KeyDamaged          a key of ours in Redis holds something else
    - Fenced                  a newer owner of the partition has opened the sink
    - PartitionsChanged       the number of partitions differs from the one recorded in Redis
    - SpoolFailed             the spool directory did not take the events
    - ForeignPlace            a place belongs to another installation
    - StoreUnavailable        a directory or bucket did not take or give an object
    - UnsafePath              a link, or something that is no directory, stands where a directory belongs
    - BlobMissing             content that an event refers to is not in the blob store
    - BlobAltered             what is there is not that content
    - DomainInvalid           a domain's declaration contradicts itself
    - DomainsCollide          two domains declare the same name
    - DomainNotLoaded         a domain that is named cannot be imported
"""

from playhead.streams.printable import cut

_CORRECT = "correct the setting that names the wrong one; if both are right, see `playhead adopt --help`"


class PlayheadError(Exception):
    """Playhead cannot continue."""


class InvalidEvent(PlayheadError, ValueError):
    """The event is not valid: fix the named field and append it again."""

    def __init__(self, field: str, problem: str) -> None:
        field, problem = cut(field), cut(problem)  # what a stranger wrote may be quoted in it
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class EventTooLarge(InvalidEvent):
    """The event is larger than the limit: put its content into the blob store and append a reference."""


class InvalidSetting(PlayheadError, ValueError):
    """The setting cannot be used as it stands."""


class Untrusted(InvalidSetting):
    """Another user could change what is read: take ownership or rights back, or name the user if it is meant so."""


class RedisUnavailable(PlayheadError):
    """Redis cannot be reached or refuses writes: check it and REDIS_URL; PLAYHEAD_SPOOL_DIR keeps appends meanwhile."""


class Fenced(PlayheadError):
    """Another process owns this partition with a higher epoch: stop writing to it."""

    def __init__(self, message: str, standing: int) -> None:
        super().__init__(message)
        self.standing = standing
        """The higher epoch."""


class PartitionsChanged(PlayheadError):
    """A stream keeps the number of partitions it was created with: remove PLAYHEAD_PARTITIONS, or set it to that."""


class NotReplicated(RedisUnavailable):
    """Too few replicas confirmed the events in time. A failover may lose them: append them again."""


class KeyDamaged(RedisUnavailable):
    """A key of Playhead in Redis holds something else: `playhead doctor` names it and says what to do."""


class SpoolFailed(PlayheadError):
    """The spool did not take the events, and they are not stored: free space or fix permissions, then append again."""


class ForeignPlace(PlayheadError):
    """A place belongs to another installation: correct the setting that names it, or see `playhead adopt --help`."""

    def __init__(self, place: str, found: str, other: str, expected: str) -> None:
        super().__init__(f"{place} belongs to the installation {found}, but {other} to {expected}: {_CORRECT}")


class LogElsewhere(PlayheadError):
    """The log of this installation is in another directory: correct EVENT_LOG_DIR, or see `playhead adopt --help`."""


class StoreUnavailable(PlayheadError, ConnectionError):
    """A directory or bucket failed to read or write an object: check that it exists, its permissions and its space."""


class UnsafePath(PlayheadError, OSError):
    """A symbolic link or a file is in place of a directory: remove it. Nothing is written through it."""


class BlobMissing(PlayheadError):
    """The content is not in the blob store: restore the blob, or capture the content again, then retry the event."""

    def __init__(self, sha256: str, place: str) -> None:
        super().__init__(
            f"the content with SHA-256 {sha256} is not at {place}: restore it, or capture it again, then retry"
        )


class BlobAltered(PlayheadError):
    """The blob was altered: remove it, restore it or capture the content again, then retry the event."""

    def __init__(self, sha256: str, place: str, problem: str) -> None:
        super().__init__(
            f"{place} is not the content with SHA-256 {sha256}: {problem}; "
            "remove it, capture the content again, then retry"
        )


class DomainInvalid(PlayheadError):
    """The declaration of a domain contradicts itself: fix what the message names."""


class DomainsCollide(PlayheadError):
    """Two domains declare the same name: rename it in one of them, or remove one domain."""


class DomainNotLoaded(PlayheadError):
    """A domain cannot be imported: correct its name in the setting, or install or uninstall its package."""
