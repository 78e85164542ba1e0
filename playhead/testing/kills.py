"""Processes that are killed while they apply a batch: forked, and ended by SIGKILL as a failpoint says."""

import gc
import os
import signal
import warnings
from collections.abc import Callable, Mapping
from importlib import reload
from typing import NoReturn

from playhead.streams import failpoints
from playhead.streams.failpoints import Point
from playhead.streams.names import TestVariable
from playhead.streams.partitions import Partition
from playhead.streams.sinks import Batch, Sink

FILE_POINTS = (Point.MID_FILE, Point.BEFORE_SYNC, Point.AFTER_SYNC, Point.BEFORE_RENAME, Point.AFTER_RENAME)
"""What a sink crosses that writes files with Playhead's own means."""
TABLE_POINTS = (Point.MID_TRANSACTION, Point.BEFORE_COMMIT, Point.AFTER_COMMIT)
"""What a sink crosses whose rows are in Postgres."""
_REFUSED = 3


def apply_and_die(make: Callable[[], Sink], epochs: Mapping[Partition, int], batch: Batch, point: Point | None) -> bool:
    """Apply a batch in a process of its own, killed at a point or, with None, once it is applied; whether it was.

    False if it never came to that point, or refused the batch; then it may have applied it. The caller must hold
    nothing that the sink needs, such as a lock.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of this process: the new one waits for none
        pid = os.fork()
    if pid == 0:
        _be_killed(make, epochs, batch, point)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _be_killed(
    make: Callable[[], Sink], epochs: Mapping[Partition, int], batch: Batch, point: Point | None
) -> NoReturn:
    try:
        gc.disable()  # connections of the process that this one was forked from are not ours to close
        sink = make()
        for partition, epoch in epochs.items():
            sink.open(partition, epoch)
        if point is not None:
            os.environ[TestVariable.FAILPOINT] = f"{point}:1"
            reload(failpoints)
        sink.apply(batch)
        if point is None:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    finally:
        os._exit(_REFUSED)  # whoever applies the batch next meets the same error, and raises it
