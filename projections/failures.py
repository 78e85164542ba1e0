"""Which failures pass with time, and which stay however often the event is tried again."""

import errno

import psycopg

_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")
"""Connection, rollback (deadlock, serialization), resources (disk full), intervention and time-outs, system errors:
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_TRANSIENT_STATES = frozenset({"55P03", "25006", "25P03"})
"""A lock not to be had, a server that is read-only after a failover, an idle transaction that was ended."""
_TRANSIENT_NUMBERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE}
)


def is_transient(error: BaseException) -> bool:
    """True where the same call may succeed later with nothing changed in the event."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES
    if isinstance(error, ConnectionError | TimeoutError | MemoryError):
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_NUMBERS
