"""Whether the same call may succeed later: what the operating system's errors say."""

import errno

from playhead.streams.sinks import Failure

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


def classify(error: BaseException) -> Failure:
    """Connections, time-outs, memory and disks are transient; anything else is permanent."""
    if isinstance(error, ConnectionError | TimeoutError | MemoryError):
        return "transient"
    if isinstance(error, OSError) and error.errno is not None and error.errno not in _NAME_NUMBERS:
        return "transient"
    return "permanent"
