"""What a consumer process shows over HTTP and says on stderr."""

import asyncio
import json
import os
import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import psycopg
import pytest
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis as AsyncRedis

from playhead.consumers.jobs.metrics import SCRAPERS
from playhead.consumers.processes.http import HEADER_BYTES, MOST
from playhead.consumers.reading.lag import find_lag
from playhead.consumers.reading.reader import Progress
from playhead.embedded.servers import Servers, embedded_servers
from playhead.projections.migrations import upgrade
from playhead.settings.urls import as_user
from playhead.streams.appending.producer import Producer
from playhead.streams.names import Metric
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from tests.support.processes import JOB, Playhead
from tests.support.servers import plain_client

JOBS = Partition("jobs", 0)
PROCESS_PREFIXES = ("process_", "python_")


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


@pytest.fixture
def playhead(tmp_path, redis, servers):
    return Playhead(tmp_path / "data", servers.redis_url)


@pytest.fixture
def producer(redis, servers):
    with Producer(servers.redis_url) as producer:
        yield producer


OF_WORKERS = {Metric.WORK, Metric.WORK_SECONDS, Metric.WORK_IN_HAND}


def scraped(consumer) -> dict[str, Family]:
    """Metrics by the names of their samples; none while the process does not answer."""
    families = text_string_to_metric_families(consumer.get("/metrics")[1])
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def value(families, name, **labels) -> float | None:
    found = [s.value for s in families[name].samples if labels.items() <= s.labels.items()] if name in families else []
    return found[0] if len(found) == 1 else None


def test_every_metric_is_there_and_follows_the_rules_of_its_kind(playhead, producer, wait_until):
    for number in range(5):
        producer.append("job.completed", subject=f"job/{number}", data=(JOB % number).encode())
    with playhead.running("log") as log, playhead.running("json-files") as json_files:
        wait_until(lambda: value(scraped(log), Metric.TRIM_FLOOR, partition="jobs/0") is not None)
        wait_until(lambda: value(scraped(log), Metric.LAG_EVENTS, partition="jobs/0") == 0)
        wait_until(lambda: value(scraped(json_files), Metric.LAG_EVENTS) == 0)
        families = scraped(log) | scraped(json_files)
    ours = {name for name in families if not name.startswith(PROCESS_PREFIXES)}

    assert set(Metric) - OF_WORKERS == ours
    assert {"process_resident_memory_bytes", "python_gc_objects_collected_total"} <= families.keys()
    for name, family in families.items():
        if name in ours:
            assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
            assert family.documentation
            assert (family.type == "counter") == name.endswith("_total"), name
            assert family.type != "histogram" or name.endswith("_seconds")
            assert not {"age", "milliseconds", "created"} & set(name.split("_"))
    newest, position = value(families, Metric.STREAM_LAST), value(families, Metric.LAST_POSITION)

    assert newest == position
    assert 5 == value(families, Metric.RECORDER_JOBS, scraper_id="unknown", status="completed")
    assert 0 == value(families, Metric.EVENTS_LOST, projection="json-files")
    assert 0 == value(families, Metric.EVENTS_PARKED, projection="json-files", reason="refused")
    assert 1 == value(families, Metric.TRIM_HELD_BY, partition="jobs/0", group="jobs")


def test_scrapers_without_end_do_not_make_metrics_without_end(playhead, producer, wait_until):
    for number in range(SCRAPERS + 5):
        job = {"id": str(number), "metadata": {"scraper_id": f"scraper-{number}"}}
        producer.append("job.completed", subject=f"job/{number}", data={"job_id": str(number), "job": job})
    producer.append(
        "job.failed", subject="job/odd", data=rb'{"job_id": "odd", "job": {"metadata": {"scraper_id": "\ud800"}}}'
    )
    with playhead.running("json-files") as consumer:
        wait_until(lambda: value(scraped(consumer), Metric.RECORDER_JOBS, status="failed") == 1)
        samples = scraped(consumer)[Metric.RECORDER_JOBS].samples

    assert SCRAPERS + 5 + 1 == sum(sample.value for sample in samples)
    assert SCRAPERS + 1 == len({sample.labels["scraper_id"] for sample in samples})
    assert [5] == [s.value for s in samples if s.labels == {"scraper_id": "other", "status": "completed"}]


class At(msgspec.Struct):
    """A reader, as far as its lag goes."""

    progress: Progress | None
    name: str = "json-files"
    partition: Partition = JOBS


def test_lag_is_counted_where_it_is_known_and_absent_where_not(redis, producer, servers):
    positions = [producer.append("job.completed", subject="job/1", data={}) for _ in range(10)]
    bare = Position.parse(redis.xadd(JOBS.key, {"ce_id": "bare"}))
    producer.append("job.completed", subject="job/1", data={})

    def lag(position, sequence):
        async def ask():
            async with AsyncRedis.from_url(servers.redis_url) as client:
                return (await find_lag(client, At(Progress(position, sequence)))).events

        return asyncio.run(ask())

    assert 11 == lag(START, 0)
    assert 8 == lag(positions[2], 3)
    assert lag(bare, None) is None
    assert 0 == lag(Position.parse(redis.xinfo_stream(JOBS.key)["last-generated-id"]), None)


def test_a_process_is_ready_while_its_sink_is_and_says_why_when_not(playhead, servers, producer, wait_until):
    with playhead.running("jobs") as consumer:  # its Postgres is not there
        wait_until(lambda: "OperationalError" in consumer.get("/readyz")[1])
        status, reason = consumer.get("/readyz")

        assert 503 == status
        assert re.match("jobs/0: OperationalError: .*port 1 failed", reason)
        assert (200, "ok\n") == consumer.get("/healthz")
        assert Metric.LAG_EVENTS not in scraped(consumer) or not scraped(consumer)[Metric.LAG_EVENTS].samples
    with playhead.running("jobs", DATABASE_URL=servers.database_url) as consumer:
        wait_until(lambda: consumer.get("/readyz") == (200, "ok\n"))
        with psycopg.connect(servers.database_url, dbname="postgres", autocommit=True) as connection:
            connection.execute("ALTER DATABASE playhead ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'playhead'")
            producer.append("job.completed", subject="job/1", data=(JOB % 1).encode())
            wait_until(lambda: consumer.get("/readyz")[0] == 503)
            reason = consumer.get("/readyz")[1]
            connection.execute("ALTER DATABASE playhead ALLOW_CONNECTIONS true")
        wait_until(lambda: consumer.get("/readyz") == (200, "ok\n"))

        assert re.match("jobs/0: (OperationalError|AdminShutdown): ", reason)
        assert 0 < value(scraped(consumer), Metric.RETRIES)


def test_messages_that_find_no_space_hold_up_no_work(playhead, producer, wait_until):
    with playhead.running("json-files", messages=Path("/dev/full")) as consumer:
        producer.append("job.completed", subject="job/1", data=(JOB % 1).encode())
        producer.append("job.completed", subject="job/2", data={"no": "job id"})
        producer.append("job.completed", subject="job/3", data=(JOB % 3).encode())
        wait_until(lambda: value(scraped(consumer), Metric.EVENTS_APPLIED) == 2)


def test_a_consumer_whose_stream_is_no_stream_says_so_and_goes_on_once_it_is_gone(
    playhead, redis, producer, wait_until
):
    redis.set(JOBS.key, "no stream")
    with playhead.running("json-files") as consumer:
        wait_until(lambda: "WRONGTYPE" in consumer.get("/readyz")[1])
        assert 503 == consumer.get("/readyz")[0]
        assert "playhead doctor" in consumer.get("/readyz")[1]
        redis.delete(JOBS.key)
        producer.append("job.completed", subject="job/1", data=(JOB % 1).encode())
        wait_until(lambda: value(scraped(consumer), Metric.EVENTS_APPLIED) == 1)
        wait_until(lambda: consumer.get("/readyz")[0] == 200)


FATAL = """
import msgspec
from playhead.settings.urls import as_user
from playhead import Domain

fatal = Domain("fatal")
things = fatal.stream("things")


@things.event("thing.made", subject="thing/{id}")
class Made(msgspec.Struct, frozen=True):
    id: str


@fatal.projection("refusing", reads=things)
class Refusing:
    exclusive = False

    def __init__(self, place):
        self.name, self.streams = place.name, place.streams

    def open(self, partition, epoch):
        raise RuntimeError("nothing mends this")

    def apply(self, batch):
        return "applied"

    def settle(self):
        pass

    def close(self):
        pass

    def classify(self, error):
        return "fatal"
"""


def test_a_failure_that_no_retry_mends_ends_the_process_with_1_and_stands_in_its_messages(playhead, tmp_path):
    (tmp_path / "fatal_domain.py").write_text(FATAL)
    environment = {"PYTHONPATH": str(tmp_path), "PLAYHEAD_DOMAINS": "fatal_domain:fatal"}
    with playhead.running("refusing", **environment) as consumer:
        consumer.exit_code = consumer.process.wait(60)

    assert 1 == consumer.exit_code
    assert "consumer failed" in consumer.messages()
    assert "nothing mends this" in consumer.messages()


def test_a_second_process_of_a_projection_says_that_it_stands_by(playhead, redis, wait_until):
    with playhead.running("json-files") as first:
        wait_until(lambda: first.get("/readyz")[0] == 200)
        with playhead.running("json-files") as second:
            wait_until(lambda: "standing by" in second.messages())
            assert 200 == second.get("/readyz")[0]
        assert "standing by" not in first.messages()


def test_messages_below_the_level_that_is_set_are_left_out(playhead, redis, wait_until):
    with playhead.running("json-files", PLAYHEAD_LOG_LEVEL="error") as consumer:
        wait_until(lambda: consumer.get("/readyz")[0] == 200)
        assert "" == consumer.messages()


PAYLOAD, PASSWORD = "canary-payload-1742", "canary-password-1742"


def test_neither_payloads_nor_passwords_are_seen_from_outside(playhead, servers, producer, redis, wait_until):
    seen: list[str] = []
    secret = {"job_id": "1\u0000", "job": {}, "result": PAYLOAD, "error": PAYLOAD}
    producer.append("job.completed", subject="job/1", data=secret)  # Postgres takes no NUL
    producer.append("job.completed", subject="job/2", data={"neither": PAYLOAD})  # no job_id
    redis.xadd(JOBS.key, {"body": PAYLOAD, "ce_id": "x"})  # no event
    redis.xadd(JOBS.key, {"body": f'{{"x": "{PAYLOAD}', "ce_id": "x", "ce_source": "x", "ce_type": "job.completed",
                          "ce_time": "2026-01-01T00:00:00Z", "ce_subject": "job/4"})  # fmt: skip
    for name in ("json-files", "jobs", "log"):
        with playhead.running(name, DATABASE_URL=servers.database_url) as consumer:
            wait_until(lambda c=consumer, n=name: value(scraped(c), Metric.LAG_EVENTS, partition="jobs/0") == 0)
            seen += [consumer.get("/metrics")[1], consumer.get("/readyz")[1]]
        seen.append(consumer.messages())

    assert {"json-files": 3, "jobs": 4, "log": 2} == {
        name: redis.xlen(f"{JOBS.key}:parked:{name}") for name in ("json-files", "jobs", "log")
    }
    wrong = {
        "refused Redis": {"REDIS_URL": f"redis://user:{PASSWORD}@127.0.0.1:1/0"},
        "wrong password of Redis": {"REDIS_URL": as_user(servers.redis_url, "user", PASSWORD)},
        "refused Postgres": {"DATABASE_URL": f"postgresql://user:{PASSWORD}@127.0.0.1:1/x"},
        "wrong password of Postgres": {"DATABASE_URL": re.sub(r":[^:@]*@", f":{PASSWORD}@", servers.database_url)},
    }
    for environment in wrong.values():
        with playhead.running("jobs", **environment) as consumer:
            wait_until(lambda c=consumer: c.get("/readyz")[0] == 503 and "Error" in c.get("/readyz")[1])
            seen += [consumer.get("/metrics")[1], consumer.get("/readyz")[1]]
        seen.append(consumer.messages())
    both = wrong["wrong password of Redis"] | wrong["wrong password of Postgres"]
    for command in (["config", "show"], ["doctor"], ["append", "job.completed", "--subject", "job/9"]):
        done = playhead.attempt(*command, **both)
        seen += [done.stdout.decode(), done.stderr.decode()]
    everything = "\n".join(seen)

    assert PAYLOAD not in everything
    assert PASSWORD not in everything


def test_every_message_is_json_and_says_what_it_is_about(playhead, producer, wait_until):
    position = producer.append("job.completed", subject="job/1", data={"no": "job id"}, id="one")
    with playhead.running("json-files", PLAYHEAD_LOG_FORMAT="json") as consumer:
        wait_until(lambda: '"parked"' in consumer.messages())
    (parked,) = [
        message for line in consumer.messages().splitlines() if (message := json.loads(line))["event"] == "parked"
    ]

    assert {
        "projection": "json-files",
        "partition": "jobs/0",
        "position": str(position),
        "event_id": "one",
        "reason": "InvalidEvent",
        "reason_class": "refused",
        "level": "error",
    }.items() <= parked.items()


def test_on_request_messages_are_for_people(playhead, wait_until):
    with playhead.running("json-files", PLAYHEAD_LOG_FORMAT="console") as consumer:
        wait_until(lambda: "listening" in consumer.messages())

    assert not consumer.messages().startswith("{")
    assert "projection=json-files" in next(line for line in consumer.messages().splitlines() if "listening" in line)


BEGUN = b"GET /metrics HTTP/1.1\r\nHost: playhead\r\n"
FLOOD = 500


def sockets_of(process) -> int:
    found = 0
    for one in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += os.readlink(one).startswith("socket:")
    return found


def is_ended(client: socket.socket) -> bool:
    """Whether the other side has closed a connection, or reset it."""
    client.settimeout(0.1)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize(
    "begun", [b"", BEGUN, BEGUN + b"Content-Length: 1000000000\r\n\r\n{"], ids=["nothing", "headers", "body"]
)
def test_a_flood_of_requests_that_never_end_leaves_the_consumer_at_work(playhead, producer, wait_until, begun):
    with playhead.running("json-files", PLAYHEAD_HTTP_HOST="127.0.0.1") as consumer, ExitStack() as flood:
        wait_until(lambda: consumer.get("/readyz") == (200, "ok\n"))
        for number in range(FLOOD):
            client = flood.enter_context(socket.create_connection(("127.0.0.1", consumer.port), timeout=10))
            with suppress(OSError):  # it was the oldest already
                client.sendall(begun)
            if number % 100 == 0:
                producer.append("job.completed", subject=f"job/{number}", data=(JOB % number).encode())
                assert 200 == consumer.get("/metrics")[0]
        wait_until(lambda: value(scraped(consumer), Metric.LAG_EVENTS) == 0)

        assert (200, "ok\n") == consumer.get("/healthz")
        assert 5 == value(scraped(consumer), Metric.EVENTS_APPLIED)
        assert MOST + 20 > sockets_of(consumer.process)
        assert "" == "".join(line for line in consumer.messages().splitlines() if "warning" in line or "error" in line)


def test_a_connection_that_sends_its_request_drop_by_drop_ends_in_time(playhead, redis, wait_until):
    def drop(client: socket.socket) -> bool:
        with suppress(OSError):
            client.sendall(b"X-Header: 1\r\n")
        return is_ended(client)

    with playhead.running("json-files") as consumer:
        wait_until(lambda: consumer.get("/readyz") == (200, "ok\n"))
        with socket.create_connection(("127.0.0.1", consumer.port), timeout=10) as client:
            client.sendall(BEGUN)
            wait_until(lambda: drop(client))


def test_headers_without_end_are_refused(playhead, redis, wait_until):
    with playhead.running("json-files") as consumer:
        wait_until(lambda: consumer.get("/readyz") == (200, "ok\n"))
        with socket.create_connection(("127.0.0.1", consumer.port), timeout=10) as client:
            client.sendall(BEGUN + b"X: " + b"y" * 2 * HEADER_BYTES)

            assert client.recv(100).startswith(b"HTTP/1.1 400")
