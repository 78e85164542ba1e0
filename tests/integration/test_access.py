"""Redis users: the rules that the documentation gives let every role do its work, and nothing else."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from playhead.checks.redis import check_redis
from playhead.consumers.errors import Retry
from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.reading.trimming import trim
from playhead.settings.settings import declared
from playhead.settings.urls import as_user
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import new_event
from playhead.streams.names import HALTS, INSTALLATION, presence_key
from playhead.streams.notes.events import EnrichmentFailed, NoteEnriched, NoteSubmitted
from playhead.streams.redis.consumer_users import acl_file, users_of
from playhead.streams.redis.users import set_users, users
from tests.support.conditions import until
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, Consumer, Pipeline, fields
from tests.support.processes import Playhead
from tests.support.servers import Program, plain_client, programs
from tests.support.workers import Enrich, outcomes, parked, working

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if name not in declared()}
RULES = {user.name: user.rules for user in users()}
ENRICHING = Domain("enriching", requires=["notes"])
ENRICHING.worker("enrich", on=NoteSubmitted, ends=[NoteEnriched, EnrichmentFailed], handler="never:made")
CATALOGUE = Catalogue([*installed().domains, ENRICHING])
OWN = (*SINKS, "organizations", "enrich", "sweep")
"""Consumers with a user of their own."""
of_all_and_own = pytest.mark.parametrize("access", [(), OWN], indirect=True, ids=["for all consumers", "for each"])


class Access:
    """A server with the users of Playhead, and the URL of each."""

    def __init__(self, server, consumers=()) -> None:
        self._server = server
        made = users_of(consumers, CATALOGUE)
        with plain_client(server.url) as client:
            client.execute_command("ACL", "DELUSER", *RULES, *(user.name for user in made))
            self._urls = {one.name: as_user(server.url, one.name, one.password) for one in set_users(client, made)}

    def url(self, role: str) -> str:
        return self._urls[f"playhead-{role}"]

    def consumer(self, name: str) -> str:
        """The URL of a consumer: its own user, or that of all."""
        return self._urls.get(f"playhead-{name}") or self.url("consumer")

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
        super().__init__(RoleServer(access.consumer("log")), postgres, directory, wait_until)
        self.close()
        self._access = access
        self.producer, self.redis = Producer(access.url("producer")), plain_client(access.url("operator"))

    def serve(self) -> None:
        """Start every consumer, with the log to recover from."""
        settings = {
            name: ProcessSettings(
                redis_url=self._access.consumer(name),
                reader=ReaderSettings(lease=1.0),
                event_log_dir=self.directory / "eventlog",
            )
            for name in SINKS
        }
        self._running = [Consumer(self.make_sink(name), settings[name]) for name in SINKS]
        for consumer in self._running:
            consumer.start()


@pytest.fixture
def access(request, redis_server) -> Access:
    access = Access(redis_server, getattr(request, "param", ()))
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


@of_all_and_own
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


@of_all_and_own
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
        async with AsyncRedis.from_url(access.consumer("log")) as client:
            await trim(client, JOBS, SINKS)

    asyncio.run(cut())

    roles.holds(events + more)
    assert [] == access.refusals()


@of_all_and_own
def test_a_worker_works_tries_again_and_parks_as_a_consumer(access, redis):
    async def fail_once(task):
        if task.attempt == 1:
            raise Retry("once")
        if task.cause.event.subject == "note/2":
            raise ValueError("never")

    with Producer(access.url("producer")) as producer:
        producer.append_events([new_event("note.submitted", subject=f"note/{n}", data={}) for n in range(3)])

    async def work() -> None:
        async with working(access.consumer("enrich"), Enrich(fail_once)):
            await until(lambda: len(outcomes(redis)) == 2 and parked(redis))

    asyncio.run(work())

    assert ["note/2"] == [one.subject for one in parked(redis)]
    assert [] == access.refusals()


STREAM = JOBS.key
DENIED = r"(?i)permission|ACL failure|can't (access|run)"
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
        ("HSET", STREAM, "a", "b"),
        ("XADD", f"{STREAM}:meta", "*", "a", "b"),
        ("SET", INSTALLATION, "mine"),
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
        ("DEL", INSTALLATION),
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


def done_by(url: str, commands: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those commands that a user was not refused."""
    done = []
    with plain_client(url) as client:
        for command in commands:
            try:
                client.execute_command(*command)
            except NoPermissionError:
                continue
            done.append(command)
    return done


@pytest.mark.parametrize("role", REFUSED)
def test_a_role_is_refused_what_is_not_its_work(access, redis, role):
    redis.xadd(STREAM, {"a": "b"}, "1-1")
    redis.xgroup_create(STREAM, "jobs", "0")

    assert [] == done_by(access.url(role), REFUSED[role] + NOBODY)
    assert 1 == redis.xlen(STREAM)


REFUSED_TO_ONE = {
    "jobs": [
        ("XADD", STREAM, "*", "a", "b"),
        ("XTRIM", STREAM, "MAXLEN", "0"),
        ("XDEL", STREAM, "1-1"),
        ("XGROUP", "DELCONSUMER", STREAM, "jobs", "mine"),
        ("XRANGE", "playhead:{recordings:0}", "-", "+"),
        ("XGROUP", "SETID", "playhead:{recordings:0}", "recordings", "$"),
        ("HSET", f"{STREAM}:meta", "sequence", "9"),
        ("XADD", f"{STREAM}:parked:json-files", "*", "a", "b"),
        ("SET", presence_key(STREAM, "json-files"), "mine"),
        ("HSET", HALTS, "json-files", "paused"),
    ],
    "enrich": [
        ("XTRIM", "playhead:{notes:0}", "MAXLEN", "0"),
        ("XDEL", "playhead:{notes:0}", "1-1"),
        ("XADD", STREAM, "*", "a", "b"),
        ("XRANGE", STREAM, "-", "+"),
        ("SET", presence_key("playhead:{notes:0}", "another"), "mine"),
    ],
    "sweep": [
        ("XADD", STREAM, "*", "a", "b"),
        ("XRANGE", STREAM, "-", "+"),
        ("XTRIM", "playhead:{recordings:0}", "MAXLEN", "0"),
        ("XGROUP", "SETID", "playhead:{recordings:0}", "recordings", "$"),
    ],
}


@pytest.mark.parametrize("access", [OWN], indirect=True, ids=["for each"])
@pytest.mark.parametrize("consumer", REFUSED_TO_ONE)
def test_a_consumer_with_a_user_of_its_own_is_refused_the_work_of_others(access, redis, consumer):
    redis.xadd(STREAM, {"a": "b"}, "1-1")

    assert [] == done_by(access.url(consumer), REFUSED_TO_ONE[consumer] + REFUSED["consumer"] + NOBODY)
    assert 1 == redis.xlen(STREAM)


def test_a_consumer_that_is_not_there_or_is_called_as_a_role_gets_no_user():
    roles = Domain("roles")
    roles.clock("reader", "never:made", every=60)
    for consumers, said in (
        (["nobody"], "there is no consumer 'nobody'"),
        (["reader"], "reader is the name of a role"),
    ):
        with pytest.raises(InvalidSetting, match=said):
            users_of(consumers, Catalogue([roles]))


def test_passwords_of_the_environment_are_set_and_every_one_that_is_missing_is_named(
    access, redis, redis_server, tmp_path
):
    names = ["PRODUCER", "OPERATOR", "READER", "JSON_FILES"]
    command = ("redis", "acl", "--apply", "--consumer", "json-files", "--passwords-from-environment")
    passwords = {f"REDIS_{name}_PASSWORD": f"of-{name}" for name in names}
    redis.execute_command("ACL", "SETUSER", "playhead-reader", ">another")
    some = Playhead(tmp_path, redis_server.url, REDIS_READER_PASSWORD="x").attempt(*command)
    playhead = Playhead(tmp_path, redis_server.url, **passwords)
    first, again = playhead(*command), playhead(*command)

    assert 2 == some.returncode
    assert b"has no REDIS_PRODUCER_PASSWORD, REDIS_OPERATOR_PASSWORD, REDIS_JSON_FILES_PASSWORD: set" in some.stderr
    assert b"" == first.stdout == again.stdout
    assert b"playhead-producer was there: it has its rules and the password of the environment now" in first.stderr
    assert 4 == again.stderr.count(b"it has its rules and the password of the environment already")
    for name in names:
        user = f"playhead-{name.lower().replace('_', '-')}"
        with plain_client(as_user(redis_server.url, user, f"of-{name}")) as client:
            assert client.ping()
        assert 1 == len(redis.acl_getuser(user)["passwords"])


@pytest.mark.parametrize("role", REFUSED)
def test_what_the_rules_leave_possible_is_what_the_documentation_says(access, redis, role):
    redis.xadd(STREAM, {"a": "b"}, "1-1")
    with plain_client(access.url(role)) as client:
        script = client.script_load("return 'any'")  # so also one without end
        said = client.evalsha(script, 0)
        if role != "reader":
            client.xadd(STREAM, {"a": "b"}, maxlen=0, approximate=False)

    assert b"any" == said
    assert (role == "reader") == redis.xlen(STREAM)


def test_the_documented_users_are_those_that_the_command_prints(tmp_path):
    documented = re.findall(r"```acl\n(.*?)```", (ROOT / "docs/security.md").read_text(), re.DOTALL)
    printed = Playhead(tmp_path, "redis://127.0.0.1:1")("redis", "acl")

    assert [printed.stdout.decode()] == documented


@pytest.mark.parametrize("name", programs())
def test_a_server_with_the_printed_aclfile_has_what_was_appended_after_a_restart(name, tmp_path):
    (tmp_path / "users.acl").write_text(acl_file(users()))
    server = Program([*programs()[name], "--aclfile", str(tmp_path / "users.acl")], tmp_path)
    anyone = server.url
    server.url = as_user(anyone, "playhead-reader", "READER-PASSWORD")
    server.start()
    with Producer(as_user(anyone, "playhead-producer", "PRODUCER-PASSWORD")) as producer:
        producer.append_events([job(1)])
    server.kill()
    server.start()
    with plain_client(server.url) as reader, plain_client(anyone) as nobody:
        found = reader.exists(STREAM)
        with pytest.raises(AuthenticationError):
            nobody.ping()
    server.stop()

    assert 1 == found


def test_a_default_user_who_is_off_without_rights_gets_them_back(tmp_path):
    (tmp_path / "users.acl").write_text("user default off\nuser admin on >admin ~* &* +@all\n")
    server = Program([*programs()["redis-7.4"], "--aclfile", str(tmp_path / "users.acl")], tmp_path)
    server.url = as_user(server.url, "admin", "admin")
    server.start()
    before = [one for one in check_redis(server.url, "here", 5, 1) if one.result == "fail"]
    with plain_client(server.url) as client:
        client.execute_command("ACL", "SETUSER", "other", "on", ">other", "~*", "&*", "+@all", "-acl")
    others = check_redis(as_user(server.url, "other", "other"), "here", 5, 1)
    unknown = [one for one in others if one.name == "redis default user"]
    done = Playhead(tmp_path, server.url)("redis", "acl", "--apply")
    with Producer(server.url) as producer:
        producer.append_events([job(1)])
    server.kill()
    server.start()
    with plain_client(server.url) as client:
        found = client.exists(STREAM)
    after = [one for one in check_redis(server.url, "here", 5, 1) if one.result == "fail"]
    server.stop()

    assert ["redis default user"] == [one.name for one in before]
    assert ["warn"] == [one.result for one in unknown]
    assert "ACL SETUSER default ~* &* +@all" in before[0].advice
    assert b"the default user, which is off, has every right again" in done.stderr
    assert 1 == found
    assert [] == after


def test_rules_are_set_anew_without_a_new_password_and_more_is_taken_away(access, redis, redis_server, tmp_path):
    redis.execute_command("ACL", "SETUSER", "playhead-reader", "+@all", "~*", "(+flushall)")
    redis.execute_command("ACL", "DELUSER", "playhead-operator")
    redis.execute_command("ACL", "LOG", "RESET")
    done = Playhead(tmp_path, redis_server.url)("redis", "acl", "--apply")
    name, url = done.stdout.decode().split()

    with plain_client(access.url("reader")) as reader, plain_client(url) as operator:
        assert "playhead-operator" == name
        assert 0 == operator.exists(STREAM) == reader.exists(STREAM)
        with pytest.raises(NoPermissionError):
            reader.flushall()
    assert b"has no aclfile, so these users are gone when it restarts" in done.stderr
    assert 3 == done.stderr.count(b"its password stays")


def test_a_user_without_a_password_gets_one(access, redis, redis_server, tmp_path):
    redis.execute_command("ACL", "SETUSER", "playhead-producer", "on", "nopass", "~*", "+@all")
    redis.execute_command("ACL", "SETUSER", "playhead-consumer", "on", "resetpass")
    playhead = Playhead(tmp_path, redis_server.url)
    first, again = playhead("redis", "acl", "--apply", "--json"), playhead("redis", "acl", "--apply")
    urls = json.loads(first.stdout)

    for name in ("playhead-producer", "playhead-consumer"):
        with plain_client(urls[name]) as user:
            assert user.ping()
        with plain_client(as_user(redis_server.url, name, "any")) as anyone, pytest.raises(AuthenticationError):
            anyone.ping()
        assert f"{name} was there: it had no password and has a new one".encode() in first.stderr
    assert urls["playhead-reader"] is None is urls["playhead-operator"]
    assert b"" == again.stdout
    assert 4 == again.stderr.count(b"it has its rules already, and its password stays")


def test_a_user_that_is_off_stays_off_and_several_passwords_stay_and_both_are_said(
    access, redis, redis_server, tmp_path
):
    redis.execute_command("ACL", "SETUSER", "playhead-consumer", "off", "+@all")
    redis.execute_command("ACL", "SETUSER", "playhead-reader", ">another")
    done = Playhead(tmp_path, redis_server.url)("redis", "acl", "--apply").stderr.decode().splitlines()
    said = {line.split()[1]: line for line in done}

    assert "off" in redis.acl_getuser("playhead-consumer")["flags"]
    assert "its rules are set anew, and its password stays; it is off" in said["playhead-consumer"]
    assert "`redis-cli ACL SETUSER playhead-consumer on` turns it on" in said["playhead-consumer"]
    assert 2 == len(redis.acl_getuser("playhead-reader")["passwords"])
    assert "it has 2 passwords, and each of them works" in said["playhead-reader"]
    for url in (access.url("reader"), as_user(redis_server.url, "playhead-reader", "another")):
        with plain_client(url) as reader:
            assert 0 == reader.exists(STREAM)


def test_setting_the_users_twice_changes_nothing(access, redis):
    def found() -> list:
        return [redis.acl_getuser(name) for name in RULES]

    before = found()
    again = list(set_users(redis, users()))

    assert before == found()
    assert [False] * 4 == [user.is_changed or user.is_new for user in again]


def test_several_servers_get_no_users_from_one_command(tmp_path):
    done = Playhead(tmp_path, "redis+cluster://127.0.0.1:1")("redis", "acl", "--apply", check=False)

    assert 2 == done.returncode
    assert b"run `playhead redis acl` without --apply" in done.stderr


def test_a_script_is_no_way_around_the_rules(access, redis):
    redis.xadd(STREAM, {"a": "b"}, "1-1")
    with plain_client(access.url("producer")) as client:
        delete = client.register_script("return redis.call('DEL', KEYS[1])")
        with pytest.raises(ResponseError, match=DENIED):
            delete(keys=[STREAM])

    assert 1 == redis.xlen(STREAM)


def test_a_user_can_be_held_to_one_function_but_needs_the_rights_of_its_commands(access, redis, redis_server):
    """What decision 31 rests on: rules can name the function, and still what it calls is allowed without it, too."""
    script = (ROOT / "streams/appending/append.lua").read_text().removeprefix("#!lua\n")
    wrapped = f"redis.register_function('playhead_append', function(KEYS, ARGV)\n{script}\nend)\n"
    other = "redis.register_function('other', function() return 1 end)\n"
    redis.function_load(f"#!lua name=playhead\n{wrapped}{other}", replace=True)
    rules = [rule for rule in RULES["playhead-producer"] if rule not in {"+evalsha", "+script|load"}]
    rules.append("+fcall|playhead_append")
    redis.execute_command("ACL", "SETUSER", "held", "reset", "on", ">held", *rules)
    redis.execute_command("ACL", "SETUSER", "bare", "reset", "on", ">bare", *rules, "clearselectors")
    keys = [STREAM, f"{STREAM}:meta", f"{STREAM}:ids:0", f"{STREAM}:ids:1"]
    call = ("FCALL", "playhead_append", "4", *keys, "1", "1", "86400", "2", "ce_type", "ce_id", "1", "x", "an-id")
    refused = [
        ("FCALL", "other", "0"),
        ("FUNCTION", "LOAD", "REPLACE", f"#!lua name=mine\n{other}"),
        ("FUNCTION", "DELETE", "playhead"),
        ("EVAL", "while true do end", "0"),
        ("EVALSHA", "0" * 40, "0"),
        ("SCRIPT", "LOAD", "while true do end"),
    ]
    with plain_client(as_user(redis_server.url, "held", "held")) as held:
        (position,) = held.execute_command(*call)
        for command in refused:
            with pytest.raises(NoPermissionError):
                held.execute_command(*command)
        found = redis.xlen(STREAM)
        held.xadd(STREAM, {"a": "b"}, maxlen=0, approximate=False)
        held.hset(keys[2], "id-of-another", position)
    with plain_client(as_user(redis_server.url, "bare", "bare")) as bare, pytest.raises(ResponseError, match=DENIED):
        bare.execute_command(*call)
    redis.execute_command("ACL", "DELUSER", "held", "bare")
    redis.function_delete("playhead")

    assert 1 == found
    assert 0 == redis.xlen(STREAM)
    assert position == redis.hget(keys[2], "id-of-another")


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
