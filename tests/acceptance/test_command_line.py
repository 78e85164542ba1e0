"""The command line as a stranger meets it: wrong arguments, no servers, pipes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from playhead.consumers.subscriptions.kept import KeptCursor
from playhead.embedded.servers import Servers, embedded_servers
from playhead.eventlog.lines import encode_line
from playhead.projections.migrations import upgrade
from playhead.settings.settings import declared
from playhead.streams.events import Recorded, new_event
from playhead.streams.positions import Position
from tests.support.forked import run_forked

PLAYHEAD = [sys.executable, "-m", "playhead"]
CLEAN = {name: value for name, value in os.environ.items() if name not in declared()}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Servers]:
    with embedded_servers(tmp_path_factory.mktemp("servers") / "data") as servers:
        yield servers


@pytest.fixture
def playhead(tmp_path):
    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        return run_forked(*arguments, environment=CLEAN | environment, directory=tmp_path, stdin=stdin)

    return run


def line(number: int, **more: object) -> bytes:
    event = {"type": "job.completed", "subject": f"job/{number}", "id": f"line-{number}", "data": {"n": number}} | more
    return json.dumps(event).encode() + b"\n"


def test_a_command_that_is_not_known_is_answered_with_the_nearest(playhead):
    done = playhead("statsu")

    assert (2, b"") == (done.returncode, done.stdout)
    assert b'Did you mean "status"?' in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish"], b"--to requires an argument. See `playhead publish --help`."),
        (["parked", "drop", "jobs"], b"ID requires an argument. See `playhead parked drop --help`."),
        (["replay", "old/daily"], b"Unknown argument: 'old/daily'. See `playhead replay --help`."),
        (["status", "--wach"], b"Did you mean --watch? See `playhead status --help`."),
    ],
)
def test_wrong_use_names_the_help_of_the_command(playhead, arguments, said):
    done = playhead(*arguments)

    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert said in done.stderr


def test_a_payload_in_a_file_that_is_not_there_is_wrong_use(playhead):
    done = playhead("append", "job.failed", "--subject", "job/1", "--data", "@outcome.json")

    assert (2, b"") == (done.returncode, done.stdout)
    assert (
        b"playhead: --data names a file that cannot be read: outcome.json: No such file or directory\n" == done.stderr
    )


@pytest.mark.parametrize("arguments", [["consumers"], ["--help"], ["config", "check"], ["status"]])
def test_a_settings_file_that_is_not_toml_is_said_by_every_command(playhead, tmp_path, arguments):
    (tmp_path / "playhead.toml").write_text("batch = [")
    done = playhead(*arguments)

    assert (2, b"", 1) == (done.returncode, done.stdout, done.stderr.count(b"\n"))
    assert done.stderr.startswith(b"playhead: playhead.toml is not TOML: ")


def test_a_domain_whose_command_or_setting_fails_is_one_line(playhead, tmp_path):
    (tmp_path / "acme_cli.py").write_text(
        "from playhead import Domain\n"
        "acme = Domain('acme')\n"
        "acme.setting('ACME_RATE', 1, 'Things a second.', read=int)\n"
        "acme.command('acme_nowhere:app', help='Things.')\n"
    )
    (tmp_path / "playhead.toml").write_text('domains = ["acme_cli:acme"]\n')
    command, listed = playhead("acme", "list"), playhead("--help")
    setting = playhead("status", ACME_RATE="fast")
    (tmp_path / "acme_cli.py").write_text("from playhead import Domain\nacme = Domain('Acme')\n")
    wrong = playhead("consumers")

    assert (2, 0, 2, 2) == (command.returncode, listed.returncode, setting.returncode, wrong.returncode)
    assert [1, 1, 1] == [done.stderr.count(b"\n") for done in (command, setting, wrong)]
    assert (
        b"the command acme of the domain acme (acme_cli) is declared as acme_nowhere:app, which cannot"
        in command.stderr
    )
    assert b"ACME_RATE (environment) is 'fast'; it cannot be read: ValueError: invalid literal" in setting.stderr
    assert b"the declaration of acme_cli:acme (domains in playhead.toml) is wrong: the name of a domain" in wrong.stderr


def test_lines_are_appended_in_order_and_once(playhead, running):
    lines = b"".join(line(number, traceparent=f"00-{number:032x}-00000000000000aa-01") for number in range(1, 1201))
    first = playhead("append", stdin=lines + b"\n" + line(1201)[:-1], REDIS_URL=running.redis_url)
    again = playhead("append", "--json", stdin=lines, REDIS_URL=running.redis_url)

    assert (0, 0) == (first.returncode, again.returncode)
    assert b"playhead: 1201 events appended\n" == first.stderr
    assert first.stdout.split()[:1200] == [json.loads(one)["position"].encode() for one in again.stdout.splitlines()]
    with Redis.from_url(running.redis_url) as redis:
        entries = redis.xrange("playhead:{jobs:0}")
    assert [b"job/%d" % number for number in range(1, 1202)] == [fields[b"ce_subject"] for _, fields in entries]
    assert entries[0][1][b"ce_traceparent"].startswith(b"00-")


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_what_was_appended_is_counted_also_if_nobody_reads_the_positions(tmp_path, running, json_option):
    with Redis.from_url(running.redis_url) as redis:
        redis.flushall()
        done = piped_to_head(["append", *json_option], tmp_path, running, b"".join(line(n) for n in range(300)))
        appended = redis.xlen("playhead:{jobs:0}")

    assert (141, 300) == (done.returncode, appended)
    assert b"playhead: 300 events appended\n" in done.stderr
    assert b"the rest of stdin is not appended" in done.stderr


def test_what_was_captured_is_counted_also_if_nobody_reads_the_positions(tmp_path, running):
    site = tmp_path / "site"
    site.mkdir()
    for number in range(300):
        (site / f"{number}.html").write_text(str(number))
    with Redis.from_url(running.redis_url) as redis:
        redis.flushall()
        done = piped_to_head(["capture", str(site)], tmp_path, running)
        captured = redis.xlen("playhead:{content:0}")

    assert 141 == done.returncode
    assert b"playhead: %d captured; ended before the last file\n" % captured == done.stderr


def piped_to_head(
    arguments: list[str], directory: Path, running: Servers, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """A command into a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [*PLAYHEAD, *arguments],
            cwd=directory,
            env=CLEAN | {"REDIS_URL": running.redis_url},
            input=stdin,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize(
    "arguments",
    [
        ["append", "job.failed", "--subject", "job/1"],
        ["status"],
        ["parked", "list"],
        ["verify"],
        ["run", "jobs"],
        ["up"],
        ["replay", "--log"],
        ["recordings", "sweep"],
        ["config", "check"],
        ["env"],
        ["doctor"],
    ],
)
def test_every_command_refuses_an_option_of_redis_that_changes_replies(playhead, running, arguments):
    urls = {"REDIS_URL": f"{running.redis_url}?decode_responses=true", "DATABASE_URL": running.database_url}
    done = playhead(*arguments, **urls)

    said = b"REDIS_URL (environment) cannot be read: decode_responses after the ? cannot be used"
    assert (1 if arguments == ["doctor"] else 2) == done.returncode
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"{\n", b"line 3: not JSON"),
        (b"[3]\n", b"line 3: is no JSON object"),
        (b'{"subject": "job/3", "data": {}}\n', b"line 3: type"),
        (line(3, time="noon"), b"line 3: time"),
        (line(3, data={"job_id": 3, "job": {}}), b"line 3: data: is not a valid JobCompleted: "),
        (line(3, data={"job_id": 3, "job": {}}), b"`$.job_id`"),
        (line(3, type="meeting.started", data={}), b"line 3: data: is not a valid MeetingStarted: "),
        (line(3, type="tea.made"), b"line 3: type: no domain declares 'tea.made'"),
        (b"\xff\n", b"line 3: "),
    ],
)
def test_a_bad_line_ends_it_and_what_was_before_is_in(playhead, running, bad, problem):
    with Redis.from_url(running.redis_url) as redis:
        redis.flushall()
        done = playhead("append", stdin=line(1) + line(2) + bad + line(4), REDIS_URL=running.redis_url)
        subjects = [fields[b"ce_subject"] for _, fields in redis.xrange("playhead:{jobs:0}")]

    assert (2, 2) == (done.returncode, len(done.stdout.split()))
    assert problem in done.stderr
    assert b"2 events appended" in done.stderr
    assert [b"job/1", b"job/2"] == subjects


def test_what_the_log_prints_is_appended_as_it_was_and_a_byte_order_mark_changes_nothing(playhead, running, tmp_path):
    mark = b"\xef\xbb\xbf"
    surrogate = rb'{"job_id":"s","job":{},"result":"cut \ud83d","n":[1.10,-0,1E5]}'
    marked = tmp_path / "marked.json"
    marked.write_bytes(mark + surrogate)
    event = b'{"type":"job.completed","subject":"job/s","retries":5,"urgent":true,"data":%b}\n' % surrogate
    log = Recorded(new_event("job.completed", subject="job/s", data=surrogate, id="7"), Position(5, 0))
    with Redis.from_url(running.redis_url) as redis:
        redis.flushall()
        arguments = ("append", "job.completed", "--subject", "job/s")
        done = [
            playhead(*arguments, "--data", f"@{marked}", REDIS_URL=running.redis_url),
            playhead(*arguments, "--data", "@-", stdin=mark + surrogate, REDIS_URL=running.redis_url),
            playhead(*arguments, "--data", surrogate.decode(), REDIS_URL=running.redis_url),
            playhead("append", stdin=mark + event + mark + event + encode_line(log), REDIS_URL=running.redis_url),
        ]
        utf16 = playhead(*arguments, "--data", "@-", stdin="{}".encode("utf-16"), REDIS_URL=running.redis_url)
        entries = [fields for _, fields in redis.xrange("playhead:{jobs:0}")]

    assert [0, 0, 0, 0] == [one.returncode for one in done]
    assert [surrogate] * 6 == [fields[b"body"] for fields in entries]
    assert (b"5", b"true", b"7") == (entries[3][b"ce_retries"], entries[4][b"ce_urgent"], entries[5][b"ce_id"])
    assert (2, True) == (utf16.returncode, b"iconv" in utf16.stderr)


def test_a_line_is_appended_before_the_next_one_comes(running, tmp_path):
    environment = CLEAN | {"REDIS_URL": running.redis_url}
    with subprocess.Popen(
        [*PLAYHEAD, "append"], cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(line(1))
        process.stdin.flush()
        position = process.stdout.readline()
        process.stdin.close()

    assert b"-" in position


def test_settings_may_begin_with_a_byte_order_mark(playhead, tmp_path):
    for name, text in {"playhead.toml": "batch = 7\n", ".env": "PLAYHEAD_PARTITIONS=3\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")

    done = playhead("config", "show", "--json")

    values = {one["name"]: one["value"] for one in json.loads(done.stdout)}
    assert ("7", "3") == (values["PLAYHEAD_BATCH"], values["PLAYHEAD_PARTITIONS"])


def test_commands_need_only_the_server_they_use(playhead, running):
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS playhead CASCADE")
    status = playhead("status", "--json", REDIS_URL=running.redis_url)
    upgraded = playhead("db", "upgrade", "--json", DATABASE_URL=running.database_url)
    again = playhead("db", "upgrade", DATABASE_URL=running.database_url)
    no_redis = playhead("status", DATABASE_URL=running.database_url)

    assert status.returncode == 5
    assert {"name", "kind", "state", "position", "lag_events", "lag_seconds", "pending", "parked"} <= json.loads(
        status.stdout
    )["consumers"][0].keys()
    assert json.loads(upgraded.stdout)[0] == "0001_checkpoints"
    assert again.stdout == b"the database is up to date\n"
    assert no_redis.returncode == 3
    assert b"REDIS_URL" in no_redis.stderr


def test_doctor_says_what_to_do_and_its_exit_code_says_how_bad_it_is(playhead, running):
    both = {"REDIS_URL": running.redis_url, "DATABASE_URL": running.database_url}
    upgrade(running.database_url)
    well = playhead("doctor", "--json", **both)
    mute = playhead("doctor", "--json", PLAYHEAD_FFMPEG="/nowhere/ffmpeg", **both)
    wrong = playhead("doctor", PLAYHEAD_BATCH="none", **both)
    with Redis.from_url(running.redis_url) as redis:
        redis.config_set("maxmemory-policy", "allkeys-lru")
        weak = playhead("doctor", **both)
        warned = playhead("run", "log", PLAYHEAD_HTTP_HOST="256.0.0.1", **both)
        redis.config_set("maxmemory-policy", "noeviction")
    away = playhead("doctor")

    assert [0, 1, 1, 3] == [one.returncode for one in (well, wrong, weak, away)]
    assert "fail" not in {check["result"] for check in json.loads(well.stdout)["checks"]}
    assert ["warn"] == [check["result"] for check in json.loads(mute.stdout)["checks"] if check["name"] == "ffmpeg"]
    assert "recordings directory" in {check["name"] for check in json.loads(well.stdout)["checks"]}
    assert b"PLAYHEAD_BATCH" in wrong.stdout
    assert b"noeviction" in weak.stdout and b"noeviction" in warned.stderr
    assert b"playhead up" in away.stdout


def test_a_consumer_waits_for_the_upgrade_and_says_so(playhead, running, tmp_path, wait_until):
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS playhead CASCADE")
    both = {"REDIS_URL": running.redis_url, "DATABASE_URL": running.database_url}
    messages = tmp_path / "messages"
    with (
        messages.open("wb") as stderr,
        subprocess.Popen([*PLAYHEAD, "run", "jobs"], cwd=tmp_path, env=CLEAN | both, stderr=stderr) as process,
    ):
        wait_until(lambda: b"run `playhead db upgrade`" in messages.read_bytes() or process.poll() is not None)
        upgrade(running.database_url)
        wait_until(lambda: b'"serving"' in messages.read_bytes() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)

    assert process.returncode == 0
    assert b"Traceback" not in messages.read_bytes()


def test_a_port_that_is_taken_is_named(playhead, running):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = playhead("run", "log", PLAYHEAD_HTTP_PORT=str(port), REDIS_URL=running.redis_url)

    assert done.returncode == 1
    assert f"127.0.0.1:{port}".encode() in done.stderr and b"PLAYHEAD_HTTP_PORT" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_upgrade_refuses_a_database_that_is_newer_or_altered(playhead, running):
    upgrade(running.database_url)
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO playhead_migrations (name, sha256) VALUES ('9999_future', '')")
        newer = playhead("db", "upgrade", DATABASE_URL=running.database_url)
        connection.execute("DELETE FROM playhead_migrations WHERE name = '9999_future'")
        connection.execute("UPDATE playhead_migrations SET sha256 = 'other' WHERE name = '0001_checkpoints'")
        altered = playhead("db", "upgrade", DATABASE_URL=running.database_url)
        connection.execute("DROP SCHEMA IF EXISTS playhead CASCADE")

    assert (1, 1) == (newer.returncode, altered.returncode)
    assert b"9999_future" in newer.stderr and b"install a newer one" in newer.stderr
    assert b"0001_checkpoints" in altered.stderr and b"restore it" in altered.stderr


@pytest.mark.parametrize(
    ("environment", "arguments", "said"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1"}, ["status"], b"Redis cannot be reached"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, ["db", "upgrade"], b"Postgres cannot be reached"),
        ({}, ["append", "job.failed", "--subject", "job/1"], b"playhead up"),
    ],
)
def test_a_server_that_is_away_is_exit_code_3_and_one_line(playhead, environment, arguments, said):
    done = playhead(*arguments, **environment)

    assert (3, b"") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_config_shows_origins_and_check_has_exit_codes(playhead, tmp_path):
    (tmp_path / "playhead.toml").write_text("batch = 0\npartition = 2\n")
    invalid = playhead("config", "check", "--json", REDIS_PASSWORD="hunter2")
    (tmp_path / "playhead.toml").write_text("batch = 10\npartition = 2\n")
    unknown = playhead("config", "check")
    elsewhere = {"REDIS_HOST": "db", "REDIS_PASSWORD": "hunter2"}
    refused = playhead("status", **elsewhere)
    shown = playhead("config", "show", "--json", PLAYHEAD_ALLOW_INSECURE="true", **elsewhere)

    assert (2, 1, 2, 0) == (invalid.returncode, unknown.returncode, refused.returncode, shown.returncode)
    assert refused.stderr.startswith(b"playhead: REDIS_URL (REDIS_HOST) is on another machine and without TLS")
    assert refused.stderr.count(b"\n") == 1
    assert "PLAYHEAD_BATCH" in json.loads(invalid.stdout)["invalid"][0]
    assert b"partition (playhead.toml) is not a setting; did you mean partitions?\n" == unknown.stdout
    values = {one["name"]: (one["value"], one["origin"]) for one in json.loads(shown.stdout)}
    assert values["PLAYHEAD_BATCH"] == ("10", "playhead.toml")
    assert values["REDIS_URL"] == ("redis://:***@db:6379/0", "REDIS_HOST")
    assert b"hunter2" not in shown.stdout + invalid.stderr + refused.stderr


def test_consumers_says_what_each_is(playhead):
    listed = json.loads(playhead("consumers", "--json").stdout)["consumers"]

    kinds = {"log": "log", "json-files": "projection", "transcode": "worker", "sweep": "clock"}
    assert kinds == {one["name"]: one["kind"] for one in listed if one["name"] in kinds}


def test_bash_completes_commands_and_options(playhead, tmp_path):
    (tmp_path / "playhead.bash").write_bytes(playhead("completion", "bash").stdout)
    asked = 'source playhead.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _playhead; echo "${COMPREPLY[@]}"'

    def completed(*words: str) -> list[str]:
        done = subprocess.run(["bash", "-c", asked, "bash", *words], cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode().split()

    assert ["parked", "publish"] == completed("playhead", "p")
    assert ["drop", "list", "retry", "show"] == sorted(completed("playhead", "parked", ""))
    assert ["--allow-empty"] == completed("playhead", "publish", "--al")


@pytest.mark.parametrize("closed", [0, 1, 2])
@pytest.mark.parametrize("arguments", [["consumers"], ["config", "show"]])
def test_a_standard_stream_that_is_closed_is_no_error(tmp_path, arguments, closed):
    def close() -> None:
        os.close(closed)

    done = subprocess.run(
        [*PLAYHEAD, *arguments],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        preexec_fn=close,
        check=False,
    )

    assert (0, b"") == (done.returncode, done.stderr)
    assert (closed == 1) == (done.stdout == b"")


@pytest.mark.parametrize("argument", ["consumers", "--help"])
def test_a_closed_pipe_is_quiet(tmp_path, argument):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*PLAYHEAD, argument], cwd=tmp_path, env=CLEAN, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (141, b"") == (done.returncode, done.stderr)


def test_ctrl_c_is_exit_code_130_and_no_traceback(running, tmp_path):
    environment = CLEAN | {"REDIS_URL": running.redis_url}
    with subprocess.Popen(
        [*PLAYHEAD, "status", "--watch", "--json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        seen = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=60)

    assert "caught_up" in seen
    assert (130, b"") == (process.returncode, messages)


@pytest.mark.parametrize(
    "arguments", [["log", "verify"], ["log", "stat"], ["verify"], ["replay", "--log"], ["replay", "--dry-run"]]
)
def test_the_log_of_another_place_is_no_empty_log(playhead, running, tmp_path: Path, arguments):
    both = {"REDIS_URL": running.redis_url, "DATABASE_URL": running.database_url}
    done = playhead(*arguments, "--data-dir", str(tmp_path / "elsewhere"), **both)

    assert (2, b"") == (done.returncode, done.stdout)
    assert b"there is no event log in" in done.stderr


def test_archives_of_another_place_are_not_verified(playhead):
    done = playhead("archives", "verify")

    assert (2, b"") == (done.returncode, done.stdout)
    assert b"there are no archives in playhead-data/archives" in done.stderr


def test_a_stream_that_is_not_known_is_answered_with_those_there_are(playhead, tmp_path):
    (tmp_path / "eventlog" / "jobs" / "0").mkdir(parents=True)
    unknown = playhead("log", "cat", "--stream", "job", EVENT_LOG_DIR="eventlog")
    known = playhead("log", "cat", "--stream", "jobs", EVENT_LOG_DIR="eventlog")

    assert (2, 0) == (unknown.returncode, known.returncode)
    assert b"there is no stream 'job'; there are jobs, " in unknown.stderr


def test_a_misspelled_event_type_is_answered_with_the_one_that_was_meant(playhead, tmp_path):
    (tmp_path / "eventlog").mkdir()
    appended = playhead(
        "append", "job.compleetd", "--subject", "job/1", "--data", "{}", REDIS_URL="redis://127.0.0.1:1"
    )
    looked = [
        playhead("log", which, "--type", "job.compleetd", EVENT_LOG_DIR="eventlog").stderr for which in ("cat", "tail")
    ]

    assert 2 == appended.returncode
    assert b"or declare it; did you mean job.completed?" in appended.stderr
    assert [b"playhead: no domain declares 'job.compleetd'; did you mean job.completed?\n"] * 2 == looked


def test_doctor_checks_the_directory_of_a_file_projection_that_declares_none(playhead, tmp_path):
    (tmp_path / "reports.py").write_text(
        "from playhead import Domain, FileProjection\n"
        "reports = Domain('reports', requires=['jobs'])\n"
        "class Named(FileProjection):\n"
        "    def file_of(self, event): return 'name'\n"
        "    def fold(self, name, content, events): return b''\n"
        "reports.projection('named', Named, reads=['job.completed'])\n"
        "reports.projection('eventlog', Named, reads=['job.completed'])\n"
        "reports.projection('blocked', Named, reads=['job.completed'])\n"
    )
    (tmp_path / "playhead-data").mkdir()
    (tmp_path / "playhead-data/blocked").write_text("")
    done = playhead("doctor", "--json", PLAYHEAD_DOMAINS="reports:reports")
    checks = {check["name"]: (check["result"], check["found"]) for check in json.loads(done.stdout)["checks"]}

    assert ("ok", "playhead-data/named, to be created in") == (
        checks["named directory"][0],
        checks["named directory"][1].rpartition(" ")[0],
    )
    assert "ok" == checks["named directory free space"][0]
    assert ("fail", "another directory has this name") == checks["eventlog directory"]
    assert "fail" == checks["blocked directory"][0]
    assert ["playhead-data", "reports.py"] == sorted(
        path.name for path in tmp_path.iterdir() if path.name != "__pycache__"
    )

    (tmp_path / "reports.py").write_text(
        "from playhead import Domain\n"
        "reports = Domain('reports', requires=['jobs'])\n"
        "reports.projection('named', 'reports:Missing', reads=['job.completed'])\n"
    )
    done = playhead("doctor", "--json", PLAYHEAD_DOMAINS="reports:reports")
    checks = {check["name"]: (check["result"], check["found"]) for check in json.loads(done.stdout)["checks"]}

    assert ("fail", True) == (checks["domain reports"][0], "reports:Missing" in checks["domain reports"][1])


def test_subscriptions_are_listed_in_status_and_forgotten_unless_a_process_uses_them(playhead, running, tmp_path):
    servers = {"REDIS_URL": running.redis_url, "DATABASE_URL": running.database_url}
    cursors = tmp_path / "playhead-data/cursors"
    nothing = playhead("subscriptions", "list", **servers)
    cursors.mkdir(parents=True)
    (cursors / "mailer.cursor").write_text("jobs/0@9999999999999-0 notes/0@1-0\n")
    (cursors / "torn.cursor").write_text("jobs/0@\n")
    (cursors / "new.cursor").write_text("\n")
    status = json.loads(playhead("status", "--json", **servers).stdout)
    listed = playhead("subscriptions", "list", "--json", "--cursors", "playhead-data/cursors", **servers)
    table = playhead("status", **servers).stdout.decode()

    assert (2, b"") == (nothing.returncode, nothing.stdout)
    assert b"PLAYHEAD_CURSORS_DIR" in nothing.stderr
    assert [
        ("mailer", "jobs/0", "9999999999999-0", 0),
        ("mailer", "notes/0", "1-0", 0),
        ("new", None, None, None),
        ("torn", None, None, None),
    ] == [(one["name"], one["partition"], one["position"], one["lag_events"]) for one in status["subscriptions"]]
    assert status["subscriptions"] == json.loads(listed.stdout)
    assert "SUBSCRIPTION  PARTITION" in table
    assert "torn: playhead-data/cursors/torn.cursor is not a cursor" in table

    used = KeptCursor(cursors, "mailer")
    refused = playhead("subscriptions", "forget", "mailer")
    used.close()
    forgotten = [playhead("subscriptions", "forget", name) for name in ("mailer", "torn", "mailer", "../mailer")]

    assert (1, True) == (refused.returncode, b"stop it first" in refused.stderr)
    assert [0, 0, 1, 1] == [done.returncode for done in forgotten]
    assert ["new.cursor"] == [path.name for path in cursors.glob("*.cursor")]
