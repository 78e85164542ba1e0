"""Workers whose work ends in another stream, and two of them on the same events, after Redis lost its state."""

from collections import Counter

import msgspec
import pytest

from playhead import Domain, Retry
from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.processes.worker import WorkerProcessSettings, WorkerService
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.work.functions import FunctionHandler
from playhead.consumers.work.observer import WorkObserver
from playhead.consumers.work.worker import WorkerSettings
from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.discovery import chosen
from playhead.streams.domains.place import Place
from playhead.streams.names import again_key
from playhead.streams.partitions import Partition
from playhead.testing import ConsumerThread
from tests.support.pipeline import Consumer, running

PARTITIONS = 2
WORKERS = ("german", "french")
LATE = {"german": {0, 1, 2}, "french": {2, 3, 4, 5}}
"""What each has not finished when Redis loses its state for the first time."""

texts = Domain("texts")
originals, translations = texts.stream("originals"), texts.stream("translations")


@originals.event("text.written", subject="text/{number}")
class TextWritten(msgspec.Struct, frozen=True):
    number: int


@translations.event("text.translated", subject="{language}/{number}")
class TextTranslated(msgspec.Struct, frozen=True):
    number: int
    language: str


class Translators:
    """What the workers did, and what they put off."""

    def __init__(self) -> None:
        self.done: Counter[tuple[str, int]] = Counter()
        self.late = LATE

    def translate(self, task):
        if task.data.number in self.late.get(task.worker, ()):
            raise Retry("no translator is free", after=3600)
        self.done[task.worker, task.data.number] += 1
        return TextTranslated(task.data.number, task.worker)


@pytest.fixture
def redis_server(valkey):
    return valkey


@pytest.fixture
def translators():
    made = Translators()
    texts.workers.clear()
    for name in WORKERS:
        texts.worker(name, made.translate, on=TextWritten, ends=TextTranslated)
    with chosen([texts]):
        yield made


class Texts:
    def __init__(self, url, redis, directory) -> None:
        self.url, self.redis, self.directory = url, redis, directory

    def write(self, numbers) -> None:
        with Producer(self.url, partitions=PARTITIONS) as producer:
            for number in numbers:
                producer.append(TextWritten(number))

    def log(self) -> ConsumerThread:
        sink = LogWriter(self.directory)
        sink.streams = (originals.name, translations.name)
        reader = ReaderSettings(lease=1.0)
        return Consumer(sink, ProcessSettings(redis_url=self.url, partitions=PARTITIONS, reader=reader))

    def worker(self, name, catalogue) -> ConsumerThread:
        settings = WorkerProcessSettings(
            redis_url=self.url,
            partitions=PARTITIONS,
            work=WorkerSettings(hold=1.0),
            event_log_dir=self.directory,
            rivals=catalogue.rivals_of(name),
        )
        handler = FunctionHandler(catalogue.workers[name], Place(name, catalogue=catalogue))
        return ConsumerThread(name, self.url, lambda client: WorkerService(handler, settings, client, WorkObserver()))

    def logged(self, type) -> int:
        if not self.directory.exists():
            return 0
        return sum(one.event.type == type for _, one in read(self.directory))

    def nothing_left(self) -> bool:
        """Every group is there, and has nothing in hand."""
        for key, again in (
            (key, again_key(key, name))
            for key in (Partition(originals.name, number).key for number in range(PARTITIONS))
            for name in WORKERS
        ):
            groups = self.redis.xinfo_groups(key) if self.redis.exists(key) else []
            newest = self.redis.xinfo_stream(key)["last-generated-id"] if groups else None
            mine = [group for group in groups if again.endswith(f":{group['name'].decode()}")]
            if not mine or mine[0]["pending"] or mine[0]["last-delivered-id"] != newest or self.redis.xlen(again):
                return False
        return True


def test_work_that_ended_elsewhere_is_done_once_and_that_of_another_worker_counts_for_nothing(
    redis_server, redis, translators, wait_until, tmp_path
):
    with chosen([]) as catalogue:
        texts = Texts(redis_server.url, redis, tmp_path / "eventlog")
        texts.write(range(20))
        with running(texts.log(), *(texts.worker(name, catalogue) for name in WORKERS)):
            wait_until(lambda: texts.logged("text.written") == 20 and texts.logged("text.translated") == 33)
            translators.late = {}
            redis.flushall()
            wait_until(lambda: texts.logged("text.translated") == 40)

            redis.flushall()
            texts.write(range(20, 30))
            wait_until(lambda: texts.logged("text.translated") == 60)
            wait_until(texts.nothing_left)

    assert {(name, number): 1 for name in WORKERS for number in range(30)} == translators.done
    assert 60 == texts.logged("text.translated")
