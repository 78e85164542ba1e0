"""Replays that are slowed, interrupted, killed, run side by side, and that nobody reads."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from playhead.embedded.servers import embedded_servers
from playhead.eventlog.reader import stat
from tests.support.processes import JOB, Playhead
from tests.support.topologies import is_deleted

COUNT = 60


class System:
    """The log and the recorder's files of some jobs, on one Redis."""

    def __init__(self, directory: Path, url: str, wait_until) -> None:
        self.redis = Redis.from_url(url)
        self.playhead = Playhead(directory, url, PLAYHEAD_LEASE_SECONDS="2")
        self.patient = Playhead(directory, url, PLAYHEAD_LEASE_SECONDS="40")
        self.outputs = directory / "outputs"
        self.wait_until = wait_until

    def fill(self) -> None:
        lines = (
            json.dumps({"type": "job.completed", "subject": f"job/{n}", "data": json.loads(JOB % n)})
            for n in range(COUNT)
        )
        self.playhead("append", stdin="\n".join(lines).encode())
        self.wait_until(lambda: len(self.files()) == COUNT and stat(self.outputs.parent / "eventlog").events == COUNT)
        self.wait_until(lambda: is_deleted(self.outputs))

    def files(self) -> set[str]:
        return {path.name for path in self.outputs.glob("daily/*/processed/*.json")}

    def summary(self) -> int:
        (path,) = self.outputs.glob("daily/*/summary.json")
        return json.loads(path.read_bytes())["total_jobs"]

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return self.patient.start("replay", "--to", "json-files", *arguments, "--json")

    def run(self, *arguments: str, patient: bool = True) -> subprocess.CompletedProcess[bytes]:
        playhead = self.patient if patient else self.playhead
        return playhead("replay", *arguments, "--json", check=False)

    def cancel(self, run: str) -> subprocess.CompletedProcess[bytes]:
        return self.playhead("replay", "cancel", run, check=False)

    def status(self) -> dict:
        return json.loads(self.playhead("status", "--json", check=False).stdout)

    def sent(self) -> int:
        keys = [key for key in self.redis.keys("*:replay:*") if self.redis.type(key) == b"stream"]
        return sum(self.redis.xinfo_stream(key)["entries-added"] for key in keys)


@pytest.fixture
def system(tmp_path, wait_until) -> Iterator[System]:
    with embedded_servers(tmp_path / "data", postgres=False) as servers:
        system = System(tmp_path / "data", servers.redis_url, wait_until)
        yield system
        system.redis.close()


@pytest.fixture(scope="module")
def module_system(tmp_path_factory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("module") / "data"
    with embedded_servers(directory, postgres=False) as servers:
        yield System(directory, servers.redis_url, None)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_replay_cut_short_goes_on_behind_what_was_sent(system, sign):
    with system.playhead.running("log"), system.playhead.running("json-files"):
        system.fill()
        process = system.start("--log", "--rate", "40")
        system.wait_until(lambda: system.sent() > 0)
        process.send_signal(sign)
        _, messages = process.communicate(timeout=60)
        if sign == signal.SIGKILL:
            system.wait_until(lambda: [one["state"] for one in system.status()["replays"]] == ["interrupted"])
        (unfinished,) = system.status()["replays"]
        done = system.run("--resume", unfinished["run"])
        report = json.loads(done.stdout)

        assert COUNT == len(system.files())
        assert COUNT == system.summary()
        assert [] == system.status()["replays"]

    assert 0 == done.returncode
    assert 0 < report["replayed"] < COUNT
    assert COUNT - report["replayed"] == report["skipped"]["sent before"]
    assert COUNT == report["read"]
    if sign == signal.SIGINT:
        assert 130 == process.returncode
        assert f"playhead replay --resume {unfinished['run']}" in messages.decode()
    assert [] == system.redis.keys("*replay*")


def test_an_interrupted_replay_is_done_with_a_later_one_of_the_same_options(system):
    with system.playhead.running("log"), system.playhead.running("json-files"):
        system.fill()
        for number, options in enumerate((["--log"], ["--log", "--type", "job.completed"]), start=1):
            process = system.start(*options, "--rate", "1")
            system.wait_until(lambda number=number: number == len(system.status()["replays"]))
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        first, other = system.status()["replays"]
        done = system.run("--log", "--to", "json-files")

        assert [other] == system.status()["replays"]

    assert 0 == done.returncode
    assert f"the interrupted run {first['run']} had the same options" in done.stderr.decode()


def test_an_interrupted_replay_can_be_given_up(system):
    with system.playhead.running("log"), system.playhead.running("json-files") as reader:
        system.fill()
        process = system.start("--log", "--rate", "1")
        system.wait_until(lambda: system.sent() > 0)
        (running,) = system.status()["replays"]
        refused = system.cancel(running["run"])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        done = system.cancel(running["run"])
        again = system.cancel(running["run"])

        assert [] == system.status()["replays"]
        system.wait_until(lambda: reader.get("/readyz")[0] == 200)
        assert COUNT == json.loads(system.run("--log", "--to", "json-files").stdout)["replayed"]

    assert 1 == refused.returncode
    assert b"stop it with Ctrl-C first" in refused.stderr
    assert 0 == done.returncode
    assert 2 == again.returncode
    assert b"no unfinished run" in again.stderr


def test_a_consumer_killed_in_the_middle_of_two_replays_loses_nothing(system):
    with system.playhead.running("log"):
        with system.playhead.running("json-files") as killed:
            system.fill()
            both = [system.start("--log", "--rate", "100"), system.start("--log")]
            system.wait_until(lambda: len(system.files()) > 0)
            killed.process.kill()
            killed.exit_code = -signal.SIGKILL
        with system.playhead.running("json-files"):
            reports = [json.loads(process.communicate(timeout=60)[0]) for process in both]

            assert COUNT == len(system.files())
            assert COUNT == system.summary()

    assert [(COUNT, 0), (COUNT, 0)] == [(one["replayed"], one["failed"]) for one in reports]
    assert [0, 0] == [process.returncode for process in both]


def test_a_replay_that_nobody_reads_says_whom_to_start(system):
    with system.playhead.running("log"):
        with system.playhead.running("json-files"):
            system.fill()
        lonely = system.run("--log", "--to", "json-files", patient=False)
        (unfinished,) = system.status()["replays"]
        with system.playhead.running("json-files"):
            system.run("--resume", unfinished["run"])

            assert COUNT == len(system.files())

    assert 1 == lonely.returncode
    assert b"`playhead run json-files`" in lonely.stderr
    assert f"--resume {unfinished['run']}".encode() in lonely.stderr


def test_files_of_every_kind_are_imported_once_and_what_is_left_out_is_counted(system, tmp_path):
    about = {"job": {"created_at": "2025-08-09T00:00:00Z"}, "result": 1}
    files = tmp_path / "files"
    files.mkdir()
    (files / "summary.json").write_text(json.dumps({"job_id": "summary"} | about))
    (files / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"job_id": "bom"} | about).encode())
    (files / "plain.json").write_text(json.dumps({"job_id": "bom"} | about))
    (files / "list.json").write_text(json.dumps([{"job_id": n} | about for n in range(COUNT)]))
    (files / "lines.jsonl").write_text("\n".join(json.dumps({"job_id": f"line {n}"} | about) for n in range(COUNT)))
    (files / "failed.json").write_text(json.dumps({"job_id": "failed", "status": "FAILURE"} | about))
    (files / "queued.json").write_text(json.dumps({"job_id": "queued", "status": "queued"} | about))
    (files / "partial.json").write_text(json.dumps({"job_id": "partial", "status": "partial"} | about))
    arguments = ["--directory", str(files), "--to", "json-files"]

    with system.playhead.running("log"), system.playhead.running("json-files"):
        first = system.run(*arguments)
        complete = system.run(*arguments, "--include-failed", "--status", "partial=completed", "--strict")
        system.wait_until(lambda: len(system.files()) == 2 * COUNT + 4)
        again = system.run(*arguments, "--include-failed", "--status", "partial=completed")

    skipped = {"same event twice": 1, "failed job": 1, "unfinished job": 1, "unknown status": 1}
    report = json.loads(first.stdout)
    assert (2 * COUNT + 2, 0, 3, skipped) == tuple(
        report[name] for name in ("imported", "failed", "left_out", "skipped")
    )
    assert (
        b"partial.json: skipped, unknown status: 'partial'; say what it means: --status partial=completed"
        in first.stderr
    )
    assert (0, 1) == (first.returncode, complete.returncode)
    report = json.loads(complete.stdout)
    assert (2, 2 * COUNT + 2, 1) == (report["imported"], report["replayed"], report["left_out"])
    report = json.loads(again.stdout)
    assert (0, 2 * COUNT + 4) == (report["imported"], report["replayed"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "nonsense"], "no unfinished run"),
        (["--resume", "nonsense", "--log"], "omit the other options"),
        (["--resume", "nonsense", "--type", "job.failed"], "omit the other options"),
        (["--rate", "0"], "--rate"),
        (["--rate", "-1"], "--rate"),
        (["--rate", "nan"], "--rate"),
        (["--log", "--directory", "."], "use only one of"),
        (["--pattern", "*"], "--pattern"),
        (["--file", "nowhere.json"], "not a file"),
        (["--directory", "nowhere"], "not a directory"),
        (["--since", "yesterday"], "--since"),
        (["--to", "log"], "no projection"),
        (["--directory", ".", "--status", "partial"], "--status"),
        (["--directory", ".", "--status", "partial=half"], "--status"),
    ],
)
def test_wrong_arguments_get_one_line(module_system, arguments, message):
    done = module_system.run(*arguments)

    assert 2 == done.returncode
    assert message in done.stderr.decode()
    assert 1 == done.stderr.count(b"\n")
