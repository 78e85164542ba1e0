"""A thousand tasks that append until stdin closes, and what their event loop did meanwhile.

Prints `away` for the first event that Redis did not take, and at the end, as JSON: how many events each task had
acknowledged, the longest that one iteration of the event loop computed, in milliseconds, and what its thread did that
may block.
"""

import asyncio
import gc
import json
import random
import sys
import threading
import time

from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.errors import RedisUnavailable

TASKS = 1000
FILES = {"open", "os.listdir", "os.scandir", "os.mkdir", "fcntl.flock", "import"}
BLOCKING = FILES | {"socket.connect", "socket.getaddrinfo", "time.sleep"}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class MeasuredLoop(asyncio.SelectorEventLoop):
    """Knows how long its longest iteration computed: other programs of the machine do not lengthen that.

    Python's garbage collections do not count: how long one takes depends on all the objects of the program.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._thread = threading.get_ident()
        self._collecting = self._collection = 0.0
        gc.callbacks.append(self._collected)

    def _run_once(self) -> None:
        start, self._collecting = time.thread_time(), 0.0
        super()._run_once()
        self.longest = max(self.longest, time.thread_time() - start - self._collecting)

    def _collected(self, phase: str, _: object) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._collection = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._collection


class Watch:
    """Notes calls of this thread that may block."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.on = False
        self._thread = threading.get_ident()
        sys.addaudithook(self._heard)

    def _heard(self, event: str, _: object) -> None:
        if self.on and event in BLOCKING and threading.get_ident() == self._thread:
            self.seen.add(event)


class Tasks:
    def __init__(self, producer: AsyncProducer) -> None:
        self.acknowledged = [0] * TASKS
        self.stopping = asyncio.Event()
        self._producer = producer
        self._away = False

    async def run(self, task: int) -> None:
        while not self.stopping.is_set():
            await self._append(task, self.acknowledged[task])
            self.acknowledged[task] += 1
            await asyncio.sleep(random.random() / 4)

    async def _append(self, task: int, number: int) -> None:
        while True:
            try:
                position = await self._producer.append(
                    "job.completed", subject=f"job/{task}", data={"n": number}, id=f"{task}-{number}"
                )
            except RedisUnavailable:
                self._say_away()
                await asyncio.sleep(random.random() / 4)
            else:
                if position is None:
                    self._say_away()
                return

    def _say_away(self) -> None:
        if not self._away:
            self._away = True
            say("away")


async def main(url: str, spool: str | None, watch: Watch) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MeasuredLoop)
    async with AsyncProducer(url, spool=spool, timeout=1) as producer:
        tasks = Tasks(producer)
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(tasks.stopping.set))).start()
        gc.freeze()  # or a collection goes through the objects of all modules, which takes 20 ms
        watch.on = True
        await asyncio.gather(*(tasks.run(task) for task in range(TASKS)))
        await producer.flush()
        watch.on = False
    return {"acknowledged": tasks.acknowledged, "longest": 1000 * loop.longest, "blocking": sorted(watch.seen)}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
        say(json.dumps(runner.run(main(sys.argv[1], sys.argv[2] or None, Watch()))))
