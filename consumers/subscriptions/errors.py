"""Errors of subscriptions.

- PlayheadError
    - EventsGone           events are neither in the stream nor in the log that this process can read
    - SubscriptionInUse    another process has the name
"""

from pathlib import Path

from playhead.streams.errors import PlayheadError
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position


class EventsGone(PlayheadError):
    """Events are neither in the stream nor in the log: pass the log's directory, or continue iterating to skip them."""

    def __init__(
        self, partition: Partition, count: int | None, after: Position, before: Position, *, log_readable: bool
    ) -> None:
        what = "events" if count is None else f"{count} event{'s' if count > 1 else ''}"
        why = (
            "the log does not have them either"
            if log_readable
            else "this process cannot read the log: pass `log=`, the directory of EVENT_LOG_DIR"
        )
        super().__init__(
            f"{what} of {partition} between {after} and {before} are gone from the stream, and {why}."
            " To skip them, continue iterating"
        )
        self.partition, self.count, self.after, self.before = partition, count, after, before


class SubscriptionInUse(PlayheadError):
    """Another process uses the subscription of this name: stop it first, or use another name."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: {type(self).__doc__}")
        self.path = path
