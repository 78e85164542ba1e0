"""A Redis Cluster and a Sentinel set-up of real servers, each durable as Playhead asks for."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from playhead.embedded.processes import ServerProcess, free_port
from tests.integration.servers import DURABLE, answers, plain_client

SLOTS = 16384


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the servers did not come together"
        time.sleep(0.05)


def is_deleted(directory: Path) -> bool:
    """Delete a tree in which a summary may be written right now; False where one was. Moving it away would not
    do: a consumer goes on in the directories that it has open.
    """
    try:
        shutil.rmtree(directory)
    except OSError:
        return False
    return True


class Servers:
    """Processes of one program, each in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._program = shutil.which("redis-server")
        if self._program is None:
            pytest.skip("redis-server is not installed")
        self._directory = directory
        directory.mkdir()
        self.nodes: list[tuple[ServerProcess, Redis]] = []

    def add(self, *options: str) -> tuple[int, Redis]:
        process = ServerProcess("redis", self._directory / str(len(self.nodes)), signal.SIGTERM)
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        process.prepare()
        process.spawn([self._program, *options, "--bind", "127.0.0.1", "--port", str(port)])
        process.wait_until(lambda: answers(url))
        self.nodes.append((process, plain_client(url)))
        return port, self.nodes[-1][1]

    def stop(self) -> None:
        for process, client in reversed(self.nodes):
            client.close()
            process.stop()


class Cluster(Servers):
    """Three masters that share the slots."""

    url = ""

    def start(self) -> None:
        buses: list[tuple[int, int]] = []
        for number in range(3):
            bus = free_port()
            port, client = self.add("--cluster-enabled", "yes", "--cluster-port", str(bus), *DURABLE)
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            buses.append((port, bus))
        for port, bus in buses[1:]:
            self.nodes[0][1].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        wait_for(lambda: all(self._is_whole(client) for _, client in self.nodes))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in buses)

    def _is_whole(self, client: Redis) -> bool:
        about = client.execute_command("CLUSTER INFO")
        return about["cluster_state"] == "ok" and about["cluster_known_nodes"] == "3"


class Watched(Servers):
    """A master, its replica, and a Sentinel that watches them."""

    url = ""

    def start(self) -> None:
        self.master, _ = self.add(*DURABLE)
        _, replica = self.add("--replicaof", "127.0.0.1", str(self.master), *DURABLE)
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up")
        configuration = self._directory / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor events 127.0.0.1 {self.master} 1\n"
            "sentinel down-after-milliseconds events 1000\nsentinel failover-timeout events 5000\n"
        )
        port, self.sentinel = self.add(str(configuration), "--sentinel")
        wait_for(lambda: self.sentinel.execute_command("SENTINEL REPLICAS", "events") != [])
        self.url = f"redis+sentinel://127.0.0.1:{port}/events/0"

    def fail_over(self) -> None:
        """kill -9 of the master; the replica takes over."""
        os.kill(self.nodes[0][0].pid, signal.SIGKILL)
        wait_for(lambda: self._master() != self.master)

    def _master(self) -> int:
        try:
            return int(self.sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "events")[1])
        except RedisError:
            return self.master
