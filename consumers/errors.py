"""Errors of the consumer processes.

- PlayheadError
    - LeaseLost     another process owns the partition now
    - SinkNotReady  the sink cannot be opened for now
"""

from streams.errors import PlayheadError


class LeaseLost(PlayheadError):
    """Another process owns the partition now: this one stands by."""


class SinkNotReady(PlayheadError):
    """The sink cannot be opened for now: it is tried again until it can."""
