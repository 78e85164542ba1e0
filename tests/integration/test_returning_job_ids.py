"""Job ids that are sent again, in the real worker programs: each run has an event, a redelivered one no second."""

import os
import signal
from collections import Counter

import pytest

from tests.support.programs import CELERY_OPTIONS, Programs
from tests.support.recorded import recorded

COMMON = """
import os, signal
from pathlib import Path

def run(job_id):
    with Path("runs").open("a") as file:
        file.write(f"{job_id}\\n")
    return Path("runs").read_text().split().count(job_id)

def die_once():
    if Path("dies").exists():
        Path("dies").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
"""
CELERY = """
from celery import Celery, signals
from returning import die_once, run
from playhead.adapters.celery import record
from playhead.streams.appending.producer import Producer

url = os.environ["BROKER"].replace("unix://", "redis+socket://")
app = Celery("work", broker=url)  # one that keeps results does not deliver a finished task again
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)
record(app, Producer(os.environ["REDIS_URL"]))
signals.task_success.connect(lambda **_: die_once(), weak=False)

@app.task
def work(job_id):
    return run(job_id)

@app.task(bind=True)
def poll(self, job_id):
    count = run(job_id)
    if count < 3:
        poll.apply_async([job_id], task_id=self.request.id)
    return count

@app.task(bind=True)
def retry(self, job_id):
    if run(job_id) % 2:
        raise self.retry(countdown=0)

def send(*job_ids):
    for job_id in job_ids:
        app.tasks[f"app.{job_id}" if job_id in {"poll", "retry"} else "app.work"].apply_async([job_id], task_id=job_id)

def send_chain():
    (work.si("first").set(task_id="first") | work.si("second").set(task_id="second")).delay()
"""
DRAMATIQ = """
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from returning import die_once, run
from playhead.adapters.dramatiq import RecordJobs
from playhead.streams.appending.producer import Producer

class Die(dramatiq.Middleware):
    def before_ack(self, broker, message):
        die_once()

broker = RedisBroker(url=os.environ["BROKER"], maintenance_chance=1_000_000, heartbeat_timeout=1000)
broker.add_middleware(RecordJobs(Producer(os.environ["REDIS_URL"])))
broker.add_middleware(Die())
dramatiq.set_broker(broker)

@dramatiq.actor
def work(job_id):
    return run(job_id)

@dramatiq.actor(min_backoff=1, max_backoff=1)
def retry(job_id):
    if run(job_id) % 2:
        raise ValueError("not yet")

def send(*job_ids):
    for job_id in job_ids:
        actor = retry if job_id == "retry" else work
        broker.enqueue(actor.message(job_id).copy(message_id=job_id))
"""
TASKIQ = """
import asyncio
from returning import die_once, run
from playhead.adapters.taskiq import RecordJobs
from playhead.streams.appending.async_producer import AsyncProducer
from taskiq import SimpleRetryMiddleware, TaskiqEvents, TaskiqMiddleware
from taskiq_redis import RedisStreamBroker

class Die(TaskiqMiddleware):
    async def post_execute(self, message, result):
        die_once()

producer = AsyncProducer(os.environ["REDIS_URL"])
broker = RedisStreamBroker(os.environ["BROKER"], xread_block=100, idle_timeout=100).with_middlewares(
    Die(), SimpleRetryMiddleware(), RecordJobs(producer)
)

@broker.on_event(TaskiqEvents.CLIENT_SHUTDOWN, TaskiqEvents.WORKER_SHUTDOWN)
async def close(_):
    await producer.aclose()

@broker.task
async def work(job_id):
    return run(job_id)

@broker.task(retry_on_error=True)
async def retry(job_id):
    if run(job_id) % 2:
        raise ValueError("not yet")

def send(*job_ids):
    async def main():
        await broker.startup()
        for job_id in job_ids:
            await (retry if job_id == "retry" else work).kicker().with_task_id(job_id).kiq(job_id)
        await broker.shutdown()

    asyncio.run(main())
"""
STREAQ = """
import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from returning import die_once, run
from playhead.adapters.streaq import record
from playhead.streams.appending.async_producer import AsyncProducer
from streaq import StreaqRetry, Worker

producer = AsyncProducer(os.environ["REDIS_URL"])

@asynccontextmanager
async def lifespan():
    async with producer:
        yield

worker = Worker(redis_url=os.environ["BROKER"], lifespan=lifespan, concurrency=1, idle_timeout=1)
acknowledge = worker.finish_task

async def finish_task(*args, **kwargs):
    die_once()
    await acknowledge(*args, **kwargs)

worker.finish_task = finish_task
record(worker, producer)

@worker.task()
async def work(job_id):
    return run(job_id)

@worker.task()
async def retry(job_id):
    if run(job_id) % 2:
        raise StreaqRetry("not yet", delay=timedelta(0))

def send(*job_ids):
    async def main():
        async with worker:
            for job_id in job_ids:
                task = (retry if job_id == "retry" else work).enqueue(job_id)
                task.id = job_id
                await task

    asyncio.run(main())
"""
RQ = """
from redis import Redis
from returning import run as work
from rq import Queue
from playhead.adapters.rq import CALLBACKS

def retry(job_id):
    if work(job_id) % 2:
        raise ValueError("not yet")

def send(*job_ids):
    with Redis.from_url(os.environ["BROKER"]) as client:
        for job_id in job_ids:
            tries = {"retry": Retry(max=1)} if job_id == "retry" else {}
            Queue("work", connection=client).enqueue(
                retry if job_id == "retry" else work, job_id, job_id=job_id, **CALLBACKS, **tries
            )
"""
PROGRAMS = {
    "celery": (
        CELERY,
        f"celery -A app worker {CELERY_OPTIONS}",
    ),
    "dramatiq": (DRAMATIQ, "dramatiq app --processes 1 --threads 1"),
    "taskiq": (TASKIQ, "taskiq worker app:broker --workers 1 --max-async-tasks 1"),
    "streaq": (STREAQ, "streaq run app:worker"),
    "rq": ("from rq import Retry" + RQ, "rq.cli worker work --url {url}"),
}


class Program:
    """A worker program in a directory of its own, and programs that send to it."""

    def __init__(self, directory, url, app, command):
        self.directory = directory
        self._programs = Programs(directory, url, returning=COMMON, app=f"import os\n{app}")
        self._command = command.format(url=url)
        self._worker = None

    def send(self, *job_ids, function="send"):
        self._programs.run(f"import app; app.{function}(*{job_ids!r})")

    def runs(self, job_id):
        """How often a job ran; starts the worker program, again if it died with its process."""
        if self._worker is None or self._worker.poll() is not None:
            self._worker = self._programs.start(self._command)
        file = self.directory / "runs"
        return file.read_text().split().count(job_id) if file.exists() else 0

    def close(self):
        if self._worker is not None:
            os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.wait(60)


@pytest.fixture
def program(request, valkey, tmp_path):
    program = Program(tmp_path, valkey.url, *PROGRAMS[request.param])
    yield program
    program.close()


def subjects(server):
    return Counter(event.subject.removeprefix("job/") for event in recorded(server))


@pytest.mark.parametrize("program", PROGRAMS, indirect=True)
def test_each_run_of_a_job_id_that_is_sent_again_is_recorded(program, valkey, wait_until):
    for number in (1, 2, 3):
        program.send("fixed", "retry")
        wait_until(lambda expected=number: (program.runs("fixed"), program.runs("retry")) == (expected, 2 * expected))
        wait_until(lambda expected=number: subjects(valkey) == {"fixed": expected, "retry": expected})


@pytest.mark.parametrize("program", sorted(PROGRAMS.keys() - {"rq"}), indirect=True)  # RQ does not deliver again
def test_a_job_that_is_delivered_again_as_its_worker_died_is_recorded_once(program, valkey, wait_until):
    (program.directory / "dies").touch()
    program.send("fixed")
    wait_until(lambda: program.runs("fixed") and not (program.directory / "dies").exists())
    assert {"fixed": 1} == subjects(valkey)

    program.send("next")  # taskiq looks for what is left when it got something
    wait_until(lambda: program.runs("fixed") == 2)
    program.send("last")
    wait_until(lambda: program.runs("last") and subjects(valkey)["last"])

    assert {"fixed": 1, "next": 1, "last": 1} == subjects(valkey)


class TestCelery:
    @pytest.mark.parametrize("program", ["celery"], indirect=True)
    def test_a_task_that_sends_its_own_id_again_is_recorded_each_time(self, program, valkey, wait_until):
        program.send("poll")
        wait_until(lambda: program.runs("poll") == 3)
        wait_until(lambda: subjects(valkey) == {"poll": 3})

    @pytest.mark.parametrize("program", ["celery"], indirect=True)
    def test_what_a_task_that_is_delivered_again_sends_on_is_recorded_once(self, program, valkey, wait_until):
        (program.directory / "dies").touch()
        program.send(function="send_chain")
        wait_until(lambda: program.runs("first") == 2 and program.runs("second") == 2)
        program.send("last")
        wait_until(lambda: program.runs("last") and subjects(valkey)["last"])

        assert {"first": 1, "second": 1, "last": 1} == subjects(valkey)
