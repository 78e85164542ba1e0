"""Which failures pass with time, and which stay however often the event is tried again."""

import errno

import psycopg

_TRANSIENT_CLASSES = ("08", "40", "42", "53", "57", "58", "XX")
"""Connection, rollback (deadlock, serialization), rights and names of tables, resources (disk full), intervention and
time-outs, system errors, damage: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_TRANSIENT_STATES = frozenset({"55P03", "25006", "25P03"})
"""A lock not to be had, a server that is read-only after a failover, an idle transaction that was ended."""
_NAME_NUMBERS = frozenset(
    {
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EINVAL,
        errno.EILSEQ,
        errno.ENXIO,
        errno.E2BIG,
    }
)
"""What a name in an event may bring about; whatever else the system says is the disk's trouble or the machine's."""


def is_transient(error: BaseException) -> bool:
    """True where the same call may succeed later with nothing changed in the event, once somebody mended the sink."""
    if getattr(error, "lasting", False):
        return True
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES
    if isinstance(error, ConnectionError | TimeoutError | MemoryError):
        return True
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _NAME_NUMBERS
