import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from playhead.consumers.errors import Retry
from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.work.metrics import PrometheusWorkObserver
from playhead.consumers.work.observer import WorkObserver
from playhead.streams.events import new_event
from playhead.streams.names import Metric
from tests.support.conditions import until
from tests.support.servers import demoted, without_replicas
from tests.support.workers import NOTES, QUICK, Enrich, causes, nothing_left, outcomes, parked, working


class Losses(WorkObserver):
    def __init__(self):
        self.count = 0

    def lost(self, partition):
        self.count += 1


def test_three_processes_that_compete_work_on_each_event_once(redis_server, redis, submit):
    submit(200)
    submit(50, type="note.enriched")
    handlers = [Enrich() for _ in range(3)]

    async def run():
        async with (
            working(redis_server.url, handlers[0], owner="one"),
            working(redis_server.url, handlers[1], owner="two"),
            working(redis_server.url, handlers[2], owner="three"),
        ):
            await until(lambda: nothing_left(redis) and len(outcomes(redis)) == 250)

    asyncio.run(run())

    seen = [one for handler in handlers for one in handler.seen]
    assert {f"note.submitted-{number}": 1 for number in range(200)} == Counter(seen)
    assert 200 == len([cause for cause in causes(redis) if cause])
    assert [] == redis.xinfo_consumers(NOTES.key, "enrich")


def test_what_fails_for_a_while_is_tried_again_with_its_attempts_counted_across_processes(redis_server, redis, submit):
    submit(1)

    async def fail(task):
        raise Retry("the model is overloaded")

    async def run():
        first = Enrich(fail)
        async with working(redis_server.url, first, quick(first_delay=3600)):
            await until(lambda: first.attempts == [1] and redis.zscore(f"{NOTES.key}:due:enrich", entry_id(redis)))
        make_due(redis)
        second = Enrich()
        async with working(redis_server.url, second, owner="two"):
            await until(lambda: nothing_left(redis))
        return second.attempts

    assert [2] == asyncio.run(run())
    assert {"note.submitted-0": 1} == causes(redis)


@pytest.mark.parametrize("early", [True, False])
def test_an_event_that_waits_for_another_goes_on_when_that_has_come(redis_server, redis, submit, early):
    submit(2)
    looked, came = asyncio.Event(), []

    async def wait(task):
        if task.cause.event.id == "note.submitted-0":
            await task.listen("the other")
            if not came:
                looked.set()
                await (until(lambda: came) if early else asyncio.sleep(0))
                raise Retry("the other has not come", after=3600)
        else:
            await looked.wait()
            if not early:
                await until(
                    lambda: not redis.hexists(f"{NOTES.key}:waiting:enrich", f"entry {entry_id(redis).decode()}")
                )
            await task.wake("the other")
            came.append(task)

    async def run():
        async with working(redis_server.url, Enrich(wait)):
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert {"note.submitted-0": 1, "note.submitted-1": 1} == causes(redis)
    assert not redis.exists(f"{NOTES.key}:waiting:enrich")


def test_after_the_last_attempt_the_failure_is_appended_and_the_event_parked(redis_server, redis, submit):
    submit(1)

    async def fail(task):
        raise Retry("the model is overloaded")

    handler = Enrich(fail)

    async def run():
        async with working(redis_server.url, handler):
            await until(lambda: parked(redis))
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert [1, 2, 3] == handler.attempts
    assert [b'{"reason":"Retry: the model is overloaded","attempt":3}'] == [
        event.data for event in outcomes(redis, "note.enrichment_failed")
    ]
    assert [("note/0", "gave up")] == [(one.subject, one.reason_class) for one in parked(redis)]


def test_waiting_for_what_is_not_its_own_work_is_no_attempt(redis_server, redis, submit):
    submit(1)

    async def wait(_):
        if len(handler.attempts) <= 3 * QUICK.max_attempts:
            raise Retry("the projection is behind", after=0, counts=False)

    handler = Enrich(wait)

    async def run():
        async with working(redis_server.url, handler):
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert {1} == set(handler.attempts)
    assert ({"note.submitted-0": 1}, []) == (causes(redis), parked(redis))


def test_a_failure_that_no_retry_mends_parks_at_once_and_the_rest_goes_on(redis_server, redis, submit):
    submit(20)

    async def refuse(task):
        if task.cause.event.id == "note.submitted-7":
            raise ValueError("no language")

    handler = Enrich(refuse)

    async def run():
        async with working(redis_server.url, handler):
            await until(lambda: nothing_left(redis) and parked(redis))

    asyncio.run(run())

    assert 19 == len(outcomes(redis))
    assert ["note/7"] == [event.subject for event in outcomes(redis, "note.enrichment_failed")]
    assert [("refused", "ValueError: no language")] == [(one.reason_class, one.reason) for one in parked(redis)]


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError])
def test_an_event_at_which_a_worker_exits_or_is_canceled_by_itself_is_parked_and_the_rest_goes_on(
    redis_server, redis, submit, raised
):
    submit(20)

    async def leave(task):
        if task.cause.event.id == "note.submitted-7":
            raise raised("0")

    async def run():
        async with working(redis_server.url, Enrich(leave)):
            await until(lambda: nothing_left(redis) and parked(redis))

    asyncio.run(run())

    reason = f"RuntimeError: {raised.__name__} was raised: 0"
    assert 19 == len(outcomes(redis))
    assert [("refused", reason)] == [(one.reason_class, one.reason) for one in parked(redis)]


@pytest.mark.parametrize("given_up", ["note.enrichment_failed", "nobody.declares"])
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (lambda task: [task.event("nobody.declares", {})], "InvalidEvent: type: no domain declares 'nobody.declares'"),
        (lambda task: [task.event("note.enriched", {"note_id": 7})], "InvalidEvent: data: is not a valid NoteEnriched"),
        (lambda task: [task.event("note.enriched", {"text": "x" * 1000})], "EventTooLarge: data: "),
        (lambda task: None, "OutcomeInvalid: a handler returns a list of events, not None"),
    ],
)
def test_an_outcome_that_append_refuses_parks_its_event_and_the_rest_goes_on(
    redis_server, redis, submit, outcome, said, given_up
):
    submit(20)

    class Careless(Enrich):
        async def handle(self, task):
            return outcome(task) if task.cause.event.id == "note.submitted-7" else await super().handle(task)

        def give_up(self, task, reason):
            return [task.event(given_up, {"reason": reason})]

    async def run():
        async with working(redis_server.url, Careless(), size_limit=1000):
            await until(lambda: nothing_left(redis) and parked(redis))

    asyncio.run(run())

    [one] = parked(redis)
    unsaid = "; no event says so, because that was refused: InvalidEvent: type: no domain declares"
    assert ("note/7", "refused") == (one.subject, one.reason_class)
    assert one.reason.startswith(said)
    assert (given_up == "nobody.declares") == (unsaid in one.reason)
    assert 19 == len(outcomes(redis))
    assert (given_up != "nobody.declares") == bool(outcomes(redis, "note.enrichment_failed"))


def test_an_event_whose_failure_cannot_be_said_is_parked(redis_server, redis, submit):
    submit(1)

    class Broken(Enrich):
        def give_up(self, task, reason):
            raise KeyError("reason")

    async def refuse(task):
        raise ValueError("no language")

    async def run():
        async with working(redis_server.url, Broken(refuse)):
            await until(lambda: parked(redis))

    asyncio.run(run())

    said = "ValueError: no language; no event says so, because that was refused: KeyError: 'reason' (test_workers.py, "
    [reason] = [one.reason for one in parked(redis)]
    assert reason.startswith(said)


def test_a_parked_event_given_back_by_an_operator_ends_in_an_outcome_of_its_own(redis_server, redis, submit):
    submit(1)
    broken = True

    async def refuse(task):
        if broken:
            raise ValueError("no language")

    async def run():
        nonlocal broken
        async with working(redis_server.url, Enrich(refuse)):
            await until(lambda: parked(redis))
            broken = False
            ParkedEvents(redis, "enrich", NOTES).request_retry(parked(redis)[0])
            await until(lambda: outcomes(redis))
            await until(lambda: not redis.xlen(f"{NOTES.key}:again:enrich"))

    asyncio.run(run())

    assert [] == parked(redis)
    assert {"note.submitted-0": 1} == causes(redis)
    assert 1 == len(outcomes(redis, "note.enrichment_failed"))


def refused_once(redis_server, redis):
    """What a worker is given that parks it the first time, and does it when it is given back."""
    seen = []

    async def refuse(task):
        seen.append(task.cause)
        if len(seen) == 1:
            raise ValueError("no language")

    async def run():
        async with working(redis_server.url, Enrich(refuse)):
            await until(lambda: parked(redis))
            ParkedEvents(redis, "enrich", NOTES).request_retry(parked(redis)[0])
            await until(lambda: outcomes(redis))

    asyncio.run(run())
    return seen


def test_an_event_given_back_has_every_field_that_it_had(redis_server, redis, producer):
    extensions = {"field_parked_position": "x", "field_parked_by": "me", "field_parked_field_a": "b", "color": "red"}
    producer.append_events([new_event("note.submitted", subject="note/1", data={}, extensions=extensions)])
    first, second = refused_once(redis_server, redis)

    assert (extensions, first.position) == (first.event.extensions, second.position)
    assert first.event == second.event


def test_an_event_given_back_stands_where_it_was_parked_whatever_it_says(redis_server, redis):
    foreign = {"ce_id": "1", "ce_source": "s", "ce_type": "other", "ce_time": "2025-08-09T06:36:58Z", "body": "{}"}
    foreign |= {"ce_subject": "note/1", "ce_position": "5-0"}
    twice = [part for pair in [*foreign.items(), ("ce_type", "note.submitted")] for part in pair]
    position = redis.execute_command("XADD", NOTES.key, "*", *twice).decode()
    seen = refused_once(redis_server, redis)

    assert [position, position] == [str(cause.position) for cause in seen]
    assert frozenset() == ParkedEvents(redis, "enrich", NOTES).positions()


def test_a_worker_counts_what_became_of_its_work(redis_server, redis, submit):
    submit(5)
    registry = CollectorRegistry()

    async def refuse(task):
        if task.cause.event.id == "note.submitted-3":
            raise ValueError("no language")

    async def run():
        async with working(redis_server.url, Enrich(refuse), observer=PrometheusWorkObserver("enrich", registry)):
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    def value(name, **labels):
        return registry.get_sample_value(name, {"projection": "enrich", "partition": "notes/0", **labels})

    assert (4, 1) == (value(Metric.WORK, outcome="done"), value(Metric.WORK, outcome="parked"))
    assert 5 == value(f"{Metric.WORK_SECONDS}_count")
    assert 0 == value(Metric.WORK_IN_HAND)


def test_entries_that_are_no_events_are_parked(redis_server, redis, submit):
    redis.xadd(NOTES.key, {"anything": "else"})
    redis.xadd(NOTES.key, {"ce_type": "note.submitted", "ce_subject": "note/x", "body": "{"})
    redis.xadd(NOTES.key, {f"f{number}": "x" for number in range(5000)} | {"ce_type": "note.submitted"})
    submit(3)

    async def run():
        async with working(redis_server.url, Enrich()):
            await until(lambda: nothing_left(redis) and len(outcomes(redis)) == 3)
            (large,) = [one for one in parked(redis) if "not kept here" in one.reason]
            ParkedEvents(redis, "enrich", NOTES).request_retry(large)
            await until(lambda: len(parked(redis)) == 3 and large not in parked(redis))

    asyncio.run(run())

    assert ["undecodable"] * 3 == [one.reason_class for one in parked(redis)]
    assert ["", "note.submitted", "note.submitted"] == sorted(one.type for one in parked(redis))  # a worker takes many


@pytest.mark.parametrize("trouble", [demoted, without_replicas])
def test_a_master_that_is_demoted_or_lacks_replicas_is_waited_for(redis_server, redis, submit, trouble):
    submit(1)

    async def run():
        async with working(redis_server.url, Enrich()) as worker:
            await until(lambda: nothing_left(redis) and len(outcomes(redis)) == 1)
            with trouble(redis):
                await until(lambda: "replica" in (worker.problem or ""))
            submit(2)
            await until(lambda: nothing_left(redis) and len(outcomes(redis)) == 2)

    asyncio.run(run())


def test_work_longer_than_the_hold_is_not_taken_over(redis_server, redis, submit):
    submit(1)

    async def slowly(task):
        first = redis.zscore(f"{NOTES.key}:due:enrich", entry_id(redis))
        await until(lambda: redis.zscore(f"{NOTES.key}:due:enrich", entry_id(redis)) > first + 2000)

    long, other = Enrich(slowly), Enrich()

    async def run():
        async with working(redis_server.url, long):
            await until(lambda: long.seen)
            async with working(redis_server.url, other, owner="two"):
                await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert ([1], []) == (long.attempts, other.attempts)
    assert {"note.submitted-0": 1} == causes(redis)


@pytest.mark.parametrize("concurrency", [4, 1])
def test_work_that_a_stop_interrupts_does_not_count_as_an_attempt(redis_server, redis, submit, concurrency):
    """With one slot, which the work in hand has, nothing else could be taken before the stop."""
    submit(1)

    async def forever(task):
        await asyncio.Event().wait()

    handler, next_one = Enrich(forever), Enrich()

    async def run():
        async with working(redis_server.url, handler, quick(grace=0.01, concurrency=concurrency)):
            await until(lambda: handler.seen)
        async with working(redis_server.url, next_one, owner="two"):
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert [1] == next_one.attempts
    assert {"note.submitted-0": 1} == causes(redis)


def test_a_stop_lets_the_work_in_hand_finish(redis_server, redis, submit):
    submit(8)
    stopping = asyncio.Event()

    async def until_stopped(task):
        await stopping.wait()

    handler = Enrich(until_stopped)

    async def run():
        async with working(redis_server.url, handler) as worker:
            await until(lambda: len(handler.seen) == 4)
            worker.stop()
            stopping.set()

    asyncio.run(run())

    assert [1] * 4 == handler.attempts
    assert 4 == len(outcomes(redis))


def test_an_entry_deleted_while_it_was_put_off_is_counted_as_lost(redis_server, redis, submit):
    submit(1)
    losses = Losses()

    async def fail(task):
        raise Retry("later", after=3600)

    async def run():
        handler = Enrich(fail)
        async with working(redis_server.url, handler):
            await until(lambda: handler.seen)
            await until(lambda: redis.zscore(f"{NOTES.key}:due:enrich", entry_id(redis)) > far_off(redis))
        gone = entry_id(redis)
        redis.xdel(NOTES.key, gone)
        redis.zadd(f"{NOTES.key}:due:enrich", {gone: 0})
        async with working(redis_server.url, Enrich(), observer=losses, owner="two"):
            await until(lambda: losses.count)

    asyncio.run(run())

    assert 1 == losses.count
    assert 0 == redis.xpending(NOTES.key, "enrich")["pending"]


@pytest.mark.parametrize(
    ("after", "said"),
    [(float("nan"), "after=nan"), (float("inf"), "after=inf"), (3 * 86400, "after=259200")],
)
def test_a_wait_that_cannot_be_kept_is_refused(redis_server, redis, submit, after, said):
    submit(1)

    async def fail(task):
        raise Retry("later", after=after)

    async def run():
        async with working(redis_server.url, Enrich(fail)):
            await until(lambda: parked(redis))

    asyncio.run(run())

    assert [f"ValueError: {said} of Retry must be seconds"] == [one.reason.partition(",")[0] for one in parked(redis)]


def test_a_wait_of_a_day_is_kept(redis_server, redis, submit):
    submit(1)

    async def fail(task):
        raise Retry("later", after=86400)

    async def run():
        handler = Enrich(fail)
        async with working(redis_server.url, handler):
            await until(lambda: (redis.zscore(f"{NOTES.key}:due:enrich", entry_id(redis)) or 0) > far_off(redis))
        async with working(redis_server.url, handler, owner="two"):
            submit(2)
            await until(lambda: len(handler.seen) == 2)
        return handler.attempts

    before = far_off(redis) - 1_000_000
    attempts = asyncio.run(run())

    assert [1, 1] == attempts
    assert before + 86_400_000 <= redis.zscore(f"{NOTES.key}:due:enrich", entry_id(redis))


def test_work_put_off_by_a_clock_that_went_back_is_due(redis_server, redis, submit):
    submit(1)

    async def fail(task):
        raise Retry("later")

    async def run():
        first = Enrich(fail)
        async with working(redis_server.url, first, quick(first_delay=3600)):
            await until(lambda: first.seen)
        redis.zadd(f"{NOTES.key}:due:enrich", {entry_id(redis): 1e15})
        async with working(redis_server.url, Enrich(), owner="two"):
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert {"note.submitted-0": 1} == causes(redis)


def test_the_outcome_of_finished_work_waits_for_redis(redis_server, redis, submit):
    submit(1)

    async def kill(task):
        redis_server.kill()

    handler = Enrich(kill)

    async def run():
        async with working(redis_server.url, handler):
            await until(lambda: handler.seen)
            redis_server.start()
            await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert [1] == handler.attempts
    assert {"note.submitted-0": 1} == causes(redis)


@pytest.mark.parametrize(("kind", "expected"), [("guarded", 1), ("naive", 2)])
def test_a_process_stopped_for_longer_than_its_hold_appends_nothing(
    redis_server, redis, submit, wait_until, tmp_path, kind, expected
):
    submit(1)
    with process(redis_server.url, tmp_path, kind) as zombie:
        wait_until(zombie.has_started)
        os.kill(zombie.pid, signal.SIGSTOP)
        with process(redis_server.url, tmp_path, "guarded") as other:
            wait_until(other.has_started)
            (tmp_path / "go").touch()
            wait_until(lambda: nothing_left(redis))
            os.kill(zombie.pid, signal.SIGCONT)
            wait_until(lambda: "taken the entry over" in zombie.log())

    assert expected == causes(redis)["note.submitted-0"]


def test_an_event_that_kills_its_process_again_and_again_is_parked(redis_server, redis, submit, wait_until, tmp_path):
    submit(1)
    (tmp_path / "die").touch()
    for _ in range(3):
        with process(redis_server.url, tmp_path, "guarded") as dying:
            wait_until(dying.has_ended)

    (tmp_path / "die").unlink()
    with process(redis_server.url, tmp_path, "guarded"):
        wait_until(lambda: parked(redis))

    assert [("killed", "the process died 3 times while working on it")] == [
        (one.reason_class, one.reason) for one in parked(redis)
    ]
    assert ["note/0"] == [event.subject for event in outcomes(redis, "note.enrichment_failed")]


class Process:
    def __init__(self, url, directory, kind):
        self._log = directory / f"{uuid4()}.log"
        self._directory = directory
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.worker_program", url, str(directory), kind],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        self.pid = self._process.pid

    def has_started(self):
        assert self._process.poll() is None, self.log()
        return (self._directory / f"started-{self.pid}").exists()

    def has_ended(self):
        return self._process.poll() is not None

    def kill(self):
        self._process.kill()
        self._process.wait()

    def log(self):
        return self._log.read_text()


@contextmanager
def process(url, directory, kind):
    running = Process(url, directory, kind)
    try:
        yield running
    finally:
        running.kill()


def quick(**changes):
    return msgspec.structs.replace(QUICK, **changes)


def entry_id(redis):
    return redis.xrange(NOTES.key, count=1)[0][0]


def far_off(redis):
    return redis.time()[0] * 1000 + 1_000_000


def make_due(redis):
    redis.zadd(f"{NOTES.key}:due:enrich", {entry_id(redis): 0})
