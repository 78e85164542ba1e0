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
from tests.documents import job
from tests.faults.audits import audit
from tests.faults.conftest import Stopwatch
from tests.faults.effects import KINDS, rows_in, subject_of
from tests.faults.nursery import Spec
from tests.faults.reports import Harm, Report
from tests.integration.stage import Stage, make_database
from tests.integration.topologies import CopiedCluster, Watched

TOGETHER = ("log", "json-files", "jobs")
PARTITIONS = 3
KEYS = [Partition("jobs", number).key for number in range(PARTITIONS)]
FAULTS = {
    Watched: "a master dies under load while its replica is held back, a Sentinel lets the replica take over",
    CopiedCluster: "a master of a Redis Cluster dies under load while its replica is held back, which takes over",
}


class Site(Stage):
    """A stage on several servers, fed by a producer that repeats what was not acknowledged."""

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


@pytest.fixture(params=[Watched, CopiedCluster])
def topology(request):
    return request.param


def test_a_master_dies_under_load(topology, postgres, nursery, tmp_path, wait_until, report, count, seed):
    runs = count(1, 20)
    servers, crew = topology(tmp_path / "redis"), Crew(postgres, nursery, wait_until)
    try:
        servers.start()
        harm, recovery = crew.lose_masters(servers, tmp_path, random.Random(seed), runs)
        control_harm = crew.lose_one_unseen(servers, tmp_path / "control", random.Random(seed))
    finally:
        crew.end()
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


def ending(site) -> Harm:
    """How the rows end. An event that a master took along unacknowledged may have been applied before, and is again
    when it is repeated, which writes the same row.
    """
    expected = {subject_of(event): event.id for event in site.events}
    found = dict(rows_in(site.database, KINDS["jobs"]))
    return Harm(
        lost=sum(found.get(subject) != event_id for subject, event_id in expected.items()),
        wrong=len(found.keys() - expected.keys()),
    )


class Crew:
    """The consumer processes of one site after the other."""

    def __init__(self, postgres, nursery, wait_until) -> None:
        self._postgres, self._nursery, self._wait_until = postgres, nursery, wait_until
        self._pids: dict[str, int] = {}

    def lose_masters(self, servers, directory, chance, runs) -> tuple[Harm, float]:
        """One consumer, whichever, is frozen meanwhile, and finds the new master when it goes on."""
        watch = Stopwatch()
        with self._site(servers, directory, "replicas:1") as site:
            self._spawn(site, recovering=True)
            for _ in range(runs):
                site.begin(chance)
                site.grows(100)
                frozen, key = self._pids[chance.choice(TOGETHER)], chance.choice(KEYS)
                os.kill(frozen, signal.SIGSTOP)
                died = self._replace(site, servers, key, watch)
                servers.return_of(died)
                os.kill(frozen, signal.SIGCONT)
                site.grows(100)
                site.end()
                for sink in TOGETHER:
                    site.wait_until(lambda sink=sink: site.is_caught_up(sink))
                watch.stop()
            self._finish()
            harm = audit(site, "log", site.events) + audit(site, "json-files", site.events) + ending(site)
            return harm, watch.longest

    def lose_one_unseen(self, servers, directory, chance) -> Harm:
        directory.mkdir()
        for _, client in servers.nodes:
            if client.info("server")["redis_mode"] != "sentinel" and client.role()[0] == b"master":
                client.flushall()
        with self._site(servers, directory, "server") as site:
            site.begin(chance)
            site.grows(100)
            self._replace(site, servers, KEYS[0], Stopwatch())
            site.grows(20)
            site.end()
            self._spawn(site, ("log",), control="no event ids")
            site.wait_until(lambda: site.is_caught_up("log"))
            self._finish()
            lines = (directory / "effects").read_text().splitlines()
            return Harm(lost=len({event.id for event in site.events} - {json.loads(line)[1] for line in lines}))

    @contextmanager
    def _site(self, servers, directory, durability):
        site = Site(servers, self._postgres, directory, self._wait_until, durability)
        try:
            yield site
        finally:
            site.close()

    def _replace(self, site, servers, key, watch) -> int:
        """kill -9 of the master of a key; its number, once another node has taken over."""
        master = servers.master(key)
        servers.hold_back(master)
        # From now on the master alone has what comes; a producer that asks for replicas is told so.
        refused, acknowledged = site.refused, len(site.events)
        site.wait_until(lambda: site.refused > refused or len(site.events) > acknowledged + 100)
        servers.kill(master)
        watch.start()
        site.wait_until(lambda: servers.master(key) != master)
        return master

    def _spawn(self, site, sinks=TOGETHER, **spec) -> None:
        for sink in sinks:
            wanted = Spec(
                sink=sink,
                redis=site.server.url,
                database=site.database,
                directory=str(site.directory),
                partitions=PARTITIONS,
                lease=1.0,
                **spec,
            )
            self._pids[sink] = self._nursery.spawn(wanted)

    def _finish(self) -> None:
        for sink in list(self._pids):
            pid = self._pids.pop(sink)
            os.kill(pid, signal.SIGTERM)
            assert self._nursery.wait(pid) == 0

    def end(self) -> None:
        """kill -9 of whatever runs still."""
        for pid in self._pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
