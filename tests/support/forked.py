"""`playhead` in processes that are forked from one that has imported everything, which takes most of a command's time.

Tests of `up`, of how a process starts and ends, of its pipes and of its memory start it as users do.
"""

import atexit
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from playhead.streams.names import TestVariable
from tests.support.fork_server import ForkServer, arm

_SECONDS = 120
"""The deadline of a process, which is only there to end a broken test."""
_NOT_OF_COMMANDS = ("playhead.adapters.", "playhead.testing.", "playhead.starter.")
"""What needs packages that commands do without."""


class Command(msgspec.Struct, frozen=True):
    """Arguments of `playhead`, and where the process has its streams; bytes, as none need be UTF-8."""

    arguments: tuple[bytes, ...]
    environment: dict[str, bytes]
    directory: bytes
    stdin: bytes
    stdout: bytes
    stderr: bytes


class Forked:
    """A process, used as one of `subprocess` is."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        directory: Path | None = None,
        stdin: str | Path = os.devnull,
        stdout: str | Path,
        stderr: str | Path,
    ) -> None:
        self.args, self.returncode = ["playhead", *arguments], None
        command = Command(
            tuple(map(os.fsencode, arguments)),
            {name: os.fsencode(value) for name, value in environment.items()},
            *map(os.fsencode, (directory or Path.cwd(), stdin, stdout, stderr)),
        )
        self._server = _server()
        self.pid = self._server.spawn(command)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.poll(self.pid)
        return self.returncode

    def wait(self, timeout: float = _SECONDS) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, sign: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sign)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_forked(
    *arguments: str, environment: Mapping[str, str], directory: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; one that takes too long is killed."""
    with tempfile.TemporaryDirectory() as place:
        streams = {name: Path(place, name) for name in ("stdin", "stdout", "stderr")}
        streams["stdin"].write_bytes(stdin)
        process = Forked(
            *arguments,
            environment=environment,
            directory=directory,
            **streams,
        )
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(
            process.args, code, streams["stdout"].read_bytes(), streams["stderr"].read_bytes()
        )


def _server() -> ForkServer:
    server = _make_server()
    if server.is_alive:
        return server
    _make_server.cache_clear()
    return _make_server()


@cache
def _make_server() -> ForkServer:
    directory = tempfile.TemporaryDirectory()
    server = ForkServer(__name__, Path(directory.name, "log"))
    atexit.register(directory.cleanup)
    atexit.register(server.close)
    return server


def prepare() -> None:
    """Import all that a command or a consumer may need."""
    importlib.import_module("playhead.__main__")  # which says first what is not to be imported
    for module in pkgutil.walk_packages(importlib.import_module("playhead").__path__, "playhead."):
        if not module.name.startswith(_NOT_OF_COMMANDS):
            importlib.import_module(module.name)


def run(argument: object) -> None:
    """Be `playhead`, from the command line to the end of the process.

    Raises:
        SystemExit: always.
    """
    command = msgspec.convert(argument, Command)
    os.environ.clear()
    os.environ.update({name: os.fsdecode(value) for name, value in command.environment.items()})
    os.chdir(command.directory)
    _open_streams(command)
    arm(os.environ.get(TestVariable.FAILPOINT))
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["playhead", *map(os.fsdecode, command.arguments)]
    importlib.import_module("playhead.__main__").main()


def _open_streams(command: Command) -> None:
    appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, (path, flags) in enumerate(
        [(command.stdin, os.O_RDONLY), (command.stdout, appended), (command.stderr, appended)]
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
