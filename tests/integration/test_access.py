"""Redis users: the rules that the documentation gives let every role do its work, and nothing else."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoPermissionError, ResponseError

from playhead.consumers.errors import Retry
from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.reading.trimming import trim
from playhead.settings.settings import declared
from playhead.streams.appending.producer import Producer
from playhead.streams.events import new_event
from playhead.streams.names import presence_key
from tests.support.conditions import until
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, Consumer, Pipeline, fields
from tests.support.servers import plain_client
from tests.support.workers import Enrich, outcomes, parked, working

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if name not in declared()}
RULES = {
    name: rules.split()
    for name, rules in re.findall(r"^user (\S+) (reset .*)$", (ROOT / "docs/security.md").read_text(), re.MULTILINE)
}


class Access:
    """A server with the documented users, and the URL of each."""

    def __init__(self, server) -> None:
        self._server = server
        with plain_client(server.url) as client:
            for name, rules in RULES.items():
                client.execute_command("ACL", "SETUSER", name, *rules)

    def url(self, role: str) -> str:
        (password,) = (rule[1:] for rule in RULES[f"playhead-{role}"] if rule.startswith(">"))
        parts = urlsplit(self._server.url)
        return parts._replace(netloc=f"playhead-{role}:{password}@{parts.hostname}:{parts.port}").geturl()

    def refusals(self) -> list[str]:
        """What the documented users were refused, from the server's own list."""
        with plain_client(self._server.url) as client:
            found = client.execute_command("ACL", "LOG")
        entries = [one if isinstance(one, dict) else dict(zip(one[::2], one[1::2], strict=True)) for one in found]
        texts = [{key: str(entry[key.encode()]) for key in ("username", "object")} for entry in entries]
        return [f"{one['username']}: {one['object']}" for one in texts]


class RoleServer:
    """What a pipeline asks of a server: where it is, as one of the users sees it."""

    def __init__(self, url: str) -> None:
        self.url = url


class Roles(Pipeline):
    """A pipeline whose producer, consumers and operator each are the documented user."""

    def __init__(self, access: Access, postgres, directory, wait_until) -> None:
        super().__init__(RoleServer(access.url("consumer")), postgres, directory, wait_until)
        self.close()
        self.producer, self.redis = Producer(access.url("producer")), plain_client(access.url("operator"))

    def serve(self) -> None:
        """Start every consumer, with the log to recover from."""
        settings = ProcessSettings(
            redis_url=self.server.url, reader=ReaderSettings(lease=1.0), event_log_dir=self.directory / "eventlog"
        )
        self._running = [Consumer(self.make_sink(name), settings) for name in SINKS]
        for consumer in self._running:
            consumer.start()


@pytest.fixture
def access(redis_server) -> Access:
    access = Access(redis_server)
    with plain_client(redis_server.url) as client:
        client.execute_command("ACL", "LOG", "RESET")
    return access


@pytest.fixture
def roles(access, postgres, tmp_path, wait_until) -> Iterator[Roles]:
    roles = Roles(access, postgres, tmp_path, wait_until)
    yield roles
    roles.close()


@pytest.fixture
def operate(access, tmp_path):
    def operate(*arguments: str, expected: frozenset[int] = frozenset({0})) -> str:
        """Run a command as the operator, and give what it printed."""
        environment = CLEAN | {
            "REDIS_URL": access.url("operator"),
            "EVENT_LOG_DIR": str(tmp_path / "eventlog"),
            "OUTPUT_DIR": str(tmp_path / "outputs"),
        }
        command = [sys.executable, "-m", "playhead", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=60)
        assert done.returncode in expected, done.stderr.decode()
        return done.stdout.decode()

    return operate


def test_producers_consumers_and_operators_do_their_work_as_the_documented_users(access, roles, operate):
    events = [job(number) for number in range(1, 6)]
    roles.serve()
    roles.append(*events)
    roles.append(*events)
    with plain_client(access.url("producer")) as foreign:
        foreign.xadd(JOBS.key, fields(job(100), ce_crc32c="00000000"))
    roles.caught_up()
    roles.wait_until(lambda: all(roles.parked(name) for name in SINKS))

    retried = operate("parked", "retry", "jobs")
    (bad,) = roles.parked("json-files")
    operate("parked", "drop", "json-files", bad.id)
    status = operate("status", "--json", expected=frozenset({5}))  # some consumers were not started
    replayed = operate("replay", "--log", "--to", "json-files", "--to", "jobs", "--json")
    operate("append", "job.completed", "--subject", "job/6", "--data", job(6).data.decode())
    roles.caught_up()
    operate("consumers", "pause", "json-files")
    retired = operate("consumers", "retire", "json-files")
    operate("consumers", "resume", "json-files")
    operate("append", "job.completed", "--subject", "job/7", "--data", job(7).data.decode())
    roles.caught_up()
    roles.stop()

    assert "1 consumer group removed" in retired
    assert retried.startswith("1 will be retried")
    assert {"json-files", "jobs"} <= {one["name"] for one in json.loads(status)["consumers"] if one["position"]}
    assert 0 == json.loads(replayed)["failed"]
    assert [] == roles.parked("json-files")
    assert [*(event.id for event in events)] == roles.logged()[:5]
    assert 7 == len(roles.logged()) == len(roles.rows()) == len(roles.files())
    assert [] == access.refusals()


def test_a_consumer_may_do_what_recovery_and_trimming_need(access, roles, redis_server):
    events = [job(number) for number in range(1, 6)]
    roles.serve()
    roles.append(*events)
    roles.caught_up()
    with plain_client(redis_server.url) as somebody:
        somebody.flushall()
    more = [job(number) for number in range(6, 9)]
    roles.append(*more)
    roles.wait_until(lambda: len(roles.logged()) == 8 == len(roles.rows()) == len(roles.files()))
    roles.stop()

    async def cut() -> None:
        async with AsyncRedis.from_url(access.url("consumer")) as client:
            await trim(client, JOBS, SINKS)

    asyncio.run(cut())

    roles.holds(events + more)
    assert [] == access.refusals()


def test_a_worker_works_tries_again_and_parks_as_a_consumer(access, redis):
    async def fail_once(task):
        if task.attempt == 1:
            raise Retry("once")
        if task.cause.event.subject == "note/2":
            raise ValueError("never")

    with Producer(access.url("producer")) as producer:
        producer.append_events([new_event("note.submitted", subject=f"note/{n}", data={}) for n in range(3)])

    async def work() -> None:
        async with working(access.url("consumer"), Enrich(fail_once)):
            await until(lambda: len(outcomes(redis)) == 2 and parked(redis))

    asyncio.run(work())

    assert ["note/2"] == [one.subject for one in parked(redis)]
    assert [] == access.refusals()


STREAM = JOBS.key
REFUSED = {
    "producer": [
        ("XRANGE", STREAM, "-", "+"),
        ("XREAD", "STREAMS", STREAM, "0"),
        ("XDEL", STREAM, "1-1"),
        ("XTRIM", STREAM, "MAXLEN", "0"),
        ("DEL", STREAM),
        ("EXPIRE", STREAM, "0"),
        ("XGROUP", "CREATE", STREAM, "mine", "0"),
        ("HGETALL", f"{STREAM}:meta"),
        ("XADD", f"{STREAM}:parked:jobs", "*", "a", "b"),
        ("HGET", f"{STREAM}:consumers", "jobs"),
        ("EVAL", "return redis.call('DEL', KEYS[1])", "1", STREAM),
        ("INFO",),
    ],
    "consumer": [
        ("DEL", STREAM),
        ("EXPIRE", STREAM, "0"),
        ("SET", STREAM, "x"),
        ("XGROUP", "DESTROY", STREAM, "jobs"),
        ("EVAL", "return redis.call('DEL', KEYS[1])", "1", STREAM),
        ("XADD", "another:program", "*", "a", "b"),
    ],
    "reader": [
        ("XADD", STREAM, "*", "a", "b"),
        ("XTRIM", STREAM, "MAXLEN", "0"),
        ("XDEL", STREAM, "1-1"),
        ("DEL", STREAM),
        ("XGROUP", "CREATE", STREAM, "mine", "0"),
        ("HSET", f"{STREAM}:meta", "sequence", "9"),
        ("SET", "another:program", "x"),
        ("EVAL", "return redis.call('DEL', KEYS[1])", "1", STREAM),
    ],
    "operator": [
        ("XTRIM", STREAM, "MAXLEN", "0"),
        ("XDEL", STREAM, "1-1"),
        ("DEL", STREAM),
        ("UNLINK", STREAM),
        ("EXPIRE", STREAM, "0"),
        ("XGROUP", "SETID", STREAM, "jobs", "$"),
        ("DEL", presence_key(STREAM, "jobs")),
        ("XRANGE", "another:program", "-", "+"),
    ],
}
NOBODY = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("CONFIG", "GET", "requirepass"),
    ("KEYS", "*"),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "LIST"),
    ("CLIENT", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("MONITOR",),
    ("REPLICAOF", "NO", "ONE"),
    ("RENAME", STREAM, "playhead:{jobs:0}:away"),
]


@pytest.mark.parametrize("role", REFUSED)
def test_a_role_is_refused_what_is_not_its_work(access, redis, role):
    redis.xadd(STREAM, {"a": "b"}, "1-1")
    redis.xgroup_create(STREAM, "jobs", "0")
    done = []
    with plain_client(access.url(role)) as client:
        for command in REFUSED[role] + NOBODY:
            try:
                client.execute_command(*command)
            except NoPermissionError:
                continue
            done.append(command)

    assert [] == done
    assert 1 == redis.xlen(STREAM)


def test_a_script_is_no_way_around_the_rules(access, redis):
    redis.xadd(STREAM, {"a": "b"}, "1-1")
    with plain_client(access.url("producer")) as client:
        delete = client.register_script("return redis.call('DEL', KEYS[1])")
        with pytest.raises(ResponseError, match=r"(?i)permission|ACL failure|can't access"):
            delete(keys=[STREAM])

    assert 1 == redis.xlen(STREAM)


def test_every_command_of_every_script_is_in_the_rules_of_its_role():
    scripts = {
        "producer": [ROOT / "streams/appending/append.lua"],
        "consumer": [*(ROOT / "consumers").rglob("*.lua"), ROOT / "streams/appending/append.lua"],
        "operator": [
            ROOT / "eventlog/replay/replay.lua",
            ROOT / "consumers/reading/unpark.lua",
            ROOT / "playhead/commands/consumers/retire.lua",
            ROOT / "streams/appending/append.lua",
        ],
        "reader": [*(ROOT / "consumers/subscriptions").glob("*.lua")],
    }
    missing = {
        (role, path.name, word)
        for role, paths in scripts.items()
        for path in paths
        for words in re.findall(r"p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", path.read_text())
        for word in ["|".join(words).lower() if words[0] == "XGROUP" else words[0].lower()]
        if not {f"+{word}", f"(+{word}"} & set(RULES[f"playhead-{role}"])
    }

    assert 4 == len(RULES)
    assert set() == missing
