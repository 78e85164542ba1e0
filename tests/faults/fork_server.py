"""Consumer processes by the hundred: one process imports everything once and forks the others.

Started as a program it reads commands, a JSON object a line: `{"spawn": SPEC}` answers the process id, `{"poll": PID}`
the exit code (negative for a signal) or null, `{"wait": PID}` the same once it ended. Whoever dies takes its children
along.
"""

import asyncio
import ctypes
import importlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from playhead.streams import failpoints
from playhead.streams.names import TestVariable

ROOT = Path(__file__).parents[2]
PATIENCE = 60
LATE = (
    "anyio._backends._asyncio",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What a process imports on its way, most of the time that it takes to start."""


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
    failpoint: str | None = None
    """As `playhead.streams.failpoints` reads it from the environment."""
    segment_bytes: int = 64 * 1024 * 1024
    poison: str | None = None
    recovering: bool = False
    """Whether projections can read the event log, and the log is compared with the stream, as `playhead run` does."""
    meeting: str = ""
    settings: dict[str, str] = {}
    """Of a domain that is no part of Playhead."""


class ForkServer:
    """The forking process, as the test sees it."""

    def __init__(self, log: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fork_server", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def spawn(self, spec: Spec) -> int:
        return self._ask({"spawn": spec})

    def poll(self, pid: int) -> int | None:
        return self._ask({"poll": pid})

    def wait(self, pid: int) -> int | None:
        """The exit code, None if the process lives on for a minute."""
        return self._ask({"wait": pid})

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
    from tests.faults import consumer_process

    consumer_process.prepare()
    for name in LATE:
        importlib.import_module(name)
    die_with(int(sys.argv[1]))
    owner = os.getpid()
    for line in sys.stdin.buffer:
        command = msgspec.json.decode(line)
        if "spawn" in command:
            answer = os.fork()
            if answer == 0:
                be_consumer(owner, command["spawn"])
        elif "wait" in command:
            deadline = time.monotonic() + PATIENCE
            while (answer := exit_code(command["wait"])) is None and time.monotonic() < deadline:
                time.sleep(0.001)
        else:
            answer = exit_code(command["poll"])
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def exit_code(pid: int) -> int | None:
    pid, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def be_consumer(owner: int, spec: object) -> None:
    from tests.faults.consumer_process import serve

    try:
        die_with(owner)
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        random.seed(os.urandom(8))
        wanted = msgspec.convert(spec, Spec)
        if wanted.failpoint is not None:
            os.environ[TestVariable.FAILPOINT] = wanted.failpoint
            importlib.reload(failpoints)
        code = asyncio.run(serve(wanted))
    except BaseException:  # noqa: BLE001  # this process must not become a second fork server
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


def die_with(owner: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != owner:
        os._exit(1)


if __name__ == "__main__":
    main()
