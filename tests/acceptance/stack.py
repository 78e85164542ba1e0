"""`playhead up` as a real process, and what its sinks hold."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
from redis.exceptions import RedisError

from playhead.checks.status import read_status
from playhead.embedded.servers import running_servers
from playhead.settings.settings import load
from playhead.streams.redis.connections import connect
from playhead.wiring import lacking
from tests.support.forked import run_forked


class Stack:
    def __init__(self, directory: Path, wait_until) -> None:
        self.directory = directory
        self.wait_until = wait_until
        self.process: subprocess.Popen[bytes] | None = None
        self._messages = directory.with_suffix(".messages")

    def messages(self) -> bytes:
        return self._messages.read_bytes()

    def start(self) -> None:
        with self._messages.open("ab") as messages:
            command = [sys.executable, "-m", "playhead", "up", "--data-dir", str(self.directory)]
            self.process = subprocess.Popen(command, stderr=messages, start_new_session=True)
        self.wait_until(lambda: running_servers(self.directory) is not None)

    def stop(self, sign: int = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        return self.process.wait(60)

    def kill_everything(self) -> None:
        """kill -9 of the supervisor, every consumer and both servers at once."""
        marker = str(self.directory)
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    about = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                    if marker.encode() in about:
                        os.kill(int(entry.name), signal.SIGKILL)
                except OSError:
                    continue
        self.process.wait(60)

    def playhead(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_forked(*arguments, "--data-dir", str(self.directory), environment=os.environ, stdin=stdin)

    def json(self, *arguments: str) -> dict:
        done = self.playhead(*arguments, "--json")
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout)

    def caught_up(self) -> None:
        """As `status` says; asked from here, for a process at every look would take the time that consumers need."""
        self.wait_until(self._settled)
        assert self.playhead("status", "--json").returncode == 0

    def _settled(self) -> bool:
        running = running_servers(self.directory, postgres=False)
        if running is None:
            return False
        try:
            with closing(connect(running.redis_url)) as client:
                return read_status(client, 1, lacking(load(self.directory))).exit_code == 0
        except RedisError:
            return False

    def rows(self) -> list[tuple[str, ...]]:
        with psycopg.connect(running_servers(self.directory).database_url) as connection:
            return connection.execute("SELECT jobs::text FROM jobs ORDER BY job_id").fetchall()

    def empty_table(self) -> None:
        with psycopg.connect(running_servers(self.directory).database_url) as connection:
            connection.execute("TRUNCATE jobs")

    def tree(self) -> dict[str, bytes]:
        root = self.directory / "outputs"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("daily/**/*.json")}

    def log(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.directory.glob("eventlog/**/*.jsonl*")))
