"""What tasks append at once goes together, and what becomes of it is told to each."""

import asyncio
import gc
import threading
import time
import weakref
from contextlib import contextmanager
from itertools import pairwise

import pytest

from playhead.streams.appending.lanes import STEPS, Lanes, Turns
from playhead.streams.appending.threads import Threads
from playhead.streams.errors import RedisUnavailable
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

JOBS, OTHER = Partition("jobs", 0), Partition("jobs", 1)


class Lost(Exception):
    pass


class Server:
    """Takes batches, one at a time for each partition, when it is let."""

    def __init__(self):
        self.batches = []
        self.open = threading.Event()
        self.open.set()
        self.refused = {}

    def deliver(self, partition, events):
        numbers = [int(event.id) for event in events]
        self.batches.append(numbers)
        assert self.open.wait(60)
        for number in numbers:
            if number in self.refused:
                raise self.refused[number]
        return [Position(number, partition.number) for number in numbers]


@pytest.fixture
def server():
    return Server()


@contextmanager
def lanes_of(server):
    threads = Threads("test", 2)
    try:
        yield Lanes(asyncio.get_running_loop(), threads, server.deliver)
    finally:
        server.open.set()
        threads.stop()


def events(*numbers):
    return [new_event("job.completed", subject="job/1", data={}, id=str(number)) for number in numbers]


async def until(condition):
    while not condition():
        await asyncio.to_thread(time.sleep, 0.001)


def test_what_waits_while_a_batch_is_in_flight_is_the_next_batch_in_order(server):
    async def run():
        with lanes_of(server) as lanes:
            server.open.clear()
            first = lanes.put(JOBS, events(0))
            await until(lambda: server.batches)
            rest = [lanes.put(JOBS, events(number)) for number in range(1, 700)]
            server.open.set()
            return [await one for one in (first, *rest)]

    positions = asyncio.run(run())

    assert [[Position(number, 0)] for number in range(700)] == positions
    assert [[0], list(range(1, 501)), list(range(501, 700))] == server.batches


def test_tasks_that_append_in_one_iteration_go_together(server):
    async def run():
        with lanes_of(server) as lanes:
            await asyncio.gather(*(lanes.put(JOBS, events(number)) for number in range(20)))

    asyncio.run(run())

    assert [list(range(20))] == server.batches


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_sent_before_what_is_prepared_in_a_thread(server, fails):
    prepared, threads = threading.Event(), Threads("test", 2)

    def prepare():
        assert prepared.wait(60)
        assert not fails

    async def run():
        lanes = Lanes(asyncio.get_running_loop(), threads, server.deliver, prepare)

        async def append(number):
            await lanes.turns.take()
            return await lanes.put(JOBS, events(number))

        tasks = [asyncio.create_task(append(number)) for number in range(3)]
        await asyncio.sleep(0)
        before = list(server.batches)
        prepared.set()
        return before, await asyncio.gather(*tasks), lanes.problem

    before, positions, problem = asyncio.run(run())
    threads.stop()

    assert ([], [[Position(n, 0)] for n in range(3)]) == (before, positions)
    assert fails is isinstance(problem, AssertionError)


def test_a_partition_does_not_wait_for_another(server):
    async def run():
        with lanes_of(server) as lanes:
            server.open.clear()
            waiting = lanes.put(JOBS, events(1)), lanes.put(OTHER, events(2))
            await until(lambda: len(server.batches) == 2)
            server.open.set()
            return await asyncio.gather(*waiting)

    assert [[Position(1, 0)], [Position(2, 1)]] == asyncio.run(run())


def test_who_is_canceled_before_its_turn_is_not_sent_and_nobody_else_is_concerned(server):
    async def run():
        with lanes_of(server) as lanes:
            server.open.clear()
            sent, queued, other = lanes.put(JOBS, events(1)), None, None
            await until(lambda: server.batches)
            queued, other = lanes.put(JOBS, events(2)), lanes.put(JOBS, events(3))
            assert sent.cancel() and queued.cancel()
            server.open.set()
            return await other

    assert [Position(3, 0)] == asyncio.run(run())
    assert [[1], [3]] == server.batches


def test_where_redis_is_away_each_is_told_by_an_error_of_its_own(server):
    async def run():
        with lanes_of(server) as lanes:
            server.refused = {1: RedisUnavailable("away")}
            found = await asyncio.gather(*(lanes.put(JOBS, events(n)) for n in range(3)), return_exceptions=True)
            server.refused = {}
            return found, await lanes.put(JOBS, events(4))

    errors, after = asyncio.run(run())

    assert ["away"] * 3 == [str(error) for error in errors]
    assert 3 == len(set(map(id, errors)))
    assert [Position(4, 0)] == after
    assert [[0, 1, 2], [4]] == server.batches


def test_errors_are_forgotten_with_those_who_were_told(server):
    """A cycle of an error and its frames stays until a garbage collection, which stops every thread while it runs."""

    async def run():
        def refuse(partition, events):
            raise RedisUnavailable("away") from Lost("no route")

        server.deliver = refuse
        with lanes_of(server) as lanes:

            async def append(number):
                try:
                    await lanes.put(JOBS, events(number))
                except RedisUnavailable as error:
                    return weakref.ref(error), weakref.ref(error.__cause__)

            return [one for pair in await asyncio.gather(*map(append, range(3))) for one in pair]

    gc.collect()
    gc.disable()
    try:
        remembered = asyncio.run(run())
    finally:
        gc.enable()

    assert [None] * 6 == [one() for one in remembered]


def test_an_event_that_is_refused_for_itself_fails_nobody_else(server):
    async def run():
        with lanes_of(server) as lanes:
            server.refused = {1: ValueError("this one")}
            return await asyncio.gather(*(lanes.put(JOBS, events(n, n + 10)) for n in range(3)), return_exceptions=True)

    first, refused, last = asyncio.run(run())

    assert [Position(0, 0), Position(10, 0)] == first
    assert "this one" == str(refused)
    assert [Position(2, 0), Position(12, 0)] == last


def test_what_is_in_flight_when_its_loop_ends_harms_no_later_loop(server):
    async def abandon(threads):
        server.open.clear()
        Lanes(asyncio.get_running_loop(), threads, server.deliver).put(JOBS, events(1))
        await until(lambda: server.batches)

    async def again(threads):
        server.open.set()
        return await Lanes(asyncio.get_running_loop(), threads, server.deliver).put(JOBS, events(2))

    threads = Threads("test", 2)
    asyncio.run(abandon(threads))

    assert [Position(2, 0)] == asyncio.run(again(threads))
    threads.stop()


def test_steps_are_spread_over_iterations_in_their_order():
    async def run():
        turns = Turns(asyncio.get_running_loop())
        taken, seen, iterations = [], [0], 1000

        async def step(number):
            await turns.take()
            taken.append(number)

        tasks = [asyncio.create_task(step(number)) for number in range(10 * STEPS)]
        while len(taken) < len(tasks) and (iterations := iterations - 1):
            await asyncio.sleep(0)
            seen.append(len(taken))
        return taken, [after - before for before, after in pairwise(seen)]

    taken, steps = asyncio.run(run())

    assert list(range(10 * STEPS)) == taken
    assert max(steps) == STEPS


def test_threads_end_when_they_are_told_and_start_again():
    threads = Threads("ending", 3)

    def names():
        return [thread for thread in threading.enumerate() if thread.name.startswith("ending")]

    assert [n * n for n in range(20)] == [
        one.result(60) for one in [threads.submit(lambda n=n: n * n) for n in range(20)]
    ]
    running = names()
    threads.stop()
    for thread in running:
        thread.join(60)

    assert 1 <= len(running) <= 3
    assert [] == names()
    assert "again" == threads.submit(lambda: "again").result(60)
    threads.stop()
