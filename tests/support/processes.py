"""Commands and consumers as real processes."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

from playhead.embedded.processes import free_port
from playhead.streams.failpoints import Point
from playhead.streams.names import TestVariable
from tests.support.forked import Forked, run_forked

JOB = '{"job_id": "%s", "job": {}, "result": "ok"}'


class Consumer:
    """A process of `playhead run`."""

    exit_code = 0

    def __init__(self, name: str, environment: dict[str, str], messages: Path) -> None:
        self._messages = messages
        messages.touch()
        self.port = free_port()
        environment = environment | {"PLAYHEAD_HTTP_PORT": str(self.port)}
        self.process = Forked("run", name, environment=environment, stdout=messages, stderr=messages)

    def messages(self) -> str:
        return self._messages.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 while nobody answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()


class Playhead:
    """Commands against one Redis, and a Postgres that is not there unless DATABASE_URL says so."""

    def __init__(self, directory: Path, redis_url: str, **environment: str) -> None:
        self._messages = directory.parent
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PLAYHEAD_"))
        } | {
            "REDIS_URL": redis_url,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "PLAYHEAD_DATA_DIR": str(directory),
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **environment,
        }

    def __call__(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = run_forked(*arguments, environment=self.environment, stdin=stdin)
        if check:
            done.check_returncode()
        return done

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A command that goes on."""
        return subprocess.Popen(
            [sys.executable, "-m", "playhead", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def attempt(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """A command that may fail."""
        return run_forked(*arguments, environment=self.environment | environment)

    def killed_at(self, point: Point, name: str) -> None:
        """Run a consumer until it comes to a point, where it is killed."""
        environment = self.environment | {"PLAYHEAD_HTTP_PORT": str(free_port()), TestVariable.FAILPOINT: f"{point}:1"}
        killed = run_forked("run", name, environment=environment)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()

    @contextmanager
    def running(self, name: str, messages: Path | None = None, **environment: str):
        """A consumer; leaving the block stops it, as a supervisor does."""
        messages = messages or self._messages / f"{name}-{uuid4()}"
        consumer = Consumer(name, self.environment | environment, messages)
        try:
            yield consumer
        finally:
            consumer.process.terminate()
            consumer.process.wait()
        assert consumer.process.returncode == consumer.exit_code, consumer.messages()
