"""A Redis Cluster and a Sentinel set-up of real servers, each durable as Playhead asks for."""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from playhead.embedded.processes import ServerProcess, free_port
from tests.support.servers import DURABLE, answers, plain_client

SLOTS = 16384
NODE = ["--repl-diskless-sync-delay", "0", *DURABLE]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the servers did not come together"
        time.sleep(0.05)


def is_deleted(directory: Path) -> bool:
    """Delete a tree in which a summary may be written right now; False if one was. Moving it away would not
    do: a consumer goes on in the directories that it has open.
    """
    try:
        shutil.rmtree(directory)
    except OSError:
        return False
    return True


class Servers:
    """Processes of one program, each in a directory of its own."""

    url = ""

    def __init__(self, directory: Path) -> None:
        self._program = shutil.which("redis-server")
        if self._program is None:
            pytest.skip("redis-server is not installed")
        self._directory = directory
        directory.mkdir()
        self.nodes: list[tuple[ServerProcess, Redis]] = []
        self.ports: list[int] = []
        self._commands: list[list[str]] = []

    def add(self, *options: str) -> tuple[int, Redis]:
        process = ServerProcess("redis", self._directory / str(len(self.nodes)), signal.SIGTERM)
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        command = [self._program, *options, "--bind", "127.0.0.1", "--port", str(port)]
        process.prepare()
        process.spawn(command)
        process.wait_until(lambda: answers(url))
        self.nodes.append((process, plain_client(url)))
        self.ports.append(port)
        self._commands.append(command)
        return port, self.nodes[-1][1]

    def hold_back(self, number: int) -> None:
        """Cut the replicas of a master off, and let none come back; whoever else talks to it sees nothing of that."""
        client = self.nodes[number][1]
        client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_for(lambda: client.info("replication")["connected_slaves"] == 0)

    def kill(self, number: int) -> None:
        os.kill(self.nodes[number][0].pid, signal.SIGKILL)

    def revive(self, number: int, *options: str) -> None:
        """Start a node that was killed, with the data that it had, and wait until it follows its successor."""
        process, client = self.nodes[number]
        process.stop()
        process.prepare()
        process.spawn([*self._commands[number], *options])
        wait_for(lambda: _follows(client))

    def stop(self) -> None:
        for process, client in reversed(self.nodes):
            client.close()
            process.stop()


def _follows(client: Redis) -> bool:
    try:
        return client.info("replication").get("master_link_status") == "up"
    except RedisError:
        return False


class Cluster(Servers):
    """Three masters that share the slots."""

    replicas = 0
    """Of each master."""
    options: tuple[str, ...] = ()

    def start(self) -> None:
        meetings: list[tuple[int, int]] = []
        for _ in range(3 * (1 + self.replicas)):
            bus = free_port()
            port, _ = self.add("--cluster-enabled", "yes", "--cluster-port", str(bus), *self.options, *NODE)
            meetings.append((port, bus))
        for number in range(3):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            self.nodes[number][1].execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for port, bus in meetings[1:]:
            self.nodes[0][1].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        wait_for(lambda: all(self._is_whole(client) for _, client in self.nodes))
        for number, (_, replica) in enumerate(self.nodes[3:]):
            master = self.nodes[number % 3][1].execute_command("CLUSTER MYID")
            replica.execute_command("CLUSTER REPLICATE", master.decode() if isinstance(master, bytes) else master)
        for _, replica in self.nodes[3:]:
            wait_for(lambda replica=replica: _follows(replica))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in meetings)

    def master(self, key: str) -> int:
        """The number of the node that has a key now, as most nodes that live see it."""
        votes: Counter[int] = Counter()
        for _, client in self.nodes:
            with suppress(RedisError):
                slot = client.execute_command("CLUSTER KEYSLOT", key)
                for first, last, (_, port, *_), *_ in _slots(client):
                    if first <= slot <= last:
                        votes[self.ports.index(port)] += 1
        return votes.most_common(1)[0][0]

    def return_of(self, number: int) -> None:
        """Start a node that was killed: it follows whoever has its slots now."""
        self.revive(number)

    def _is_whole(self, client: Redis) -> bool:
        about = client.execute_command("CLUSTER INFO")
        return about["cluster_state"] == "ok" and about["cluster_known_nodes"] == str(len(self.nodes))


def _slots(client: Redis) -> list[list[Any]]:
    """Slot ranges with their nodes, as the server says it."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("CLUSTER", "SLOTS")
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


class ReplicatedCluster(Cluster):
    """Three masters that share the slots, with a replica each."""

    replicas = 1
    options = ("--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0")


class SentinelPair(Servers):
    """A master, its replica, and a Sentinel that watches them."""

    def start(self) -> None:
        master, _ = self.add(*NODE)
        _, replica = self.add("--replicaof", "127.0.0.1", str(master), *NODE)
        wait_for(lambda: _follows(replica))
        configuration = self._directory / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor events 127.0.0.1 {master} 1\n"
            "sentinel down-after-milliseconds events 1000\nsentinel failover-timeout events 5000\n"
        )
        port, self.sentinel = self.add(str(configuration), "--sentinel")
        wait_for(lambda: self.sentinel.execute_command("SENTINEL REPLICAS", "events") != [])
        self.url = f"redis+sentinel://127.0.0.1:{port}/events/0"

    def fail_over(self) -> None:
        """kill -9 of the master; the replica takes over."""
        master = self.master("")
        self.kill(master)
        wait_for(lambda: self.master("") != master)

    def master(self, _: str) -> int:
        """The number of the node that has every key now, as the Sentinel sees it."""
        _, port = self.sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "events")
        return self.ports.index(int(port))

    def return_of(self, number: int) -> None:
        """Start a node that was killed: it follows its successor."""
        self.revive(number, "--replicaof", "127.0.0.1", str(self.ports[self.master("")]))
