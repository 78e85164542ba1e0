"""Which failures pass with time, and which stay however often the event is tried again."""

import psycopg

from playhead.streams import failures
from playhead.streams.sinks import Failure

_TRANSIENT_CLASSES = ("08", "40", "42", "53", "57", "58", "XX")
"""Connection, rollback (deadlock, serialization), rights and names of tables, resources (disk full), intervention and
time-outs, system errors, damage: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_TRANSIENT_STATES = frozenset({"55P03", "25006", "25P03"})
"""A lock not to be had, a server that is read-only after a failover, an idle transaction that was ended."""


def classify(error: BaseException) -> Failure:
    """The classification for a sink that has no errors of its own: Postgres, files, object stores, connections.

    Transient means that the same call may succeed later with nothing changed in the event.
    """
    if isinstance(error, psycopg.Error):
        return "transient" if _passes(error) else "permanent"
    return failures.classify(error)


def _passes(error: psycopg.Error) -> bool:
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES
