"""Errors of the archives.

- PlayheadError
    - ArchiveAltered    an archive is not what was written
"""

from playhead.streams.errors import PlayheadError


class ArchiveAltered(PlayheadError):
    """The archive is not what was written: delete it and replay its event."""
