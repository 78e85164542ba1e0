"""Append, consumers, status, replay and parked events on Redis Cluster, and behind a Sentinel through a failover."""

import asyncio
import json
from pathlib import Path

import pytest
from redis.asyncio import Redis

from playhead import subscribe
from playhead.consumers.processes.broker import connect, make_broker
from playhead.consumers.reading.group import Group
from playhead.eventlog.reader import stat
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import RedisUnavailable
from playhead.streams.partitions import Partition
from playhead.streams.positions import START
from playhead.streams.redis.refusals import AWAY
from tests.support.connections import close_and_use
from tests.support.processes import JOB, Playhead
from tests.support.topologies import Cluster, SentinelPair, is_deleted

RUN = ("log", "json-files")
COUNT = 24


@pytest.fixture
def topology(request, tmp_path):
    servers = request.param(tmp_path / "redis")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def cluster(tmp_path):
    servers = Cluster(tmp_path / "redis")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


def test_many_readers_start_on_a_cluster_at_once(cluster):
    async def refused(url: str) -> list[object]:
        broker = make_broker(url)
        script = (await connect(broker, url)).register_script("return redis.call('INCR', KEYS[1])")
        replies = await asyncio.gather(
            *(script(keys=[f"playhead:{{{number}:0}}"]) for number in range(15)), return_exceptions=True
        )
        await broker.stop()
        return [reply for reply in replies if not isinstance(reply, int)]

    rounds = [asyncio.run(refused(cluster.url)) for _ in range(10)]

    assert [[]] * 10 == rounds


def test_tasks_go_on_when_one_of_them_closes_the_connections_of_a_cluster(cluster):
    assert asyncio.run(close_and_use(cluster.url)) > 0


def test_reading_a_stream_of_a_cluster_asks_it_for_no_keys(cluster):
    async def read() -> list[str]:
        broker = make_broker(cluster.url)
        client = await connect(broker, cluster.url)
        for number in range(3):
            partition = Partition("jobs", number)
            await client.xadd(partition.key, {"a": "b"})
            group = Group(client, "any", partition, owner="o", lease=5)
            found = await group.read({partition.key: START}, count=1, block=None)
            assert [{partition.key: 1}] == [{key: len(entries) for key, entries in found.items()}]
        await broker.stop()
        return [name for _, node in cluster.nodes for name in node.info("commandstats")]

    asked = asyncio.run(read())

    assert "cmdstat_xread" in asked
    assert "cmdstat_command|getkeys" not in asked


def line(number: int) -> str:
    return json.dumps({"type": "job.completed", "subject": f"job/{number}", "data": json.loads(JOB % number)})


def lags_of(status: dict) -> dict[tuple[str, str], int]:
    return {(one["name"], one["partition"]): one["lag_events"] for one in status["consumers"] if one["name"] in RUN}


@pytest.mark.parametrize("topology", [Cluster, SentinelPair], indirect=True)
def test_everything_goes_on_many_servers(topology, tmp_path, wait_until):
    outputs = tmp_path / "data" / "outputs"
    playhead = Playhead(tmp_path / "data", topology.url, PLAYHEAD_PARTITIONS="3", PLAYHEAD_LEASE_SECONDS="2")

    def files() -> set[str]:
        return {path.name for path in outputs.glob("daily/*/processed/*.json")}

    def replay() -> dict:
        done = playhead.attempt("replay", "--log", "--to", "json-files", "--json")
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout)

    def parked() -> list[dict]:
        return json.loads(playhead("parked", "list", "json-files", "--json").stdout)

    def lags() -> dict[tuple[str, str], int]:
        return lags_of(json.loads(playhead("status", "--json", check=False).stdout))

    expected = {f"{number}.json" for number in range(COUNT)}
    with playhead.running(RUN[0]) as log, playhead.running(RUN[1]) as writer:
        playhead("append", stdin="\n".join(map(line, range(COUNT))).encode())
        playhead("append", "job.completed", "--subject", "job/bad", "--data", '{"no": "id"}')
        wait_until(lambda: files() == expected and len(parked()) == 1)
        wait_until(lambda: stat(tmp_path / "data" / "eventlog").events == COUNT + 1)
        wait_until(lambda: is_deleted(outputs))
        first = replay()

        assert (COUNT + 1, COUNT + 1, 1) == (first["read"], first["replayed"], first["failed"])
        assert expected == files()
        assert 1 == replay()["failed"]
        assert 1 == len(parked())

        if isinstance(topology, SentinelPair):
            topology.fail_over()
            playhead("append", stdin=line(COUNT).encode())
            wait_until(lambda: f"{COUNT}.json" in files())
            wait_until(lambda: log.get("/readyz")[0] == writer.get("/readyz")[0] == 200)
            replay()

        wait_until(lambda: {0} == set(lags().values()))
        status = json.loads(playhead("status", "--json", check=False).stdout)

    assert {("json-files", f"jobs/{number}") for number in range(3)} <= lags_of(status).keys()
    assert [] == status["replays"]
    assert Path(tmp_path / "data" / "eventlog" / "jobs" / "2").is_dir()


@pytest.mark.parametrize("topology", [Cluster, SentinelPair], indirect=True)
def test_a_subscription_reads_every_partition_from_the_log_on_into_the_stream(topology, tmp_path):
    playhead = Playhead(tmp_path / "data", topology.url, PLAYHEAD_PARTITIONS="3")
    with playhead.running("log"):
        playhead("append", stdin="\n".join(map(line, range(12))).encode())
        log = tmp_path / "data" / "eventlog"
        with subscribe(topology.url, log=log, stream="jobs", partitions=3) as subscription:
            found = [next(subscription).event.subject for _ in range(12)]
            playhead("append", stdin="\n".join(map(line, range(12, COUNT))).encode())
            found += [next(subscription).event.subject for _ in range(12, COUNT)]

    assert {f"job/{number}" for number in range(COUNT)} == set(found)


ELSEWHERE = "192.0.2.1"
"""An address that is no machine's (RFC 5737)."""


def refused(url: str) -> list[str]:
    """What a producer and a consumer say that would be led to another machine."""

    async def ask() -> None:
        broker = make_broker(url)
        client = await connect(broker, url)
        try:
            await client.exists("playhead:streams")
        finally:
            await broker.stop()
            if isinstance(client, Redis):
                for sentinel in client.connection_pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    said: list[str] = []
    with pytest.raises(RedisUnavailable) as of_producer, Producer(url) as producer:
        producer.append("job.completed", subject="job/1", data=(JOB % 1).encode())
    said.append(str(of_producer.value))
    with pytest.raises(AWAY) as of_consumer:
        asyncio.run(ask())
    return [*said, str(of_consumer.value)]


def test_no_one_follows_a_cluster_on_this_machine_to_a_member_elsewhere_without_tls(cluster):
    for _, client in cluster.nodes:
        client.config_set("cluster-announce-ip", ELSEWHERE)

    said = refused(cluster.url)
    assert all(f"member {ELSEWHERE}, which is on another machine and without TLS" in one for one in said), said


@pytest.mark.parametrize("topology", [SentinelPair], indirect=True)
def test_no_one_follows_a_sentinel_on_this_machine_to_a_master_elsewhere_without_tls(topology):
    topology.sentinel.execute_command("SENTINEL", "REMOVE", "events")
    topology.sentinel.execute_command("SENTINEL", "MONITOR", "events", ELSEWHERE, "6379", "1")

    said = refused(topology.url)
    assert all(f"member {ELSEWHERE}, which is on another machine and without TLS" in one for one in said), said
