"""A server as a child process that its owner starts, watches and stops, and that does not outlive it."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from playhead.embedded.directory import open_private
from playhead.embedded.errors import ServerDidNotStart

START_SECONDS = 300.0  # recovery after a crash reads the whole append-only file or write-ahead log
STOP_SECONDS = 30.0
POLL_SECONDS = 0.005
PORT_ATTEMPTS = 5
TAIL_CHARACTERS = 2000

_LOCK = "server.lock"
_KEPT = {_LOCK, "data"}

_LAUNCHER = Path(__file__).with_name("launcher.py")


class ServerProcess:
    """The server inherits a lock on `server.lock`: whoever can take that lock knows that no process of it lives.

    It holds the process id, which the launcher notes there; the server itself cannot write to it.
    """

    def __init__(self, name: str, directory: Path, stop_signal: signal.Signals) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / f"{name}.log"
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def prepare(self) -> None:
        """Stops what an owner that was killed left behind, and begins a new log."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._take_back()
        with self._claimed(), suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))

    def spawn(self, command: Sequence[str], given: Sequence[Path] | None = None) -> None:
        """Start it, or, with what it is given, as a user who is not root: these paths, and all below, become his."""
        user = ["same-user", "0"] if given is None else ["ordinary-user", str(len(given)), *map(str, given)]
        with self._claimed() as lock, open(open_private(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:  # noqa: PTH123
            self._log_start = log.tell()
            note = open_private(self.directory / _LOCK, os.O_WRONLY | os.O_TRUNC)  # a process id of before is stale
            ties = (str(note), str(int(self._stop_signal)), str(os.getpid()))
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_LAUNCHER), *ties, *user, *command],
                    cwd=self.directory,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock, note),
                    start_new_session=True,  # Ctrl-C reaches the terminal's process group, and consumers stop first
                )
            except OSError as error:
                raise self.failure(str(error)) from error
            finally:
                os.close(note)

    def complete(self) -> None:
        """Waits until the process ends by itself; raises ServerDidNotStart unless it succeeded."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(START_SECONDS)
        if self._process.returncode != 0:
            raise self.failure(self._status())

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Raises ServerDidNotStart when the process ends, or is not ready in START_SECONDS."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self.failure(self._status())
            time.sleep(POLL_SECONDS)

    def output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def failure(self, reason: str) -> ServerDidNotStart:
        return ServerDidNotStart(self.name, reason, self.log, self.output()[-TAIL_CHARACTERS:].strip())

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self._stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _status(self) -> str:
        assert self._process is not None
        status = self._process.poll()
        return f"not ready after {START_SECONDS:.0f} s" if status is None else f"exit status {status}"

    def _take_back(self) -> None:
        """Version 0.1 gave all of it to the user whom Postgres runs as if that is not root; now he gets the data."""
        if os.geteuid() != 0 or self.directory.stat().st_uid == 0:
            return
        os.chown(self.directory, 0, 0)
        for path in self.directory.iterdir():
            if path.is_symlink() or (path.name not in _KEPT and not path.is_dir()):
                path.unlink()
            else:
                os.chown(path, 0, 0, follow_symlinks=False)

    @contextmanager
    def _claimed(self) -> Generator[int, None, None]:
        lock = open_private(self.directory / _LOCK, os.O_RDONLY)
        try:
            if not _try_lock(lock):
                self._stop_orphan(lock)
            yield lock
        finally:
            os.close(lock)

    def _stop_orphan(self, lock: int) -> None:
        for orphan_signal in (self._stop_signal, signal.SIGKILL):
            pid = os.pread(lock, 20, 0)
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), orphan_signal)
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline:
                if _try_lock(lock):
                    return
                time.sleep(POLL_SECONDS)
        reason = f"process {pid.decode()} of an earlier start does not end"
        raise ServerDidNotStart(self.name, reason, self.log, "")


def start_on_free_port(process: ServerProcess, is_ready: Callable[[], bool], spawn_again: Callable[[], None]) -> None:
    """Waits for a spawned server; spawns it again when another program took its port since that was chosen."""
    for attempt in range(PORT_ATTEMPTS):
        try:
            return process.wait_until(is_ready)
        except ServerDidNotStart:
            if attempt == PORT_ATTEMPTS - 1 or "Address already in use" not in process.output():
                raise
            spawn_again()
    return None


def free_port(preferred: int = 0) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise OSError("no TCP port of 127.0.0.1 is free")


def _environment() -> dict[str, str]:
    """Without PGPORT and its like, which belong to somebody else's server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return inherited | {"LC_ALL": "C", "TZ": "UTC"}


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
