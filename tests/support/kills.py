"""Processes that are killed while they do something: forked, and ended by SIGKILL as a failpoint says."""

import os
import signal
import warnings
from collections.abc import Callable
from importlib import reload

from playhead.streams import failpoints
from playhead.streams.failpoints import Point
from playhead.streams.names import TestVariable


def kill_at(point: Point, number: int, call: Callable[[], object]) -> bool:
    """Do something in a process of its own that is killed the n-th time it comes to a point; whether it was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of this process: the new one waits for none
        pid = os.fork()
    if pid == 0:
        try:
            os.environ[TestVariable.FAILPOINT] = f"{point}:{number}"
            reload(failpoints)
            call()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL
