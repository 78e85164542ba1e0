"""Errors of the consumer processes.

- PlayheadError
    - LeaseLost     another process owns the partition now
    - HoldLost      another process works on the entry now
    - StateLost     the stream is not the one this process was reading
    - SinkNotReady  the sink cannot be opened for now
    - SinkFailed    the sink failed, and no retry in this process can help
    - CheckpointAhead  a checkpoint is ahead of the stream
    - Retry         a worker asks for another attempt later
    - OutcomeInvalid  a worker returned what cannot be appended, or does not end its work
    - AddressTaken  the address for health and metrics is in use
"""

from playhead.streams.errors import PlayheadError


class LeaseLost(PlayheadError):
    """Another process owns the partition now. This one stands by."""


class HoldLost(PlayheadError):
    """Another process holds the event now. The outcome of this process does not count."""


class StateLost(PlayheadError):
    """Redis lost the consumer group or stream, or was restored: the partition is opened again from the checkpoint."""


class SinkNotReady(PlayheadError):
    """The sink cannot be opened: the consumer retries until it can."""

    def __init__(self, problem: str, *, lasting: bool = False) -> None:
        super().__init__(problem)
        self.lasting = lasting
        """Whether it stays so until somebody fixes it."""


class SinkFailed(PlayheadError):
    """The sink failed, and no retry in this process can help: fix its cause, then start the process again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error
        """What the sink raised, whatever its class: an OSError is not taken for an outage of Redis on the way out."""


class CheckpointAhead(PlayheadError):
    """A checkpoint is ahead of the stream, so that new events would not be applied: set it back (docs/recovery.md)."""


LONGEST_WAIT = 24 * 3600
"""Seconds that a worker can wait between two attempts."""


class Retry(PlayheadError):
    """The work cannot be done now: the worker retries it later.

    `after` is the seconds to wait, if the other side said so; 0 if it is below 0.

    Raises:
        ValueError: `after` is no number, or more than 86400, a day.
    """

    def __init__(self, problem: str, after: float | None = None, *, counts: bool = True) -> None:
        super().__init__(problem)
        if after is not None and not after <= LONGEST_WAIT:
            raise ValueError(
                f"after={after!r} of Retry must be seconds, {LONGEST_WAIT} (a day) at most: to wait longer, let the"
                " work end, and append an event when it is time"
            )
        self.after = None if after is None else max(0.0, after)
        """Seconds to wait, if the other side said so."""
        self.counts = counts
        """Whether this counts as an attempt; False if it waits for something that is not its own work.
        The problem is logged then, so it must quote no payload.
        """


class OutcomeInvalid(PlayheadError, ValueError):
    """The outcome of a worker is not one: fix the worker, then `playhead parked retry` its event."""


class AddressTaken(PlayheadError):
    """The address for health and metrics is in use: set PLAYHEAD_HTTP_HOST and PLAYHEAD_HTTP_PORT to a free one."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        super().__init__(f"{host}:{port}: {problem}. {type(self).__doc__}")
