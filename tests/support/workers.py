"""A worker of notes, the means to run any worker in the loop of a test, and what became of the notes."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from redis.asyncio import Redis as AsyncRedis

from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.observer import WorkObserver
from playhead.consumers.work.worker import Worker, WorkerSettings
from playhead.streams.appending.producer import Producer
from playhead.streams.entries import RawEntry, decode
from playhead.streams.events import DEFAULT_SIZE_LIMIT
from playhead.streams.partitions import Partition

NOTES = Partition("notes", 0)
QUICK = WorkerSettings(concurrency=4, hold=1.0, max_attempts=3, first_delay=0.01, grace=5)


class Enrich:
    """Notes in, enriched notes out; what it does with each is the test's."""

    name = "enrich"
    streams = ("notes",)
    types = frozenset({"note.submitted"})
    ends = frozenset({"note.enriched", "note.enrichment_failed"})

    def __init__(self, work=None):
        self.seen = []
        self.attempts = []
        self._work = work

    def key(self, event):
        return event.subject

    async def handle(self, task):
        self.seen.append(task.cause.event.id)
        self.attempts.append(task.attempt)
        if self._work is not None:
            await self._work(task)
        return [task.event("note.enriched", {"of": task.cause.event.id, "attempt": task.attempt})]

    def give_up(self, task, reason):
        return [task.event("note.enrichment_failed", {"reason": reason, "attempt": task.attempt})]


@asynccontextmanager
async def working(
    url,
    handler,
    settings=QUICK,
    observer=None,
    owner="one",
    partition=NOTES,
    history=None,
    size_limit=DEFAULT_SIZE_LIMIT,
):
    """A worker at work; when the block ends it has stopped as a process does on SIGTERM."""
    with Producer(url, size_limit=size_limit) as producer:
        async with AsyncRedis.from_url(url) as client:
            client.set_response_callback("XREAD", lambda reply, **_: reply)

            async def append(events):
                await asyncio.to_thread(producer.append_events, events)

            holds = Holds(client, handler.name, partition, handler.types, owner=owner, hold=settings.hold)
            worker = Worker(handler, [holds], settings, append, observer or WorkObserver(), history)
            running = asyncio.create_task(worker.run())
            try:
                yield worker
            finally:
                worker.stop()
                await running


def outcomes(redis, type="note.enriched", partition=NOTES):
    return [
        decode(RawEntry(entry_id, [part for pair in fields.items() for part in pair])).event
        for entry_id, fields in redis.xrange(partition.key)
        if fields.get(b"ce_type") == type.encode()
    ]


def causes(redis):
    return Counter(event.causationid for event in outcomes(redis))


def parked(redis):
    return list(ParkedEvents(redis, "enrich", NOTES))


def nothing_left(redis):
    """Everything appended so far was worked on, or passed over, and nothing is held or deferred."""
    newest = redis.xrevrange(NOTES.key, count=1)[0][0]
    groups = {group["name"]: group for group in redis.xinfo_groups(NOTES.key)}
    return (
        b"enrich" in groups
        and groups[b"enrich"]["last-delivered-id"] == newest
        and groups[b"enrich"]["pending"] == 0
        and not redis.zcard(f"{NOTES.key}:due:enrich")
    )
