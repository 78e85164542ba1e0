"""Errors of projections, each with what to do.

PlayheadError
- TransactionEnded       a table projection committed or rolled back by itself
"""

from playhead.streams.errors import PlayheadError


class TransactionEnded(PlayheadError):
    """The projection ended its transaction: let `apply` return, or raise ValueError to park an event."""
