"""taskiq tasks, recorded: the real worker program with a broker in Redis, and the broker of a single program."""

import asyncio
import signal

import pytest
from taskiq import Context, InMemoryBroker, SimpleRetryMiddleware, TaskiqDepends, TaskiqMiddleware
from taskiq.exceptions import NoResultError

from playhead.adapters.taskiq import RecordJobs, description
from playhead.streams.appending.async_producer import AsyncProducer
from tests.support.programs import Programs
from tests.support.recorded import payloads, recorded

NOBODY = "redis://127.0.0.1:1/0"
WORK = """
import os
from playhead.adapters.taskiq import RecordJobs
from playhead.streams.appending.async_producer import AsyncProducer
from taskiq import SimpleRetryMiddleware, TaskiqEvents
from taskiq_redis import ListQueueBroker

producer = AsyncProducer(os.environ["REDIS_URL"])
broker = ListQueueBroker(os.environ["BROKER"]).with_middlewares(
    SimpleRetryMiddleware(default_retry_count=2, default_retry_label=True), RecordJobs(producer)
)

@broker.on_event(TaskiqEvents.CLIENT_SHUTDOWN, TaskiqEvents.WORKER_SHUTDOWN)
async def close(_):
    await producer.aclose()

@broker.task
async def answer(question):
    return {"answer": question.upper()}

@broker.task
def fail():
    raise ValueError("no such page")
"""
SEND = """
import asyncio
from playhead.adapters.taskiq import description
from taskiq_work import answer, broker, fail

async def main():
    await broker.startup()
    label = description(prompt="Shout", correlation_id="flow", metadata={"scraper_id": "news"})
    await answer.kicker().with_task_id("good").with_labels(playhead=label).kiq("hello")
    await fail.kicker().with_task_id("bad").kiq()
    await broker.shutdown()

asyncio.run(main())
"""


@pytest.fixture
def run(valkey):
    """Run tasks in a program that is its own worker, each where it is sent or as a task of its own."""

    def run(send, *middlewares, in_place=False, url=None):
        async def main():
            async with AsyncProducer(url or valkey.url, source="test") as producer:
                broker = InMemoryBroker(await_inplace=in_place).with_middlewares(*middlewares)
                broker.add_middlewares(RecordJobs(producer))
                await broker.startup()
                try:
                    await send(broker)
                    while broker._running_tasks:  # noqa: SLF001  # a retry is a task that `wait_all` does not know yet
                        await broker.wait_all()
                finally:
                    await broker.shutdown()

        asyncio.run(main())

    return run


def test_a_worker_program_records_every_outcome_once(valkey, tmp_path, wait_until):
    programs = Programs(tmp_path, valkey.url, taskiq_work=WORK)
    programs.run(SEND)
    with programs.working("taskiq worker taskiq_work:broker --workers 1", stop=signal.SIGINT):
        wait_until(lambda: len(recorded(valkey)) >= 2)

    found = payloads(valkey)
    events = {event.subject: event for event in recorded(valkey)}
    assert {"good", "bad"} == found.keys()
    assert ("job.completed", "flow") == (events["job/good"].type, events["job/good"].correlationid)
    good = found["good"]
    assert ({"answer": "HELLO"}, "Shout") == (good["result"], good["job"]["prompt"])
    assert {"function": "taskiq_work:answer", "scraper_id": "news"} == good["job"]["metadata"]
    assert good["job"]["created_at"] < good["completed_at"]
    assert good["processing_time"] >= 0
    assert ("failed", "ValueError: no such page", 1) == (
        found["bad"]["status"],
        found["bad"]["error"],
        found["bad"]["retry_count"],
    )


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "as tasks"])
@pytest.mark.parametrize("no_result", [True, False], ids=["no result on retry", "result on retry"])
def test_only_the_last_attempt_is_recorded(valkey, run, in_place, no_result):
    attempts = []

    async def send(broker):
        @broker.task(retry_on_error=True)
        async def recover():
            attempts.append(1)
            if len(attempts) < 3:
                raise ValueError("not yet")
            return len(attempts)

        await recover.kiq()

    run(send, SimpleRetryMiddleware(default_retry_count=5, no_result_on_retry=no_result), in_place=in_place)

    (payload,) = payloads(valkey).values()
    assert ("completed", 3, 2) == (payload["status"], payload["result"], payload["retry_count"])


def test_a_task_that_is_requeued_is_recorded_when_it_ends(valkey, run):
    async def send(broker):
        @broker.task
        async def again(context: Context = TaskiqDepends()):  # noqa: B008
            if "X-Taskiq-requeue" not in context.message.labels:
                await context.requeue()
            return "done"

        await again.kiq()

    run(send)

    (payload,) = payloads(valkey).values()
    assert ("completed", "done", 1) == (payload["status"], payload["result"], payload["retry_count"])


def test_a_task_that_gives_no_result_on_purpose_has_failed(valkey, run):
    async def send(broker):
        @broker.task
        async def silent():
            raise NoResultError

        await silent.kiq()

    run(send)

    (payload,) = payloads(valkey).values()
    assert ("failed", None) == (payload["status"], payload["result"])
    assert payload["error"].startswith("NoResultError")


def test_a_task_that_runs_another_in_place_keeps_its_own_times(valkey, run):
    async def send(broker):
        @broker.task
        async def inner():
            return "inner"

        @broker.task
        async def outer():
            await inner.kicker().with_task_id("inner").kiq()
            return "outer"

        await outer.kicker().with_task_id("outer").kiq()

    run(send, in_place=True)

    found = payloads(valkey)
    assert {"inner": "inner", "outer": "outer"} == {name: payload["result"] for name, payload in found.items()}
    assert found["outer"]["processing_time"] >= found["inner"]["processing_time"]


def test_other_middlewares_see_the_result_as_it_is(run):
    seen = []

    class See(TaskiqMiddleware):
        def post_save(self, message, result):
            seen.append(result.return_value)

    async def send(broker):
        @broker.task
        async def answer():
            return {"score": float("nan")}

        await answer.kiq()

    run(send, See())

    assert ["{'score': nan}"] == [str(value) for value in seen]


def test_a_part_of_a_result_without_a_json_form_is_recorded_by_its_repr(valkey, run):
    async def send(broker):
        @broker.task
        async def answer():
            return {"score": float("nan")}

        await answer.kiq()

    run(send)

    (payload,) = payloads(valkey).values()
    assert ({"score": "nan"}, "partial-repr") == (payload["result"], payload["result_encoding"])


def test_a_result_over_the_size_limit_is_omitted(valkey):
    async def main():
        async with AsyncProducer(valkey.url, size_limit=2000) as producer:
            broker = InMemoryBroker(await_inplace=True).with_middlewares(RecordJobs(producer))

            @broker.task
            async def answer():
                return "x" * 5000

            await broker.startup()
            task = await answer.kiq()
            assert 5000 == len((await task.wait_result()).return_value)
            await broker.shutdown()

    asyncio.run(main())

    (payload,) = payloads(valkey).values()
    assert (None, "omitted") == (payload["result"], payload["result_encoding"])


def labelled(**labels):
    """Send a task with labels."""

    async def send(broker):
        @broker.task
        async def answer():
            return 42

        await answer.kicker().with_labels(**labels).kiq()

    return send


def test_a_task_whose_creation_is_no_time_was_created_when_it_started(valkey, run):
    run(labelled(playhead_created_at="yesterday"))

    (payload,) = payloads(valkey).values()
    assert 42 == payload["result"]
    assert payload["job"]["created_at"] <= payload["completed_at"]


def test_a_task_whose_label_is_no_json_is_recorded_without_a_description(valkey, run, caplog):
    run(labelled(playhead="no JSON"))

    (payload,) = payloads(valkey).values()
    assert (42, None) == (payload["result"], payload["job"]["prompt"])
    assert "no JSON" in caplog.text


def test_a_task_keeps_its_result_when_it_cannot_be_recorded(run, caplog):
    results = []

    async def send(broker):
        @broker.task
        async def answer():
            return 42

        task = await answer.kicker().with_labels(playhead=description(prompt="Say")).kiq()
        results.append((await task.wait_result(timeout=60)).return_value)

    run(send, url=NOBODY)

    assert [42] == results
    assert "NOT recorded" in caplog.text
