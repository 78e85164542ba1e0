"""Errors of the JSON files.

- PlayheadError
    - Fenced            a newer owner has opened the tree
    - UnreadableSummary a day's summary was changed by somebody else
"""

from playhead.streams.errors import PlayheadError


class Fenced(PlayheadError):
    """A newer owner has opened the tree: this process must stop writing."""

    def __init__(self, message: str, standing: int) -> None:
        super().__init__(message)
        self.standing = standing


class UnreadableSummary(PlayheadError):
    """A day's summary.json cannot be read: delete the day's directory and replay it."""

    lasting = True
