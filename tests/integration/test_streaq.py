"""streaq tasks, recorded: the real worker program, and a worker in the test's own loop."""

import asyncio
import gc
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from streaq import StreaqRetry, Worker

from playhead.adapters.streaq import record
from playhead.streams.appending.async_producer import AsyncProducer
from tests.support.programs import Programs
from tests.support.recorded import payloads, recorded

pytestmark = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")  # streaq leaves one open

NOBODY = "redis://127.0.0.1:1/0"
WORK = """
import os
from contextlib import asynccontextmanager
from playhead.adapters.streaq import record
from playhead.streams.appending.async_producer import AsyncProducer
from streaq import Worker

producer = AsyncProducer(os.environ["REDIS_URL"])

@asynccontextmanager
async def lifespan():
    async with producer:
        yield

def describe(question="", **_):
    return {"prompt": question, "correlation_id": "flow", "metadata": {"scraper_id": "news"}}

worker = Worker(redis_url=os.environ["BROKER"], lifespan=lifespan)
record(worker, producer, describe)

@worker.task()
async def answer(question):
    return {"answer": question.upper()}

@worker.task()
def fail():
    raise ValueError("no such page")
"""
SEND = """
import asyncio
from streaq_work import answer, fail, worker

async def main():
    async with worker:
        await answer.enqueue("hello")
        await fail.enqueue()

asyncio.run(main())
"""


@pytest.fixture
def run(valkey):
    """Run a worker until each task that is sent has a result, and give their results."""

    async def main(declare, url):
        async with AsyncProducer(url, source="test") as producer:
            worker = Worker(redis_url=valkey.url, handle_signals=False)
            record(worker, producer)
            async with anyio.create_task_group() as group:
                await group.start(worker.run_async)
                results = [await task.result(timeout=60) for task in await declare(worker)]
                group.cancel_scope.cancel()
            return results

    yield lambda declare, url=None: asyncio.run(main(declare, url or valkey.url))
    gc.collect()


def test_a_worker_program_records_every_outcome_once(valkey, tmp_path, wait_until):
    programs = Programs(tmp_path, valkey.url, streaq_work=WORK)
    programs.run(SEND)
    with programs.working("streaq run streaq_work:worker"):
        wait_until(lambda: len(recorded(valkey)) >= 2)

    found = {payload["status"]: payload for payload in payloads(valkey).values()}
    events = {event.type: event for event in recorded(valkey)}
    assert {"completed", "failed"} == found.keys()
    good = found["completed"]
    assert ("flow", {"answer": "HELLO"}, "hello") == (
        events["job.completed"].correlationid,
        good["result"],
        good["job"]["prompt"],
    )
    assert {"function": "answer", "scraper_id": "news"} == good["job"]["metadata"]
    assert good["job"]["created_at"] < good["completed_at"]
    assert good["processing_time"] >= 0
    assert ("ValueError: no such page", 0) == (found["failed"]["error"], found["failed"]["retry_count"])


def test_only_the_last_attempt_is_recorded(valkey, run):
    attempts = []

    async def declare(worker):
        @worker.task()
        async def recover():
            attempts.append(1)
            if len(attempts) < 3:
                raise StreaqRetry("not yet", delay=timedelta(0))
            return len(attempts)

        return [await recover.enqueue()]

    run(declare)

    (payload,) = payloads(valkey).values()
    assert ("completed", 3, 2) == (payload["status"], payload["result"], payload["retry_count"])


def test_a_task_that_runs_out_of_attempts_is_a_failure(valkey, run):
    async def declare(worker):
        @worker.task(max_tries=2)
        async def never():
            raise StreaqRetry("not yet", delay=timedelta(0))

        return [await never.enqueue()]

    run(declare)

    (payload,) = payloads(valkey).values()
    assert ("failed", 1, None) == (payload["status"], payload["retry_count"], payload["processing_time"])
    assert "Max retry attempts" in payload["error"]


def test_a_task_that_times_out_fails_and_so_does_what_depends_on_it(valkey, run):
    async def declare(worker):
        @worker.task(timeout=timedelta(milliseconds=50))
        async def hang():
            await asyncio.Event().wait()

        @worker.task()
        async def follow():
            pass

        first = await hang.enqueue()
        return [first, await follow.enqueue().start(after=first.id)]

    run(declare)

    errors = {payload["error"] for payload in payloads(valkey).values()}
    assert {"TimeoutError: Task timed out!", "a task that it depends on failed"} == errors


def test_other_middleware_sees_the_task_as_it_is_and_a_value_without_a_json_form_is_recorded(valkey, run):
    seen = []

    async def declare(worker):
        @worker.middleware
        def see(task):
            async def seeing(*args, **kwargs):
                seen.append(await task(*args, **kwargs))
                return seen[-1]

            return seeing

        @worker.task()
        async def answer():
            return {"score": float("nan"), "when": datetime(2026, 1, 31, tzinfo=UTC)}

        return [await answer.enqueue()]

    run(declare)

    (payload,) = payloads(valkey).values()
    assert [float] == [type(value["score"]) for value in seen]
    assert ({"score": "nan", "when": "2026-01-31T00:00:00Z"}, "partial-repr") == (
        payload["result"],
        payload["result_encoding"],
    )


def test_a_task_keeps_its_result_when_it_cannot_be_recorded(run, caplog):
    async def declare(worker):
        @worker.task()
        async def answer():
            return 42

        return [await answer.enqueue()]

    (result,) = run(declare, NOBODY)

    assert 42 == result.result
    assert "NOT recorded" in caplog.text


def test_a_worker_on_trio_is_refused(valkey):
    with pytest.raises(ValueError, match="anyio_backend='asyncio'"):
        record(Worker(redis_url=valkey.url, anyio_backend="trio"), AsyncProducer(valkey.url))
