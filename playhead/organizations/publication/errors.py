"""What can keep a data set from being published.

- PlayheadError
    - Occupied             files that somebody else wrote stand in the way
    - NothingThere         what was published would vanish
    - PublicationRunning   another process publishes to the directory
    - SumsTooLarge         the checksums of the directory are not ours
    - GitFailed            git did not do what it was asked
    - UnsafeRepository     the repository could run programs, or write elsewhere
"""

from playhead.streams.errors import PlayheadError


class Occupied(PlayheadError):
    """Files that were not published before are in the way: move them, or replace them with --overwrite."""


class NothingThere(PlayheadError):
    """There is nothing to publish: check `playhead status` and the settings, or pass --allow-empty."""


class PublicationRunning(PlayheadError):
    """Another process publishes to this directory: wait until it is done."""


class SumsTooLarge(PlayheadError):
    """A `SHA256SUMS` of the directory is larger than any that is published: move it away, then publish."""


class GitFailed(PlayheadError):
    """git failed: fix what it says. The files are published, and the next run commits them."""


class UnsafeRepository(GitFailed):
    """The repository could run programs of its own, or write elsewhere: do what it says, then publish."""
