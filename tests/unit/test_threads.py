"""Code of a domain in a thread: whatever it raises reaches the coroutine that waits for it."""

import asyncio
import concurrent.futures
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from playhead.consumers.processes.clock import ClockService
from playhead.consumers.processes.service import Supervisor
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


async def in_a_round_of_a_clock(work):
    await ClockService("tidy", work, 3600).run()


NO_RESULTS = [
    StopIteration,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
]


@pytest.mark.parametrize("raised", NO_RESULTS)
@pytest.mark.parametrize("call", [in_the_thread_of_a_sink, in_a_thread_of_a_producer, in_a_round_of_a_clock])
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


def test_a_clock_that_exits_is_a_failure_of_its_process():
    async def run():
        supervisor, over = Supervisor("tidy"), asyncio.Event()
        supervisor.start(ClockService("tidy", lambda: sys.exit(0), 3600), on_failure=over.set)
        await over.wait()
        await supervisor.stop()
        return supervisor.problems()

    with capture_logs() as logs:
        problems = asyncio.run(run())

    assert ["RuntimeError: SystemExit was raised: 0"] == problems
    assert [("consumer failed", "critical")] == [(entry["event"], entry["log_level"]) for entry in logs]
