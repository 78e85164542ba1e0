"""What can keep a data set from being published.

- PlayheadError
    - Occupied             files that somebody else wrote stand in the way
    - NothingThere         what was published would vanish
    - PublicationRunning   another process publishes to the directory
    - GitFailed            git did not do what it was asked
"""

from playhead.streams.errors import PlayheadError


class Occupied(PlayheadError):
    """Files that were not published before stand in the way: move them, or let them be replaced by --overwrite."""


class NothingThere(PlayheadError):
    """There is nothing to publish: see `playhead status` and the settings, or publish nothing by --allow-empty."""


class PublicationRunning(PlayheadError):
    """Another process publishes to this directory: wait until it is done."""


class GitFailed(PlayheadError):
    """git did not do what it was asked: mend what it says; the files are published, the next run commits them."""
