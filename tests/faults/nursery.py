"""Consumer processes by the hundred: one process imports everything once and forks the others.

Started as a program it reads commands, a JSON object a line: `{"spawn": SPEC}` answers the process id, `{"poll": PID}`
the exit code (negative for a signal) or null. Whoever dies takes its children along.
"""

import asyncio
import ctypes
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
Point = str
"""`before apply`, `after apply` or `after advance`, a colon, and the number of the batch."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer process: its sink, the servers, and what shall happen to it at which point."""

    sink: str
    redis: str
    database: str
    directory: str
    partitions: int = 1
    lease: float = 0.3
    batch: int = 5
    max_deliveries: int = 1_000_000
    control: str | None = None
    kill: Point | None = None
    freeze: Point | None = None
    poison: str | None = None


class Nursery:
    """The forking process, as the test sees it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                start_new_session=True,
            )

    def spawn(self, spec: Spec) -> int:
        return self._ask({"spawn": spec})

    def poll(self, pid: int) -> int | None:
        return self._ask({"poll": pid})

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, command: dict[str, object]) -> int | None:
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline())


def main() -> None:
    from tests.faults import child  # noqa: F401  # imported once, for all that are forked

    die_with(int(sys.argv[1]))
    owner = os.getpid()
    for line in sys.stdin.buffer:
        command = msgspec.json.decode(line)
        if "spawn" in command:
            answer = os.fork()
            if answer == 0:
                be_child(owner, command["spawn"])
        else:
            pid, status = os.waitpid(command["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def be_child(owner: int, spec: object) -> None:
    from tests.faults.child import serve

    try:
        die_with(owner)
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        random.seed(os.urandom(8))
        code = asyncio.run(serve(msgspec.convert(spec, Spec)))
    except BaseException:  # noqa: BLE001  # this process must not become a second nursery
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


def die_with(owner: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != owner:
        os._exit(1)


if __name__ == "__main__":
    main()
