"""One id in Redis, log, database and directories; what belongs to another installation is refused."""

import json
import shutil
from pathlib import Path

import psycopg
import pytest

from playhead.embedded.servers import Servers, embedded_servers
from playhead.projections.migrations import upgrade
from playhead.streams.appending.producer import Producer
from playhead.streams.installation import MARK
from playhead.streams.names import INSTALLATION
from tests.support.processes import JOB, Playhead
from tests.support.servers import plain_client

OTHER = "0190a0a0-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("servers")) as running:
        upgrade(running.database_url)
        yield Servers(running.redis_url, running.database_url)


@pytest.fixture
def redis(servers):
    with plain_client(servers.redis_url) as client:
        client.flushall()
        yield client
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("TRUNCATE playhead_installation, playhead_checkpoints, jobs")


@pytest.fixture
def data(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def playhead(data, redis, servers):
    return Playhead(data, servers.redis_url, DATABASE_URL=servers.database_url)


@pytest.fixture
def append(redis, servers):
    with Producer(servers.redis_url) as producer:
        yield lambda number: producer.append("job.completed", subject=f"job/{number}", data=(JOB % number).encode())


def id_in(directory: Path) -> str | None:
    file = directory / MARK
    return file.read_text().strip() if file.exists() else None


def id_in_redis(redis) -> str | None:
    found = redis.get(INSTALLATION)
    return None if found is None else found.decode()


def id_in_database(servers) -> str | None:
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute("SELECT id FROM playhead_installation").fetchone()
    return None if row is None else row[0]


def is_ready(consumer) -> bool:
    return consumer.get("/readyz")[0] == 200


def test_the_log_makes_an_id_which_every_place_gets(playhead, data, redis, servers, append, wait_until):
    append(1)
    with playhead.running("json-files"), playhead.running("jobs"):
        wait_until((data / "outputs/daily").is_dir)
        assert id_in_redis(redis) is None
        with playhead.running("log"):
            wait_until(lambda: id_in(data / "outputs") and id_in_database(servers))
            made = id_in(data / "eventlog")
            assert made is not None
            assert {made} == {id_in_redis(redis), id_in(data / "outputs"), id_in_database(servers)}

            redis.flushall()
            wait_until(lambda: id_in_redis(redis) == made)
        assert not (data / "jobs").exists()  # a table has no directory
    assert 0 == playhead("doctor", check=False).stdout.count(b"belongs to")


def test_doctor_names_a_directory_that_lost_its_id_and_the_next_start_writes_it(
    playhead, data, redis, servers, append, wait_until
):
    append(1)
    with playhead.running("log"), playhead.running("json-files"):
        wait_until(lambda: id_in(data / "outputs") and (data / "outputs/daily").is_dir())
    made = id_in(data / "outputs")
    (data / "outputs" / MARK).unlink()
    named = playhead("doctor", check=False).stdout.decode()
    with playhead.running("json-files"):
        wait_until(lambda: id_in(data / "outputs") == made)
    after = playhead("doctor", check=False).stdout.decode()

    assert f"will write it to OUTPUT_DIR {data / 'outputs'}" in " ".join(named.split())
    assert "will write it to OUTPUT_DIR" not in " ".join(after.split())


@pytest.mark.parametrize("name", ["json-files", "jobs", "log", "transcode", "sweep"])
def test_a_redis_of_another_installation_is_refused_until_it_is_adopted(
    playhead, data, redis, servers, append, wait_until, name
):
    with playhead.running("log"), playhead.running("json-files"), playhead.running("jobs"):
        wait_until(lambda: id_in(data / "outputs") and id_in_database(servers))
    made = id_in(data / "eventlog")
    redis.flushall()
    redis.set(INSTALLATION, OTHER)
    append(1)
    with playhead.running(name) as consumer:
        wait_until(lambda: OTHER in consumer.get("/readyz")[1])
        assert 503 == consumer.get("/readyz")[0]
        assert made in consumer.get("/readyz")[1]
        assert "playhead adopt --help" in consumer.get("/readyz")[1]
        assert [] == list(data.glob("outputs/daily/*")) + list(data.glob("eventlog/jobs/*/*.jsonl"))
    assert 1 == playhead("doctor", check=False).returncode

    adopted = json.loads(playhead("adopt", "--json").stdout)
    assert {made} == {one["after"] for one in adopted}
    assert made == id_in_redis(redis)
    with playhead.running(name) as consumer:
        wait_until(lambda: is_ready(consumer))


def test_a_directory_and_a_database_of_another_installation_are_refused(
    playhead, data, redis, servers, append, wait_until
):
    append(1)
    with playhead.running("log"):
        wait_until(lambda: id_in_redis(redis))
    (data / "outputs").mkdir(exist_ok=True)
    (data / "outputs" / MARK).write_text(OTHER)
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("INSERT INTO playhead_installation (id) VALUES (%s)", (OTHER,))
    for name, place in (("json-files", "OUTPUT_DIR"), ("jobs", "DATABASE_URL")):
        with playhead.running(name) as consumer:
            wait_until(lambda c=consumer, p=place: f"{p} " in c.get("/readyz")[1] and OTHER in c.get("/readyz")[1])
    assert not (data / "outputs" / "daily").exists()
    with psycopg.connect(servers.database_url) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM jobs").fetchone()


def test_an_empty_directory_is_no_log_if_there_has_been_one(playhead, data, redis, append, wait_until, tmp_path):
    append(1)
    with playhead.running("log"):
        wait_until(lambda: list(data.glob("eventlog/jobs/0/*.jsonl")))
    append(2)
    with playhead.running("log", EVENT_LOG_DIR=str(tmp_path / "elsewhere")) as log:
        wait_until(lambda: "EVENT_LOG_DIR" in log.get("/readyz")[1])
        assert 503 == log.get("/readyz")[0]
        assert b"has no event log" in playhead.attempt("doctor", EVENT_LOG_DIR=str(tmp_path / "elsewhere")).stdout
    assert not list((tmp_path / "elsewhere").glob("**/*.jsonl"))

    shutil.rmtree(data / "eventlog")
    assert 0 == playhead("adopt").returncode
    with playhead.running("log") as log:
        wait_until(lambda: is_ready(log))
        wait_until(lambda: list(data.glob("eventlog/jobs/0/*.jsonl")))


def test_a_log_from_before_there_were_ids_gets_one(playhead, data, redis, append, wait_until):
    append(1)
    with playhead.running("log"):
        wait_until(lambda: list(data.glob("eventlog/jobs/0/*.jsonl")))
    (data / "eventlog" / MARK).unlink()
    redis.delete(INSTALLATION)
    with playhead.running("log") as log:
        wait_until(lambda: is_ready(log))
    assert id_in_redis(redis) == id_in(data / "eventlog") is not None


def test_a_dry_run_changes_nothing(playhead, data, redis, append, wait_until):
    with playhead.running("log"):
        wait_until(lambda: id_in_redis(redis))
    redis.set(INSTALLATION, OTHER)
    said = playhead("adopt", "--dry-run")
    assert f"Redis: {OTHER} -> {id_in(data / 'eventlog')}" in said.stdout.decode()
    assert OTHER == id_in_redis(redis)
