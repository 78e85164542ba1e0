"""RQ workers whose jobs end without a callback, or with callbacks of their own, and the connections that they use."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rq import Callback, Queue, Retry
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.worker import SpawnWorker

from playhead.adapters.rq import CALLBACKS, Worker, callbacks, on_work_horse_killed
from tests.support.recorded import payloads, recorded
from tests.support.servers import plain_client

META = {"playhead": {"prompt": "p", "metadata": {"scraper_id": "rq", "source_url": "https://example.org"}}}
WORK = """
import ctypes, os, signal
from pathlib import Path
from rq import Retry, get_current_job

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def segfault():
    ctypes.string_at(0)

def leave(status):
    os._exit(status)

def answer():
    return {"a": 1}

def fail():
    raise ValueError("no such page")

def note_and_fail():
    job = get_current_job()
    job.meta["progress"] = 7
    job.save_meta()
    raise ValueError("no such page")

def again():
    return Retry(max=1)

def called(job, connection, *args):
    with Path(os.environ["CALLED"]).open("a") as file:
        file.write(f"{job.id} {args[0] if args else 'stopped'}\\n")

def refuse(job, connection, *args):
    raise RuntimeError("refused")
"""


FORK = """
import os
from playhead.streams.appending.producer import Producer

def append(subject):
    producer.append("job.completed", subject=subject, data={"job_id": subject})

def ports():
    links = (os.readlink(f"/proc/self/fd/{name}") for name in range(3, 50) if os.path.exists(f"/proc/self/fd/{name}"))
    return ",".join(sorted(link for link in links if link.startswith("socket:")))

producer = Producer(os.environ["REDIS_URL"])
append("parent")
print(ports(), flush=True)
if (child := os.fork()) == 0:
    append("child")
    print(ports(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
append("parent")
"""


@pytest.fixture
def work(valkey, tmp_path):
    """Give a queue, and a function that works it until it is empty with the real program."""
    (tmp_path / "horse_work.py").write_text(WORK)

    def run(*options):
        path = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
        return subprocess.run(
            [sys.executable, "-m", "rq.cli", "worker", "--burst", *options, "--url", valkey.url, "work"],
            env=os.environ | {"PYTHONPATH": path, "REDIS_URL": valkey.url, "CALLED": str(tmp_path / "called")},
            capture_output=True,
            check=True,
            timeout=120,
        ).stderr.decode()

    with plain_client(valkey.url) as client:
        run.queue = Queue("work", connection=client)
        yield run


@pytest.fixture
def environment(valkey, tmp_path, monkeypatch):
    """What a worker in this process takes from its environment."""
    monkeypatch.setenv("REDIS_URL", valkey.url)
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    monkeypatch.syspath_prepend(tmp_path)


RECORDING = ("--worker-class", "playhead.adapters.rq.Worker")


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [
        ("kill", (), "was killed by signal 9"),
        ("segfault", (), "was killed by signal 11"),
        ("leave", (0,), "exited with status 0 before the job ended"),
        ("leave", (3,), "exited with status 3 before the job ended"),
    ],
    ids=["SIGKILL", "SIGSEGV", "exit 0", "exit 3"],
)
def test_a_job_whose_work_horse_died_has_failed(valkey, work, function, args, error):
    work.queue.enqueue(f"horse_work.{function}", args=args, job_id="dead", meta=META, **CALLBACKS)
    work.queue.enqueue("horse_work.answer", job_id="next", **CALLBACKS)
    work(*RECORDING)

    found = payloads(valkey)
    assert {"dead": "failed", "next": "completed"} == {name: payload["status"] for name, payload in found.items()}
    dead = found["dead"]
    assert f"WorkHorseDied: the work-horse {error}" == dead["error"]
    assert {
        "function": f"horse_work.{function}",
        "queue": "work",
        "scraper_id": "rq",
        "source_url": "https://example.org",
    } == dead["job"]["metadata"]
    assert ("p", 0) == (dead["job"]["prompt"], dead["retry_count"])


def test_a_work_horse_that_dies_is_recorded_after_its_last_retry_only(valkey, work):
    work.queue.enqueue("horse_work.kill", job_id="dead", retry=Retry(max=2), **CALLBACKS)
    work(*RECORDING)

    (dead,) = payloads(valkey).values()
    assert ("failed", 2) == (dead["status"], dead["retry_count"])


def test_jobs_of_other_programs_are_left_alone(valkey, work):
    work.queue.enqueue("horse_work.kill", job_id="theirs")
    work(*RECORDING)

    assert [] == recorded(valkey)


def test_a_job_that_returns_retry_once_too_often_has_failed(valkey, work):
    work.queue.enqueue("horse_work.again", job_id="again", **CALLBACKS)
    work(*RECORDING)

    (again,) = payloads(valkey).values()
    assert ("failed", "Retry: all 1 retries were made", 1) == (again["status"], again["error"], again["retry_count"])


def test_a_job_that_its_worker_left_is_recorded_once_when_rq_finds_it(valkey, work, environment):
    job = work.queue.enqueue("horse_work.leave", 0, job_id="left", meta=META, **CALLBACKS)
    work()
    assert [] == recorded(valkey)

    on_work_horse_killed(Job.fetch(job.id, work.queue.connection), None, 0, None)
    StartedJobRegistry(queue=work.queue).cleanup(datetime.now(UTC).timestamp() + 3600)

    (left,) = payloads(valkey).values()
    assert ("failed", "rq") == (left["status"], left["job"]["metadata"]["scraper_id"])


def test_meta_that_a_job_saved_stays_when_it_is_tried_again(valkey, work):
    job = work.queue.enqueue("horse_work.note_and_fail", job_id="noted", retry=Retry(max=1), meta=META, **CALLBACKS)
    work()

    (noted,) = payloads(valkey).values()
    assert 7 == job.get_meta(refresh=True)["progress"]
    assert ("rq", 1) == (noted["job"]["metadata"]["scraper_id"], noted["retry_count"])


class TestOwnCallbacks:
    @staticmethod
    def calls(tmp_path):
        return (tmp_path / "called").read_text().splitlines()

    def test_they_are_called_and_the_outcome_is_recorded(self, valkey, work, tmp_path):
        own = callbacks(
            on_success=Callback("horse_work.called", timeout=5),
            on_failure="horse_work.called",
            on_stopped="horse_work.called",
        )
        work.queue.enqueue("horse_work.answer", job_id="good", **own)
        work.queue.enqueue("horse_work.fail", job_id="bad", **own)
        work.queue.enqueue("horse_work.kill", job_id="dead", **own)
        work(*RECORDING)

        found = payloads(valkey)
        assert {"good": "completed", "bad": "failed", "dead": "failed"} == {
            name: payload["status"] for name, payload in found.items()
        }
        assert ["good {'a': 1}", "bad <class 'ValueError'>"] == self.calls(tmp_path)

    def test_one_that_raises_loses_no_outcome(self, valkey, work):
        own = callbacks(on_success="horse_work.refuse", on_failure="horse_work.refuse")
        work.queue.enqueue("horse_work.answer", job_id="good", **own)
        work.queue.enqueue("horse_work.fail", job_id="bad", **own)
        work()

        assert {"good": "RuntimeError: refused", "bad": "ValueError: no such page"} == {
            name: payload["error"] for name, payload in payloads(valkey).items()
        }

    def test_those_that_are_not_given_are_ours(self):
        assert CALLBACKS == callbacks()

    def test_one_that_does_not_exist_loses_no_outcome(self, valkey, work):
        own = callbacks(on_success="horse_work.missing", on_failure="horse_work.missing")
        work.queue.enqueue("horse_work.answer", job_id="good", **own)
        work.queue.enqueue("horse_work.fail", job_id="bad", **own)
        work()

        assert {"good": "ValueError: Invalid attribute name: missing", "bad": "ValueError: no such page"} == {
            name: payload["error"] for name, payload in payloads(valkey).items()
        }


def test_a_process_that_runs_many_jobs_opens_one_connection_for_all(valkey, work):
    def connections(jobs):
        for _ in range(jobs):
            work.queue.enqueue("horse_work.answer", **CALLBACKS)
        before = work.queue.connection.info("stats")["total_connections_received"]
        work("--worker-class", "rq.SimpleWorker")
        return work.queue.connection.info("stats")["total_connections_received"] - before

    few, many = connections(2), connections(20)

    assert 22 == len(payloads(valkey))
    assert few == many


def test_a_forked_child_never_writes_to_the_socket_of_its_parent(valkey):
    output = subprocess.run(
        [sys.executable, "-c", FORK], env=os.environ | {"REDIS_URL": valkey.url}, capture_output=True, check=True
    ).stdout.split()

    parents, childs = output[0], output[1]
    assert 3 == len(recorded(valkey))
    assert parents != childs


def test_a_worker_class_of_your_own_may_have_it_as_its_base():
    class Mine(Worker, SpawnWorker):
        pass

    assert Mine.fork_work_horse is SpawnWorker.fork_work_horse
