"""`playhead up` in a directory, as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from playhead.settings.settings import declared
from tests.support.forked import run_forked

PLAYHEAD = [sys.executable, "-m", "playhead"]
CLEAN = {name: value for name, value in os.environ.items() if name not in declared()}


class Up:
    def __init__(self, directory: Path, wait_until, **settings: str) -> None:
        self.directory = directory
        self._wait_until = wait_until
        self._messages = directory.with_suffix(".messages")
        with self._messages.open("wb") as messages:
            self.process = subprocess.Popen(
                [*PLAYHEAD, "up", "--data-dir", str(directory)],
                cwd=directory.parent,
                env=CLEAN | settings,
                stderr=messages,
            )
        self._settings = settings

    def messages(self) -> str:
        return self._messages.read_text()

    def said(self, text: str) -> bool:
        assert self.process.poll() is None or text in self.messages(), self.messages()
        return text in self.messages()

    def wait_for(self, text: str) -> None:
        self._wait_until(lambda: self.said(text))

    def consumer(self, name: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if child.cmdline()[-2:] == ["run", name])

    def playhead(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command, with the same settings."""
        done = run_forked(
            *arguments,
            "--data-dir",
            str(self.directory),
            environment=CLEAN | self._settings,
            directory=self.directory.parent,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
