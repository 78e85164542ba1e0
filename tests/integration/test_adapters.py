"""What people run already, recorded: functions, RQ workers, Celery workers, each real."""

import asyncio
import dataclasses
import json
import logging
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from rq import Queue, Retry
from rq.job import Job

from playhead.adapters import rq as rq_adapter
from playhead.adapters.functions import record_job
from playhead.projections.jobs.result import decode_job_result
from playhead.streams.appending.producer import Producer
from playhead.streams.appending.spool import Spool
from tests.support.programs import CELERY_OPTIONS, Programs
from tests.support.recorded import recorded
from tests.support.servers import plain_client

NOBODY = "redis://127.0.0.1:1/0"
WORK = """
class Odd:
    def __repr__(self):
        return "<odd>"

def answer(question):
    return {"answer": question.upper()}

def fail():
    raise ValueError("no such page")

def odd():
    return [1, Odd()]
"""
CELERY_APP = """
import os
from celery import Celery
from playhead.adapters.celery import record
from playhead.streams.appending.producer import Producer

url = os.environ["BROKER"].replace("unix://", "redis+socket://")
app = Celery("work", broker=url, backend=url)
app.conf.task_always_eager = False
record(app, Producer(os.environ["REDIS_URL"]))

@app.task
def answer(question):
    return {"answer": question.upper()}

@app.task(bind=True, max_retries=1, default_retry_delay=0)
def fail(self):
    try:
        raise ValueError("no such page")
    except ValueError as error:
        raise self.retry(exc=error, countdown=0)
"""


@pytest.fixture
def producer(valkey):
    with Producer(valkey.url, source="test") as producer:
        yield producer


def payloads(valkey):
    return [json.loads(event.data) for event in recorded(valkey)]


class Odd:
    def __repr__(self):
        return "<odd>"


class Stubborn(dict):
    def items(self):
        raise RuntimeError

    def __repr__(self):
        raise RuntimeError


@dataclasses.dataclass
class Reading:
    value: float
    kind: str


CYCLE = [1]
CYCLE.append(CYCLE)


class Silent:
    def __repr__(self):
        raise RuntimeError


class TestFunctions:
    def test_a_call_is_recorded_with_what_is_known_of_its_job(self, valkey, producer):
        def describe(page, **_):
            return {
                "id": f"job-{page}",
                "prompt": "Summarize",
                "provider_config": {"model": "m"},
                "metadata": {"scraper_id": "news"},
                "correlation_id": "flow",
            }

        @record_job(producer, describe)
        def summarize(page, *, loud):
            return {"text": page.upper()}

        before = datetime.now(UTC)
        assert summarize("a", loud=True) == {"text": "A"}

        (event,) = recorded(valkey)
        payload = json.loads(event.data)
        assert ("job.completed", "job/job-a", "test", "flow") == (
            event.type,
            event.subject,
            event.source,
            event.correlationid,
        )
        assert event.dataschema == "job.completed/1"
        created = datetime.fromisoformat(payload["job"].pop("created_at"))
        assert before <= created <= datetime.fromisoformat(payload.pop("completed_at")) <= datetime.now(UTC)
        assert payload.pop("processing_time") >= 0
        name = payload["job"]["metadata"].pop("function")
        assert name.endswith("summarize")
        assert payload == {
            "job_id": "job-a",
            "job": {
                "id": "job-a",
                "prompt": "Summarize",
                "format": None,
                "provider_config": {"model": "m"},
                "metadata": {"scraper_id": "news"},
            },
            "status": "completed",
            "result": {"text": "A"},
            "error": None,
            "retry_count": 0,
            "result_encoding": None,
        }
        read = decode_job_result(event.data)
        assert ("news", "m", "completed") == (read.scraper_id, read.model, read.status)

    def test_an_error_is_recorded_and_raised_as_it_was(self, valkey, producer):
        @record_job(producer)
        def fail():
            raise ValueError("no such page")

        with pytest.raises(ValueError, match="no such page"):
            fail()

        (payload,) = payloads(valkey)
        assert ("failed", "ValueError: no such page", None) == (
            payload["status"],
            payload["error"],
            payload["result"],
        )

    def test_each_call_is_a_job_of_its_own(self, valkey, producer):
        call = record_job(producer)(lambda: 1)
        call()
        call()

        assert len({event.subject for event in recorded(valkey)}) == 2

    def test_async_functions_too_and_a_canceled_one_is_a_failure(self, valkey, producer):
        @record_job(producer)
        async def answer():
            await asyncio.sleep(0)
            return 42

        @record_job(producer)
        async def hang():
            await asyncio.Event().wait()

        async def run():
            assert await answer() == 42
            task = asyncio.create_task(hang())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(run())

        assert [("completed", 42), ("failed", None)] == [
            (payload["status"], payload["result"]) for payload in payloads(valkey)
        ]

    def test_a_generator_is_refused(self, producer):
        with pytest.raises(TypeError, match="generator"):

            @record_job(producer)
            def generate():
                yield 1

    @pytest.mark.parametrize(
        ("result", "expected", "encoding"),
        [
            ({"when": datetime(2026, 1, 31, tzinfo=UTC), "n": {1}}, {"when": "2026-01-31T00:00:00Z", "n": [1]}, None),
            ({"a": Odd(), "b": 1}, {"a": "<odd>", "b": 1}, "partial-repr"),
            (Odd(), "<odd>", "partial-repr"),
            ({"a": float("nan"), "b": [1.5, -math.inf]}, {"a": "nan", "b": [1.5, "-inf"]}, "partial-repr"),
            ({(1, 2): 3, "(1, 2)": 4, 5: 6}, {"(1, 2)": 3, "(1, 2) (2)": 4, "5": 6}, "partial-repr"),
            (CYCLE, [1, "[...]"], "partial-repr"),
            (Reading(math.nan, "hot"), {"value": "nan", "kind": "hot"}, "partial-repr"),
            (Stubborn(a=math.nan), "<Stubborn without a form>", "partial-repr"),
            ({"n": 16**5000, "m": 1}, {"n": "0x1" + "0" * 5000, "m": 1}, "partial-repr"),
            ({"b": b"\xff", "d": Decimal("1.5")}, {"b": "/w==", "d": "1.5"}, None),
            (Silent(), "<Silent without a form>", "partial-repr"),
            ("lone \ud800", "lone \ud800", None),
            (10**400, 10**400, None),
        ],
        ids=[
            "typed",
            "part",
            "all",
            "nan",
            "keys",
            "cycle",
            "dataclass",
            "raising",
            "too many digits",
            "bytes and decimals",
            "silent",
            "surrogate",
            "huge",
        ],
    )
    def test_a_result_that_json_has_no_form_for_is_recorded_all_the_same(
        self, valkey, producer, result, expected, encoding
    ):
        description = {"prompt": "p", "metadata": {"scraper_id": "geo", "source_url": "https://example.org"}}
        job = record_job(producer, lambda: description)(lambda: result)
        assert job() is result

        (payload,) = payloads(valkey)
        metadata = payload["job"]["metadata"]
        assert (expected, encoding) == (payload["result"], payload["result_encoding"])
        assert ("p", "geo", "https://example.org") == (
            payload["job"]["prompt"],
            metadata["scraper_id"],
            metadata["source_url"],
        )

    def test_a_result_nested_very_deeply_is_text_where_it_is_too_deep(self, valkey, producer):
        deep = []
        for _ in range(100_000):
            deep = [deep]
        record_job(producer, lambda: {"metadata": {"scraper_id": "geo"}})(lambda: {"deep": deep, "ok": 1})()

        (payload,) = payloads(valkey)
        assert (1, "geo") == (payload["result"]["ok"], payload["job"]["metadata"]["scraper_id"])

    def test_a_part_of_the_description_that_json_has_no_form_for_leaves_the_others(self, valkey, producer, caplog):
        description = {
            "id": "lone \ud800",
            "prompt": "p",
            "metadata": {"scraper_id": "geo", "score": math.nan},
            "correlation_id": "flow \ud800",
        }
        record_job(producer, lambda: description)(lambda: 1)()

        (event,) = recorded(valkey)
        payload = json.loads(event.data)
        metadata = payload["job"]["metadata"]
        assert ("job/lone \\ud800", "flow \\ud800", "lone \\ud800") == (
            event.subject,
            event.correlationid,
            payload["job_id"],
        )
        assert ("p", "geo", "nan", None) == (
            payload["job"]["prompt"],
            metadata["scraper_id"],
            metadata["score"],
            payload["result_encoding"],
        )
        assert "parts that JSON cannot represent" in caplog.text

    def test_a_result_over_the_size_limit_leaves_the_rest(self, valkey):
        with Producer(valkey.url, size_limit=2000) as producer:
            assert len(record_job(producer)(lambda: "x" * 5000)()) == 5000

        (payload,) = payloads(valkey)
        assert (None, "omitted", "completed") == (payload["result"], payload["result_encoding"], payload["status"])

    def test_a_function_is_not_hurt_by_what_goes_wrong_while_it_is_recorded(self, tmp_path, caplog):
        def describe():
            raise KeyError("id")

        with Producer(NOBODY) as producer:
            assert record_job(producer, describe)(lambda: 1)() == 1

        assert [logging.CRITICAL] * 2 == [record.levelno for record in caplog.records]
        assert "NOT recorded" in caplog.text

        with Producer(NOBODY, spool=tmp_path) as producer:
            assert record_job(producer)(lambda: 1)() == 1
        assert Spool(tmp_path).content().events == 1


class TestRQ:
    @pytest.fixture
    def queue(self, valkey, tmp_path):
        (tmp_path / "rq_work.py").write_text(WORK)
        with plain_client(valkey.url) as client:
            yield Queue("work", connection=client)

    @staticmethod
    def enqueue(queue, name, *args, **options):
        return queue.enqueue(f"rq_work.{name}", args=args, **rq_adapter.CALLBACKS, **options)

    @staticmethod
    def work(valkey, tmp_path, **environment):
        path = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
        return subprocess.run(
            [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", valkey.url, "work"],
            env=os.environ | {"PYTHONPATH": path, "REDIS_URL": valkey.url} | environment,
            capture_output=True,
            check=True,
            timeout=120,
        ).stderr.decode()

    def test_a_worker_records_every_outcome_once(self, valkey, queue, tmp_path):
        meta = {"playhead": {"prompt": "Shout", "metadata": {"scraper_id": "news"}, "correlation_id": "flow"}}
        jobs = [
            self.enqueue(queue, "answer", "hello", job_id="good", meta=meta),
            self.enqueue(queue, "fail", job_id="bad", retry=Retry(max=1)),
            self.enqueue(queue, "odd", job_id="odd"),
        ]
        self.work(valkey, tmp_path)

        found = {event.subject: (event, json.loads(event.data)) for event in recorded(valkey)}
        assert {"job/good", "job/bad", "job/odd"} == found.keys()
        assert len(recorded(valkey)) == 3
        event, good = found["job/good"]
        assert (event.type, event.correlationid) == ("job.completed", "flow")
        assert good["result"] == {"answer": "HELLO"}
        assert good["job"]["prompt"] == "Shout"
        assert good["job"]["metadata"] == {"function": "rq_work.answer", "queue": "work", "scraper_id": "news"}
        created = datetime.fromisoformat(good["job"]["created_at"])
        assert abs((created - jobs[0].created_at).total_seconds()) < 1
        assert good["processing_time"] >= 0
        _, bad = found["job/bad"]
        assert ("failed", "ValueError: no such page", 1) == (bad["status"], bad["error"], bad["retry_count"])
        _, odd = found["job/odd"]
        assert ([1, "<odd>"], "partial-repr") == (odd["result"], odd["result_encoding"])

    def test_the_same_callback_again_adds_nothing(self, valkey, queue, tmp_path, monkeypatch):
        job = self.enqueue(queue, "answer", "hello", job_id="good")
        self.work(valkey, tmp_path)
        monkeypatch.setenv("REDIS_URL", valkey.url)
        rq_adapter.on_success(Job.fetch(job.id, queue.connection), queue.connection, {"answer": "again"})

        assert [{"answer": "HELLO"}] == [payload["result"] for payload in payloads(valkey)]

    def test_a_job_keeps_its_outcome_when_it_cannot_be_recorded(self, valkey, queue, tmp_path):
        job = self.enqueue(queue, "answer", "hello", job_id="good")
        messages = self.work(valkey, tmp_path, REDIS_URL="nonsense://")

        assert job.get_status(refresh=True) == "finished"
        assert "NOT recorded" in messages

    def test_events_of_a_work_horse_wait_in_the_spool_and_the_next_one_sends_them(self, valkey, queue, tmp_path):
        spool = tmp_path / "spool"
        self.enqueue(queue, "answer", "first", job_id="first")
        self.work(valkey, tmp_path, REDIS_URL=NOBODY, PLAYHEAD_SPOOL_DIR=str(spool))
        assert Spool(spool).content().events == 1

        self.enqueue(queue, "answer", "second", job_id="second")
        self.work(valkey, tmp_path, PLAYHEAD_SPOOL_DIR=str(spool))

        with Producer(valkey.url, spool=spool) as producer:
            producer.flush()  # the half second that a callback gives it may have been too short
        assert ["FIRST", "SECOND"] == [payload["result"]["answer"] for payload in payloads(valkey)]


def test_a_celery_worker_records_every_outcome_once(valkey, tmp_path, wait_until):
    programs = Programs(tmp_path, valkey.url, celery_work=CELERY_APP)
    programs.run("""
from celery_work import answer, fail
answer.apply_async(["hello"], task_id="good", headers={"playhead": {"prompt": "Shout", "correlation_id": "flow"}})
fail.apply_async(task_id="bad")
answer.apply_async(["late"], task_id="late", expires=-1)
""")
    with programs.working(f"celery -A celery_work worker {CELERY_OPTIONS}"):
        wait_until(lambda: len(recorded(valkey)) >= 3)

    found = {event.subject: (event, json.loads(event.data)) for event in recorded(valkey)}
    assert {"job/good", "job/bad", "job/late"} == found.keys()
    assert len(recorded(valkey)) == 3
    event, good = found["job/good"]
    assert ("job.completed", "flow", {"answer": "HELLO"}, "Shout") == (
        event.type,
        event.correlationid,
        good["result"],
        good["job"]["prompt"],
    )
    assert good["job"]["metadata"] == {"function": "celery_work.answer"}
    assert good["job"]["created_at"] < good["completed_at"]
    assert good["processing_time"] >= 0
    event, bad = found["job/bad"]
    assert ("failed", "ValueError: no such page", 1) == (bad["status"], bad["error"], bad["retry_count"])
    assert event.correlationid == "bad"
    assert found["job/late"][1]["error"] == "expired"
