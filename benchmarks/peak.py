"""Runs one command and prints what it took: seconds, CPU seconds, and MiB of resident memory at most.

Linux counts the memory of the process that starts a command as if the command had used it, so whoever asks for a
command's peak must be smaller than the command: this module imports next to nothing.
"""

import json
import os
import resource
import sys
import time


def main() -> None:
    """Measure the command in the arguments; its output goes to stderr."""
    started = time.perf_counter()
    command = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, _ = os.wait4(command, 0)
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # children of the command too
    found = {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mebibytes": usage.ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
