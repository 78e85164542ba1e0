"""Append, consumers, status, replay and parked events on Redis Cluster, and behind a Sentinel through a failover."""

import json
from pathlib import Path

import pytest

from tests.integration.processes import JOB, Playhead
from tests.integration.topologies import Cluster, Watched

COUNT = 24


@pytest.fixture
def topology(request, tmp_path):
    servers = request.param(tmp_path / "redis")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


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
    with playhead.running("log"), playhead.running("json-files"):
        playhead("append", stdin="\n".join(map(line, range(COUNT))).encode())
        playhead("append", "job.completed", "--subject", "job/bad", "--data", '{"no": "id"}')
        wait_until(lambda: files() == expected and len(parked()) == 1)
        outputs.rename(tmp_path / "lost")
        first = replay()

        assert expected == files()
        assert (COUNT + 1, COUNT + 1, 1) == (first["read"], first["replayed"], first["failed"])
        assert 1 == replay()["failed"]
        assert 1 == len(parked())

        if isinstance(topology, Watched):
            topology.fail_over()
            playhead("append", stdin=line(COUNT).encode())
            wait_until(lambda: f"{COUNT}.json" in files())
            replay()

        status = json.loads(playhead("status", "--json", check=False).stdout)

    seen = {(one["name"], one["partition"]): one["lag_events"] for one in status["consumers"] if one["name"] != "jobs"}
    assert {0} == set(seen.values())
    assert {("json-files", f"jobs/{number}") for number in range(3)} <= seen.keys()
    assert [] == status["replays"]
    assert Path(tmp_path / "data" / "eventlog" / "jobs" / "2").is_dir()
