"""Becomes `playhead` with the arguments after the first, and ends with its owner, whose process id that is.

So a `playhead up` that is killed leaves no consumer behind, which would hold leases against those of the next.
"""

import os
import signal
import sys

from playhead.embedded.launcher import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[1]), signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "playhead", *sys.argv[2:]])  # noqa: S606  nothing of a shell
