"""Programs of a user's, such as the worker of a job queue, that import modules which a test writes."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]
CELERY_OPTIONS = "--concurrency 1 --loglevel WARNING --without-gossip --without-mingle --without-heartbeat"


class Programs:
    """Runs Python in a directory; `modules` are the texts of the modules there. Broker and events are in one Redis."""

    def __init__(self, directory, url, **modules):
        for name, text in modules.items():
            (directory / f"{name}.py").write_text(text)
        path = f"{directory}{os.pathsep}{_CHECKOUT}"
        environment = os.environ | {"PYTHONPATH": path, "REDIS_URL": url, "BROKER": url}
        self._place = {"cwd": directory, "env": environment}

    def run(self, code):
        """Run code to its end."""
        subprocess.run([sys.executable, "-c", code], **self._place, check=True, timeout=120)

    def start(self, command):
        """Start `python -m`, in a group of processes of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            **self._place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @contextmanager
    def working(self, command, stop=signal.SIGTERM):
        """Let a worker program run until the block ends."""
        worker = self.start(command)
        try:
            yield
        finally:
            worker.send_signal(stop)
            worker.wait(60)
