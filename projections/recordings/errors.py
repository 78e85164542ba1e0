"""Errors of the projection `recordings`.

- InvalidEvent
    - InvalidTransition  the event does not follow from what happened before
"""

from playhead.streams.errors import InvalidEvent


class InvalidTransition(InvalidEvent):
    """The event does not follow from what happened before: drop it, or append what is missing and retry."""

    def __init__(self, what: str, before: str | None, after: str) -> None:
        super().__init__(what, f"{before or 'nothing'} -> {after} is not possible")
