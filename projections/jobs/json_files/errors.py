"""Errors of the JSON files.

- PlayheadError
    - UnreadableSummary a day's summary was changed by somebody else
"""

from playhead.streams.errors import PlayheadError


class UnreadableSummary(PlayheadError):
    """A day's summary.json cannot be read: delete the day's directory and replay it."""
