"""Embedded servers and real consumer processes, which can be held while their stream fills."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Self

import msgspec
from redis import Redis

from benchmarks.contest import Turn, timed
from benchmarks.samples import SMALL, Samples
from playhead.embedded.directory import load_running
from playhead.embedded.servers import embedded_servers
from playhead.projections.migrations import upgrade
from playhead.streams.appending.producer import Producer
from playhead.streams.partitions import Partition

JOBS = Partition("jobs", 0)
_POLL_SECONDS = 0.002
_PATIENCE_SECONDS = 300.0
_LEASE_SECONDS = "60"
"""A consumer that is held must still have its partition afterward."""
_GET_FLAGS, _SET_FLAGS, _TOP_DIRECTORY = 0x80086601, 0x40086602, 0x00020000


class Ended(RuntimeError):
    """A process ended before it had done its work; the message has what it said last."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        super().__init__(f"{process.args} ended with {process.returncode}: {log.read_text()[-2000:]}")


class Stack(msgspec.Struct, frozen=True):
    """Servers of one data directory."""

    data_dir: Path
    redis_url: str
    database_url: str
    redis_pid: int
    postgres_pid: int
    client: Redis
    samples: Samples

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process use this stack."""
        return {
            **os.environ,
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": self.database_url,
            "PLAYHEAD_DATA_DIR": str(self.data_dir),
            "PLAYHEAD_LEASE_SECONDS": _LEASE_SECONDS,
            "REDIS_TIMEOUT": _LEASE_SECONDS,
            "PLAYHEAD_HTTP_PORT": "0",
        }

    @property
    def log(self) -> Path:
        """What the processes say."""
        return self.data_dir / "playhead.log"

    @property
    def last_id(self) -> str:
        """The id of the newest entry of the stream."""
        return self.client.xinfo_stream(JOBS.key)["last-generated-id"].decode()

    def position(self, group: str) -> str:
        """How far a group is."""
        return next(
            (
                g["last-delivered-id"].decode()
                for g in self.client.xinfo_groups(JOBS.key)
                if g["name"] == group.encode()
            ),
            "",
        )

    def empty_stream(self) -> None:
        """Drop the entries that everyone has read, and what the append-only file says of them."""
        self.client.xtrim(JOBS.key, maxlen=0, approximate=False)

    def wait_until(self, condition: Callable[[], bool], process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Look until it is so; the deadline is only there to end a broken run.

        Raises:
            Ended: the process that was to bring it about is gone.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if process is not None and process.poll() is not None:
                raise Ended(process, self.log)
            if time.monotonic() > deadline:
                raise TimeoutError("the condition did not come true")
            time.sleep(_POLL_SECONDS)

    def start_over(self) -> None:
        """A Redis without keys and with a short append-only file."""
        self.client.flushall()
        self.client.bgrewriteaof()
        self.wait_until(lambda: not self.client.info("persistence")["aof_rewrite_in_progress"])


class Consumer:
    """A `playhead run` process; `since` and `after` are the entry and the job before the backlog it worked off last."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._stack, self._name = stack, name
        self.since = self.after = ""
        self._process = playhead(stack, "run", name)
        with Producer(stack.redis_url) as producer:
            producer.append_events(stack.samples.events(1, SMALL))
        self.wait_until_caught_up()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_caught_up(self) -> None:
        """Return when the group stands at the end of the stream."""
        last = self._stack.last_id
        self._stack.wait_until(lambda: self._stack.position(self._name) == last, self._process)

    @contextlib.contextmanager
    def held(self) -> Generator[None, None, None]:
        """Stop the process while the block runs."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def work_off(self, count: int, size: int, *, server: int, done: Callable[[], bool] | None = None) -> Turn:
        """Fill the stream while the process is held, then time it until the group, or `done`, is through."""
        self.since, self.after = self._stack.last_id, self._stack.samples.last_job_id
        with contextlib.ExitStack() as held, Producer(self._stack.redis_url) as producer:
            held.enter_context(self.held())
            producer.append_events(self._stack.samples.events(count, size))
            with timed(count, client=self.pid, server=server) as turn:
                held.close()
                self.wait_until_caught_up()
                if done is not None:
                    self._stack.wait_until(done, self._process)
        return turn

    def stop(self) -> None:
        """Let it finish, as a supervisor would."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def started(directory: Path) -> Generator[Stack, None, None]:
    """Run the embedded servers in a directory."""
    data_dir = fresh_directory(directory, "stack")
    with embedded_servers(data_dir) as servers:
        running = load_running(data_dir)
        assert running is not None
        assert running.valkey is not None
        assert running.postgres is not None
        assert servers.redis_url is not None
        assert servers.database_url is not None
        upgrade(servers.database_url)
        client = Redis.from_url(servers.redis_url)
        client.config_set("auto-aof-rewrite-percentage", 0)  # no rewrite in the middle of somebody's turn
        yield Stack(
            data_dir,
            servers.redis_url,
            servers.database_url,
            running.valkey.pid,
            running.postgres.pid,
            client,
            Samples(),
        )


def playhead(stack: Stack, *arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start the command line against a stack."""
    with stack.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "playhead", *arguments],
            env=stack.environment,
            **{"stderr": log, "stdin": subprocess.DEVNULL, **options},
        )


def limit(name: str, *arguments: str | int) -> Turn:
    """Run a limit of `benchmarks.limits` in a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.limits", name, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Turn(**json.loads(done.stdout))


def fresh_directory(parent: Path, name: str) -> Path:
    """A new directory, away from the others on ext4.

    ext4 passes over every inode freed in the last minutes before it takes one, so creating a file is up to 20 times
    slower in a block group where thousands of files were deleted. With the `T` attribute (chattr(1)) on the parent,
    each directory below it gets a block group of its own. Other file systems refuse it and do not need it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
        fcntl.ioctl(descriptor, _SET_FLAGS, (flags | _TOP_DIRECTORY).to_bytes(8, sys.byteorder))
    except OSError:
        pass
    finally:
        os.close(descriptor)
    made = parent / f"{name}-{secrets.token_hex(4)}"  # the group is chosen by the name
    made.mkdir()
    return made
