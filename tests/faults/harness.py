"""A pipeline whose consumers are processes that a test kills, and the time until it works again."""

import os
import signal
import time

from playhead.streams.names import presence_key
from playhead.streams.partitions import Partition
from tests.faults.audits import audit
from tests.faults.effects import kind_of, note_effects
from tests.faults.spec import Spec
from tests.support.pipeline import Pipeline
from tests.support.servers import plain_client


class Harness:
    """A pipeline whose consumers are processes that can be killed, frozen and started again."""

    def __init__(self, server, postgres, root, wait_until, fork_server) -> None:
        self.server, self.name = server, server.name
        self.postgres, self._root, self.wait_until, self.fork_server = postgres, root, wait_until, fork_server
        self._number = 0
        self._alive: set[int] = set()
        self.pipeline: Pipeline

    def begin(self, partitions: int = 1) -> Pipeline:
        """Empty Redis, a new database and new directories."""
        self.end()
        with plain_client(self.server.url) as client:
            client.flushall()
        self._number += 1
        directory = self._root / str(self._number)
        directory.mkdir()
        self.pipeline = Pipeline(self.server, self.postgres.url, directory, self.wait_until, partitions)
        note_effects(self.pipeline.database)
        return self.pipeline

    def spawn(self, sink: str, **spec: object) -> int:
        pipeline = self.pipeline
        pid = self.fork_server.spawn(
            Spec(
                sink=sink,
                directory=str(pipeline.directory),
                partitions=pipeline.partitions,
                **{"redis": self.server.url, "database": pipeline.database, **spec},
            )
        )
        self._alive.add(pid)
        return pid

    def ended(self, pid: int) -> int | None:
        """The exit code of a process, None while it runs."""
        code = self.fork_server.poll(pid)
        if code is not None:
            self._alive.discard(pid)
        return code

    def killed(self, pid: int) -> None:
        """Wait until a process died at its failpoint."""
        assert self.fork_server.wait(pid) == -signal.SIGKILL
        self._alive.discard(pid)

    def expire(self, sink: str) -> None:
        """Let the lease of a dead process run out at once, which tests else wait for again and again."""
        for number in range(self.pipeline.partitions):
            self.pipeline.redis.delete(presence_key(Partition(kind_of(sink).stream, number).key, sink))

    def forget(self, pid: int) -> None:
        """Take note that a process has ended."""
        self._alive.discard(pid)

    def send(self, pid: int, sign: int) -> None:
        os.kill(pid, sign)

    def stop(self, *pids: int) -> None:
        """Stop processes as SIGTERM does; one that has hardly begun may not know yet what to do with it."""
        for pid in pids:
            assert self.finish(pid, signal.SIGTERM) in (0, -signal.SIGTERM)

    def finish(self, pid: int, sign: int) -> int:
        """Send a signal and wait for the end it brings."""
        self.send(pid, sign)
        code = self.fork_server.wait(pid)
        assert code is not None
        self._alive.discard(pid)
        return code

    def drain(self, sink: str, **spec: object) -> None:
        """Let one process finish the work, and stop it as SIGTERM does."""
        pid = self.spawn(sink, **spec)
        self.wait_until(lambda: self.is_held(sink))
        self.caught_up(sink)
        assert self.finish(pid, signal.SIGTERM) == 0

    def is_held(self, sink: str) -> bool:
        """Whether a process holds the lease of the first partition."""
        return bool(self.pipeline.redis.exists(presence_key(Partition(kind_of(sink).stream, 0).key, sink)))

    def caught_up(self, sink: str) -> None:
        """Wait until the sink has all of its stream."""
        self.pipeline.caught_up(sink, stream=kind_of(sink).stream)

    def audit(self, sink, events, *, naive=False):
        return audit(self.pipeline, sink, events, naive=naive)

    def end_processes(self) -> None:
        """kill -9 of whatever runs still."""
        for pid in list(self._alive):
            self.finish(pid, signal.SIGKILL)

    def end(self) -> None:
        self.end_processes()
        if hasattr(self, "pipeline"):
            self.pipeline.close()


class Stopwatch:
    """The longest of several times, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._since = 0.0

    def start(self) -> None:
        self._since = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._since

    def stop(self) -> None:
        self.longest = max(self.longest, time.monotonic() - self._since)
