"""Celery tasks that end in other ways than by a result or an error, in the real worker program."""

import pytest

from tests.support.programs import CELERY_OPTIONS, Programs
from tests.support.recorded import payloads

APP = """
import os, signal, time
from celery import Celery, chain
from celery.exceptions import Ignore, Reject
from playhead.adapters.celery import record
from playhead.streams.appending.producer import Producer

url = os.environ["BROKER"].replace("unix://", "redis+socket://")
app = Celery("work", broker=url, backend=url)
record(app, Producer(os.environ["REDIS_URL"]))

@app.task
def answer(question="hello"):
    return {"answer": question.upper()}

@app.task(acks_late=True)
def reject():
    raise Reject("no use", requeue=False)

@app.task
def reject_too_late():
    raise Reject("no use", requeue=True)

@app.task(bind=True, acks_late=True)
def requeue(self):
    if not self.request.delivery_info.get("redelivered"):
        raise Reject("not yet", requeue=True)
    return "done"

@app.task
def ignore():
    raise Ignore("somebody else does it")

@app.task(bind=True)
def replace(self):
    raise self.replace(answer.s("replaced"))

@app.task(bind=True)
def replace_by_chain(self):
    raise self.replace(chain(answer.si("first"), answer.si("last")))

@app.task(bind=True, max_retries=2, default_retry_delay=0)
def retry(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return "third"

@app.task(time_limit=1)
def slow():
    time.sleep(60)

@app.task
def kill():
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
def nan():
    return {"lat": float("nan")}
"""
HEADERS = {"playhead": {"prompt": "p", "metadata": {"scraper_id": "news"}}}


@pytest.fixture
def run(valkey, tmp_path, wait_until):
    """Send tasks by name, each with its name as its id, and give the payloads when as many outcomes are recorded."""
    programs = Programs(tmp_path, valkey.url, celery_ends=APP)

    def run(*names, more=0):
        send = "".join(f"celery_ends.{name}.apply_async(task_id={name!r}, headers={HEADERS!r})\n" for name in names)
        programs.run(f"import celery_ends\n{send}")
        with programs.working(f"celery -A celery_ends worker {CELERY_OPTIONS}"):
            wait_until(lambda: len(payloads(valkey)) >= len(names) + more)
        return payloads(valkey)

    return run


def test_a_task_that_is_rejected_or_ignored_has_failed(run):
    found = run("reject", "reject_too_late", "ignore")

    assert {
        "reject": ("failed", "Reject: no use"),
        "reject_too_late": ("failed", "Reject: no use"),
        "ignore": ("failed", "Ignore: somebody else does it"),
    } == {name: (payload["status"], payload["error"]) for name, payload in found.items()}
    assert {"news"} == {payload["job"]["metadata"]["scraper_id"] for payload in found.values()}


def test_a_task_that_is_requeued_replaced_or_retried_has_the_outcome_of_its_last_run(run):
    found = run("requeue", "replace", "retry", "answer")

    assert {
        "requeue": ("completed", "done"),
        "replace": ("completed", {"answer": "REPLACED"}),
        "retry": ("completed", "third"),
        "answer": ("completed", {"answer": "HELLO"}),
    } == {name: (payload["status"], payload["result"]) for name, payload in found.items()}
    assert {("p", "news")} == {
        (payload["job"]["prompt"], payload["job"]["metadata"]["scraper_id"]) for payload in found.values()
    }


def test_a_task_that_a_chain_replaces_has_the_outcome_of_its_last_task(run):
    found = run("replace_by_chain", more=1)

    assert {"answer": "LAST"} == found.pop("replace_by_chain")["result"]
    assert [{"answer": "FIRST"}] == [payload["result"] for payload in found.values()]


def test_a_task_whose_process_was_killed_has_failed_with_its_metadata(run):
    found = run("slow", "kill", "nan")

    assert ("failed", "failed", "completed") == tuple(found[name]["status"] for name in ("slow", "kill", "nan"))
    assert found["slow"]["error"].startswith("TimeLimitExceeded")
    assert found["kill"]["error"].startswith("WorkerLostError")
    assert {"lat": "nan"} == found["nan"]["result"]
    assert {("p", "news")} == {
        (payload["job"]["prompt"], payload["job"]["metadata"]["scraper_id"]) for payload in found.values()
    }
