"""dramatiq workers, recorded: a real broker, and the real worker program."""

from datetime import UTC, datetime

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, CurrentMessage, Middleware, Retries, SkipMessage

from playhead.adapters.dramatiq import RecordJobs
from playhead.streams.appending.producer import Producer
from tests.support.programs import Programs
from tests.support.recorded import payloads, recorded

NOBODY = "redis://127.0.0.1:1/0"
WORK = """
import os
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from playhead.adapters.dramatiq import RecordJobs
from playhead.streams.appending.producer import Producer

broker = RedisBroker(url=os.environ["BROKER"])
broker.add_middleware(RecordJobs(Producer(os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)

@dramatiq.actor
def answer(question):
    return {"answer": question.upper()}

@dramatiq.actor(max_retries=1, min_backoff=1)
def fail():
    raise ValueError("no such page")
"""


@pytest.fixture
def producer(valkey):
    with Producer(valkey.url, source="test") as producer:
        yield producer


@pytest.fixture
def work(valkey):
    """Run the messages of a broker in a real worker until none is left."""

    def work(broker, send):
        worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
        worker.start()
        try:
            send()
            broker.join("default")
            worker.join()
        finally:
            worker.stop()
            broker.close()

    return work


def make_broker(valkey, producer, *, first=False, middleware=None):
    broker = RedisBroker(url=valkey.url, middleware=middleware)
    broker.add_middleware(RecordJobs(producer), **({"before": type(broker.middleware[0])} if first else {}))
    return broker


def test_a_worker_program_records_every_outcome_once(valkey, tmp_path, wait_until):
    programs = Programs(tmp_path, valkey.url, dramatiq_work=WORK)
    programs.run("""
from dramatiq_work import answer, fail
answer.send_with_options(args=("hello",), playhead={"prompt": "Shout", "correlation_id": "flow"})
fail.send()
""")
    with programs.working("dramatiq dramatiq_work --processes 2 --threads 2"):
        wait_until(lambda: len(recorded(valkey)) >= 2)

    events = {event.type: event for event in recorded(valkey)}
    found = {payload["status"]: payload for payload in payloads(valkey).values()}
    assert {"job.completed", "job.failed"} == events.keys()
    assert ("flow", {"answer": "HELLO"}, "Shout") == (
        events["job.completed"].correlationid,
        found["completed"]["result"],
        found["completed"]["job"]["prompt"],
    )
    assert ("ValueError: no such page", 1) == (found["failed"]["error"], found["failed"]["retry_count"])


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_the_place_among_other_middleware_does_not_matter(valkey, producer, work, first):
    broker = make_broker(valkey, producer, first=first)
    attempts = []

    @dramatiq.actor(broker=broker, max_retries=3, min_backoff=1, max_backoff=1)
    def recover():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return len(attempts)

    before = datetime.now(UTC)
    work(broker, recover.send)

    (payload,) = payloads(valkey).values()
    assert ("completed", 3, 2) == (payload["status"], payload["result"], payload["retry_count"])
    assert {"function": "recover", "queue": "default"} == payload["job"]["metadata"]
    created = datetime.fromisoformat(payload["job"]["created_at"])
    assert created.timestamp() >= int(before.timestamp() * 1000) / 1000
    assert payload["processing_time"] >= 0


def test_a_message_describes_its_job_over_what_its_actor_says(valkey, producer, work):
    broker = make_broker(valkey, producer)

    @dramatiq.actor(broker=broker, playhead={"prompt": "Say", "format": "text", "metadata": {"scraper_id": "news"}})
    def say():
        return None

    work(broker, lambda: say.send_with_options(playhead={"prompt": "Shout", "metadata": {"page": 1}}))

    (payload,) = payloads(valkey).values()
    assert ("Shout", "text") == (payload["job"]["prompt"], payload["job"]["format"])
    assert {"function": "say", "queue": "default", "scraper_id": "news", "page": 1} == payload["job"]["metadata"]


def test_a_message_that_is_skipped_for_its_age_is_a_failure(valkey, producer, work):
    broker = make_broker(valkey, producer, middleware=[AgeLimit(max_age=-1)])
    say = dramatiq.actor(lambda: None, broker=broker, actor_name="say")
    work(broker, say.send)

    (payload,) = payloads(valkey).values()
    assert ("failed", "skipped") == (payload["status"], payload["error"])


def test_a_message_that_another_middleware_enqueues_again_is_not_recorded_yet(valkey, producer, work):
    class Defer(Middleware):
        deferred = False

        def before_process_message(self, broker, message):
            if not self.deferred:
                self.deferred = True
                broker.enqueue(message)
                raise SkipMessage("later")

    broker = make_broker(valkey, producer, middleware=[Defer()])
    say = dramatiq.actor(lambda: "said", broker=broker, actor_name="say")
    work(broker, say.send)

    (payload,) = payloads(valkey).values()
    assert ("completed", "said") == (payload["status"], payload["result"])


def test_a_failure_without_retries_is_recorded(valkey, producer, work):
    broker = make_broker(valkey, producer, middleware=[])

    @dramatiq.actor(broker=broker)
    def fail():
        raise ValueError("no such page")

    work(broker, fail.send)

    (payload,) = payloads(valkey).values()
    assert ("failed", "ValueError: no such page") == (payload["status"], payload["error"])


def test_a_message_that_is_rejected_has_failed(valkey, producer, work):
    broker = make_broker(valkey, producer, middleware=[CurrentMessage()])

    @dramatiq.actor(broker=broker)
    def reject():
        CurrentMessage.get_current_message().fail()

    work(broker, reject.send)

    (payload,) = payloads(valkey).values()
    assert ("failed", "rejected") == (payload["status"], payload["error"])


def test_a_part_of_a_result_without_a_json_form_is_recorded_by_its_repr(valkey, producer, work):
    broker = make_broker(valkey, producer)
    odd = dramatiq.actor(lambda: {"score": float("nan")}, broker=broker, actor_name="odd")
    work(broker, odd.send)

    (payload,) = payloads(valkey).values()
    assert ({"score": "nan"}, "partial-repr") == (payload["result"], payload["result_encoding"])


def test_a_job_runs_once_when_it_cannot_be_recorded(valkey, work, caplog):
    runs = []
    with Producer(NOBODY) as producer:
        broker = make_broker(valkey, producer, middleware=[Retries()])
        count = dramatiq.actor(lambda: runs.append(1), broker=broker, actor_name="count")
        work(broker, count.send)

    assert [1] == runs
    assert "NOT recorded" in caplog.text
