"""The whole of Playhead with the users and roles that `playhead redis acl` and `playhead db roles` make."""

import json
from contextlib import ExitStack

import psycopg
import pytest

from playhead.embedded.servers import Servers, embedded_servers
from playhead.projections.migrations import upgrade
from tests.support.addresses import superuser_url
from tests.support.processes import JOB, Playhead
from tests.support.servers import plain_client

PROCESSES = ("log", "json-files", "jobs", "organizations", "recordings", "sweep")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("servers")
    with embedded_servers(directory) as running:
        upgrade(running.database_url)
        yield Servers(running.redis_url, superuser_url(directory))


@pytest.fixture
def commands(servers, tmp_path):
    """What each kind of user types, by its kind."""
    administrator = Playhead(tmp_path / "data", servers.redis_url, DATABASE_URL=servers.database_url)
    redis = json.loads(administrator("redis", "acl", "--apply", "--json").stdout)
    postgres = json.loads(administrator("db", "roles", "--json").stdout)
    return {
        kind: Playhead(
            tmp_path / "data",
            redis[f"playhead-{kind}"],
            DATABASE_URL=postgres[f"playhead_{role}"],
            PLAYHEAD_PARTITIONS="1",
        )
        for kind, role in (("producer", "reader"), ("consumer", "writer"), ("operator", "writer"))
    }


def output(playhead, *command: str):
    return json.loads(playhead(*command, "--json", check=False).stdout)


def test_every_process_and_command_works_as_its_own_user(commands, servers, tmp_path, wait_until):
    consumer, operator, data = commands["consumer"], commands["operator"], tmp_path / "data"

    def append(number: int) -> None:
        subject = ("--subject", f"job/{number}")
        commands["producer"]("append", "job.completed", *subject, "--data", JOB % number)

    def rows() -> int:
        with psycopg.connect(operator.environment["DATABASE_URL"]) as connection:
            return connection.execute("SELECT count(*) FROM jobs").fetchone()[0]

    def running(*names: str) -> ExitStack:
        started = ExitStack()
        processes = [started.enter_context(consumer.running(name)) for name in names]
        wait_until(lambda: all(one.get("/readyz")[0] == 200 for one in processes))
        return started

    parking = {"log", "json-files", "jobs", "organizations"}
    append(1)
    with running(*PROCESSES):
        append(2)
        with plain_client(commands["producer"].environment["REDIS_URL"]) as foreign:
            foreign.xadd("playhead:{jobs:0}", {"ce_id": "bad"})
        wait_until(lambda: rows() == 2)
        wait_until(lambda: parking == {one["consumer"] for one in output(operator, "parked", "list")})
        wait_until(lambda: "sweep" in {one["name"] for one in output(operator, "status")["consumers"]})
    with running("jobs"):  # again, with something parked
        append(3)
        wait_until(lambda: rows() == 3)
    verified = operator("verify", check=False)
    adopted = operator("adopt", "--json")
    for command in (("organizations", "stat"), ("recordings", "list")):
        commands["producer"](*command)  # which reads Postgres as the reader
    with plain_client(servers.redis_url) as client:
        refused = {one[b"object"] for one in client.execute_command("ACL", "LOG")}

    assert b"0 faults" in verified.stdout + verified.stderr
    assert all(one["before"] == one["after"] for one in json.loads(adopted.stdout))
    assert (data / "outputs").is_dir()
    assert {b"config|get"} == refused  # none of them may read the configuration
