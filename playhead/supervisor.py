"""`playhead up`: the embedded servers and a process for every consumer, restarted when one dies."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from types import FrameType

import structlog

from playhead.registry import CONSUMERS
from playhead.settings import Servers, Settings

_RESTARTS, _WITHIN_SECONDS = 5, 60.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 30.0


class Supervisor:
    """Starts consumers as processes of their own, and starts one again that ends, five times a minute at most."""

    def __init__(self, settings: Settings, servers: Servers, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._environment = environment(settings, servers)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, deque[float]] = {}
        self._stopping = False
        self._log = structlog.get_logger()

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; 1 where a consumer kept dying."""
        self.start()
        while not self._stopping:
            for name, child in list(self._children.items()):
                if child.poll() is not None and not self._revive(name, child.returncode):
                    self.stop()
                    return 1
            time.sleep(_POLL_SECONDS)
        self.stop()
        return 0

    def start(self) -> None:
        """Start every consumer."""
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, self._on_signal)
        for name in CONSUMERS:
            self._start(name)

    def stop(self) -> None:
        """Let every consumer finish its batch, then end."""
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for name, child in self._children.items():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.error("killed: it did not stop in time", consumer=name)
                child.kill()
                child.wait()

    def _start(self, name: str) -> None:
        self._starts.setdefault(name, deque(maxlen=_RESTARTS)).append(time.monotonic())
        command = [sys.executable, "-m", "playhead", "run", name]
        self._children[name] = subprocess.Popen(
            command, env=self._environment, start_new_session=True, stderr=subprocess.DEVNULL if self._quiet else None
        )

    def _revive(self, name: str, code: int) -> bool:
        starts = self._starts[name]
        if len(starts) == _RESTARTS and time.monotonic() - starts[0] < _WITHIN_SECONDS:
            self._log.critical("a consumer keeps ending; see its messages above", consumer=name, exit_code=code)
            return False
        self._log.error("a consumer ended and is started again", consumer=name, exit_code=code)
        self._start(name)
        return True

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._stopping = True


def environment(settings: Settings, servers: Servers) -> dict[str, str]:
    """The environment that makes another process use the same servers and directories."""
    return {
        **os.environ,
        **{setting.name: setting.value for setting in settings.origins},
        "REDIS_URL": servers.redis_url,
        "DATABASE_URL": servers.database_url,
        "OUTPUT_DIR": str(settings.output_dir.absolute()),
        "EVENT_LOG_DIR": str(settings.event_log_dir.absolute()),
        "PLAYHEAD_DATA_DIR": str(settings.data_dir.absolute()),
    }
