"""Processes by the hundred: one process imports everything once and forks the others.

It is started as a program with the name of a module, which has `prepare()`, called once, and `run(argument)`, which
each forked process calls: it gives the exit code, or raises SystemExit. It reads commands, a JSON object a line:
`{"spawn": ARGUMENT}` answers the process id, `{"poll": PID}` the exit code (negative for a signal) or null. It ends
with whoever started it, as there is nothing more to read then, and takes its children along.
"""

import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from playhead.embedded.launcher import die_with
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


class ForkServer:
    """The forking process, as the test sees it."""

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.log = log
        self._asking = threading.Lock()
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=ROOT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def spawn(self, argument: object) -> int:
        return self._ask({"spawn": argument})

    def poll(self, pid: int) -> int | None:
        return self._ask({"poll": pid})

    def wait(self, pid: int) -> int | None:
        """The exit code, None if the process lives on for a minute."""
        deadline = time.monotonic() + PATIENCE
        while (code := self.poll(pid)) is None and time.monotonic() < deadline:
            time.sleep(0.001)
        return code

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, command: dict[str, object]) -> int | None:
        with self._asking:
            try:
                self._process.stdin.write(msgspec.json.encode(command) + b"\n")
                self._process.stdin.flush()
                answer = self._process.stdout.readline()
            except BaseException:  # the answer would be taken for that of the next command
                self._process.kill()
                self._process.wait()
                raise
        assert answer, self.log.read_text()
        return msgspec.json.decode(answer)


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    module.prepare()
    for name in LATE:
        importlib.import_module(name)
    owner = os.getpid()
    ended: dict[int, int] = {}
    for line in sys.stdin.buffer:
        command = msgspec.json.decode(line)
        if "spawn" in command:
            answer = os.fork()
            ended.pop(answer, None)
            if answer == 0:
                be_another(owner, module, command["spawn"])
        else:
            answer = exit_code(command["poll"], ended)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def exit_code(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended.get(pid)


def be_another(owner: int, module, argument: object) -> None:
    try:
        die_with(owner, signal.SIGKILL)
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        random.seed(os.urandom(8))
        code = module.run(argument)
    except Exception:  # noqa: BLE001  # SystemExit ends this process as it does any other
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


def arm(failpoint: str | None) -> None:
    """Set a point, in the words of `playhead.streams.failpoints`, which has read the environment long ago."""
    if failpoint is not None:
        os.environ[TestVariable.FAILPOINT] = failpoint
        importlib.reload(failpoints)


if __name__ == "__main__":
    main()
