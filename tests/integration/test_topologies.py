"""Append, consumers, status, replay and parked events on Redis Cluster, and behind a Sentinel through a failover."""

import asyncio
import json
from pathlib import Path

import pytest

from consumers.service import connect, make_broker
from eventlog.reader import stat
from tests.integration.processes import JOB, Playhead
from tests.integration.topologies import Cluster, Watched, is_deleted

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


def test_many_readers_start_on_a_cluster_at_once(tmp_path):
    async def refused(url: str) -> list[object]:
        broker = make_broker(url)
        script = (await connect(broker)).register_script("return redis.call('INCR', KEYS[1])")
        replies = await asyncio.gather(
            *(script(keys=[f"playhead:{{{number}:0}}"]) for number in range(15)), return_exceptions=True
        )
        await broker.stop()
        return [reply for reply in replies if not isinstance(reply, int)]

    servers = Cluster(tmp_path / "redis")
    try:
        servers.start()
        rounds = [asyncio.run(refused(servers.url)) for _ in range(10)]
    finally:
        servers.stop()

    assert [[]] * 10 == rounds


def line(number: int) -> str:
    return json.dumps({"type": "job.completed", "subject": f"job/{number}", "data": json.loads(JOB % number)})


@pytest.mark.parametrize("topology", [Cluster, Watched], indirect=True)
def test_everything_goes_on_many_servers(topology, tmp_path, wait_until):
    outputs = tmp_path / "data" / "outputs"
    playhead = Playhead(tmp_path / "data", topology.url, PLAYHEAD_PARTITIONS="3", PLAYHEAD_LEASE_SECONDS="2")

    def files() -> set[str]:
        return {path.name for path in outputs.glob("daily/*/processed/*.json")}

    def replay() -> dict:
        return json.loads(playhead("replay", "--log", "--to", "json-files", "--json", check=False).stdout)

    def parked() -> list[dict]:
        return json.loads(playhead("parked", "list", "json-files", "--json").stdout)

    expected = {f"{number}.json" for number in range(COUNT)}
    with playhead.running(RUN[0]), playhead.running(RUN[1]):
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

        if isinstance(topology, Watched):
            topology.fail_over()
            playhead("append", stdin=line(COUNT).encode())
            wait_until(lambda: f"{COUNT}.json" in files())
            replay()

        status = json.loads(playhead("status", "--json", check=False).stdout)

    seen = {(one["name"], one["partition"]): one["lag_events"] for one in status["consumers"] if one["name"] in RUN}
    assert {0} == set(seen.values())
    assert {("json-files", f"jobs/{number}") for number in range(3)} <= seen.keys()
    assert [] == status["replays"]
    assert Path(tmp_path / "data" / "eventlog" / "jobs" / "2").is_dir()
