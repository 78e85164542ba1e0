"""A master that dies under load, with its replica held back, behind a Sentinel and in a Redis Cluster."""

import json
import os
import random
import signal
import threading
from contextlib import contextmanager, suppress

import pytest
from redis.exceptions import RedisError

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import NotReplicated, RedisUnavailable
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.connections import connect
from tests.faults.audits import audit
from tests.faults.effects import KINDS, rows_in, subject_of
from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm, Report
from tests.faults.spec import Spec
from tests.support.databases import make_database
from tests.support.events import job
from tests.support.pipeline import Pipeline
from tests.support.topologies import ReplicatedCluster, SentinelPair

TOGETHER = ("log", "json-files", "jobs")
PARTITIONS = 3
KEYS = [Partition("jobs", number).key for number in range(PARTITIONS)]
FAULTS = {
    SentinelPair: "a master dies under load while its replica is held back, a Sentinel lets the replica take over",
    ReplicatedCluster: "a master of a Redis Cluster dies under load while its replica is held back, which takes over",
}


class LoadedPipeline(Pipeline):
    """A pipeline on several servers, fed by a producer that repeats what was not acknowledged."""

    def __init__(self, servers, postgres, directory, wait_until, durability) -> None:
        self.server, self.directory, self.partitions, self.wait_until = servers, directory, PARTITIONS, wait_until
        self.database = make_database(postgres.url)
        self.producer = Producer(servers.url, partitions=PARTITIONS, durability=durability, timeout=2)
        self.redis = connect(servers.url, 2, retries=3)
        self.events, self.refused = [], 0
        self._running = []
        self._stop = threading.Event()
        self._producing = threading.Thread()

    def begin(self, chance) -> None:
        """Append until told to stop; what is in `events` was acknowledged."""

        def produce() -> None:
            while not self._stop.is_set():
                more = [job(len(self.events) + n, f"job/{chance.randrange(40)}") for n in range(5)]
                while not self._is_appended(more):
                    pass
                self.events.extend(more)
                self._stop.wait(0.005)

        self._stop.clear()
        self._producing = threading.Thread(target=produce)
        self._producing.start()

    def _is_appended(self, events) -> bool:
        try:
            self.producer.append_events(events)
        except NotReplicated:
            self.refused += 1
            return False
        except RedisUnavailable:
            return False
        return True

    def end(self) -> None:
        self._stop.set()
        self._producing.join()

    def grows(self, count: int) -> None:
        """Wait until so many more events were acknowledged."""
        wanted = len(self.events) + count
        self.wait_until(lambda: len(self.events) >= wanted)

    def is_caught_up(self, sink: str) -> bool:
        with suppress(RedisError):
            return all(self._is_there(sink, key) for key in KEYS)
        return False

    def _is_there(self, sink: str, key: str) -> bool:
        last = self.redis.xinfo_stream(key)["last-generated-id"]
        groups = {group["name"]: group["last-delivered-id"] for group in self.redis.xinfo_groups(key)}
        return Position.parse(groups.get(sink.encode(), b"0-0")) >= Position.parse(last)

    def close(self) -> None:
        self.end() if self._producing.is_alive() else None
        super().close()


@pytest.fixture(params=[SentinelPair, ReplicatedCluster])
def topology(request):
    return request.param


def test_a_master_dies_under_load(topology, postgres, fork_server, tmp_path, wait_until, report, count, seed):
    runs = count(1, 20)
    servers, consumers = topology(tmp_path / "redis"), Consumers(postgres, fork_server, wait_until)
    try:
        servers.start()
        harm, recovery = consumers.lose_masters(servers, tmp_path, random.Random(seed), runs)
        control_harm = consumers.lose_one_unseen(servers, tmp_path / "control", random.Random(seed))
    finally:
        consumers.end()
        servers.stop()

    report(
        Report(
            FAULTS[topology],
            ", ".join(TOGETHER),
            "each sink ends as what two nodes acknowledged says, the log in order; the producer repeats the rest",
            runs,
            harm,
            "one node's word is enough, no sequence numbers",
            control_harm,
            recovery,
            seed,
            "redis-7.0",
        )
    )


def ending(pipeline) -> Harm:
    """How the rows end. An event that a master took along unacknowledged may have been applied before, and is again
    when it is repeated, which writes the same row.
    """
    expected = {subject_of(event): event.id for event in pipeline.events}
    found = dict(rows_in(pipeline.database, KINDS["jobs"]))
    return Harm(
        lost=sum(found.get(subject) != event_id for subject, event_id in expected.items()),
        wrong=len(found.keys() - expected.keys()),
    )


class Consumers:
    """The consumer processes of one pipeline after the other."""

    def __init__(self, postgres, fork_server, wait_until) -> None:
        self._postgres, self._fork_server, self._wait_until = postgres, fork_server, wait_until
        self._pids: dict[str, int] = {}

    def lose_masters(self, servers, directory, chance, runs) -> tuple[Harm, float]:
        """One consumer, whichever, is frozen meanwhile, and finds the new master when it goes on."""
        watch = Stopwatch()
        with self._pipeline(servers, directory, "replicas:1") as pipeline:
            self._spawn(pipeline, recovering=True)
            for _ in range(runs):
                pipeline.begin(chance)
                pipeline.grows(100)
                frozen, key = self._pids[chance.choice(TOGETHER)], chance.choice(KEYS)
                os.kill(frozen, signal.SIGSTOP)
                died = self._replace(pipeline, servers, key, watch)
                servers.return_of(died)
                os.kill(frozen, signal.SIGCONT)
                pipeline.grows(100)
                pipeline.end()
                for sink in TOGETHER:
                    pipeline.wait_until(lambda sink=sink: pipeline.is_caught_up(sink))
                watch.stop()
            self._finish()
            harm = (
                audit(pipeline, "log", pipeline.events)
                + audit(pipeline, "json-files", pipeline.events)
                + ending(pipeline)
            )
            return harm, watch.longest

    def lose_one_unseen(self, servers, directory, chance) -> Harm:
        directory.mkdir()
        for _, client in servers.nodes:
            if client.info("server")["redis_mode"] != "sentinel" and client.role()[0] == b"master":
                client.flushall()
        with self._pipeline(servers, directory, "server") as pipeline:
            pipeline.begin(chance)
            pipeline.grows(100)
            self._replace(pipeline, servers, KEYS[0], Stopwatch())
            pipeline.grows(20)
            pipeline.end()
            self._spawn(pipeline, ("log",), control="no event ids")
            pipeline.wait_until(lambda: pipeline.is_caught_up("log"))
            self._finish()
            lines = (directory / "effects").read_text().splitlines()
            return Harm(lost=len({event.id for event in pipeline.events} - {json.loads(line)[1] for line in lines}))

    @contextmanager
    def _pipeline(self, servers, directory, durability):
        pipeline = LoadedPipeline(servers, self._postgres, directory, self._wait_until, durability)
        try:
            yield pipeline
        finally:
            pipeline.close()

    def _replace(self, pipeline, servers, key, watch) -> int:
        """kill -9 of the master of a key; its number, once another node has taken over."""
        master = servers.master(key)
        servers.hold_back(master)
        # From now on the master alone has what comes; a producer that asks for replicas is told so.
        refused, acknowledged = pipeline.refused, len(pipeline.events)
        pipeline.wait_until(lambda: pipeline.refused > refused or len(pipeline.events) > acknowledged + 100)
        servers.kill(master)
        watch.start()
        pipeline.wait_until(lambda: servers.master(key) != master)
        return master

    def _spawn(self, pipeline, sinks=TOGETHER, **spec) -> None:
        for sink in sinks:
            wanted = Spec(
                sink=sink,
                redis=pipeline.server.url,
                database=pipeline.database,
                directory=str(pipeline.directory),
                partitions=PARTITIONS,
                lease=1.0,
                **spec,
            )
            self._pids[sink] = self._fork_server.spawn(wanted)

    def _finish(self) -> None:
        for sink in list(self._pids):
            pid = self._pids.pop(sink)
            os.kill(pid, signal.SIGTERM)
            assert self._fork_server.wait(pid) == 0

    def end(self) -> None:
        """kill -9 of whatever runs still."""
        for pid in self._pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
