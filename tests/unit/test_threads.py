"""Code of a domain in a thread: whatever it raises reaches the coroutine that waits for it."""

import asyncio
import concurrent.futures
from concurrent.futures import ThreadPoolExecutor

import pytest

from playhead.consumers.processes.clock import ClockService
from playhead.consumers.reading.thread import SinkThread
from playhead.streams.appending.threads import Threads, contained


async def in_the_thread_of_a_sink(work):
    with ThreadPoolExecutor(1) as executor:
        await SinkThread(executor).call(work)


async def in_a_thread_of_a_producer(work):
    threads = Threads("test", 1)
    try:
        await asyncio.wrap_future(threads.submit(work))
    finally:
        threads.stop()


NO_RESULTS = [
    StopIteration,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
]


@pytest.mark.parametrize("raised", NO_RESULTS)
@pytest.mark.parametrize("call", [in_the_thread_of_a_sink, in_a_thread_of_a_producer])
def test_what_a_coroutine_cannot_raise_comes_out_as_an_error(call, raised):
    def work():
        raise raised("of the function")

    with pytest.raises(RuntimeError, match=f"{raised.__name__} was raised: of the function") as error:
        asyncio.run(asyncio.wait_for(call(work), 30))

    assert isinstance(error.value.__cause__, raised)


def test_results_and_other_errors_are_left_as_they_are():
    def fail():
        raise KeyError("of the function")

    assert 7 == contained(lambda: 7)
    with pytest.raises(KeyError, match="of the function"):
        contained(fail)


@pytest.mark.parametrize("raised", NO_RESULTS)
def test_a_round_of_a_clock_that_raises_it_failed_and_the_next_one_comes(raised):
    rounds = []

    async def run():
        loop = asyncio.get_running_loop()

        def tidy():
            rounds.append(1)
            if len(rounds) == 2:
                loop.call_soon_threadsafe(service.stop)
            raise raised("of the function")

        service = ClockService("tidy", tidy, 0.01)
        await asyncio.wait_for(service.run(), 30)
        return service.problems()

    problems = asyncio.run(run())

    assert [f"RuntimeError: {raised.__name__} was raised: of the function"] == problems
