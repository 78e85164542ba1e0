"""A foreign XTRIM: another client cuts a stream while projections are behind."""

import random

from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.eventlog.writer import LogWriter
from playhead.projections.jobs.table.projection import Jobs
from tests.faults.reports import Harm, Report
from tests.support.events import job
from tests.support.pipeline import JOBS, Consumer
from tests.support.places import place_of


def test_what_a_foreign_trim_takes_is_read_from_the_log(harness, report, count, seed):
    runs = count(3, 100)
    chance = random.Random(seed)
    harm = control = Harm()
    for _ in range(runs):
        harm += trim(harness, chance, with_log=True)
    control += trim(harness, chance, with_log=False)

    report(
        Report(
            "a foreign XTRIM while the projection is behind",
            "jobs",
            "what the log has is applied, in order",
            runs,
            harm,
            "no log to read",
            control,
            None,
            seed,
            harness.name,
        )
    )


def trim(harness, chance, *, with_log) -> Harm:
    pipeline = harness.begin()
    log_dir = pipeline.directory / "eventlog"
    settings = ProcessSettings(redis_url=harness.server.url, reader=ReaderSettings(lease=1.0), event_log_dir=log_dir)
    sink = LogWriter(log_dir)
    sink.streams = ("jobs",)
    log = Consumer(sink, settings)
    log.start()
    events = [job(number, f"job/{chance.randrange(60)}") for number in range(200)]
    pipeline.append(*events[:50])
    if with_log:
        harness.drain("jobs")
    pipeline.append(*events[50:])
    pipeline.caught_up("log")
    pipeline.redis.xtrim(JOBS.key, maxlen=chance.randrange(100), approximate=False)
    reader = Consumer(
        Jobs(place_of("jobs", pipeline.database)),
        settings if with_log else ProcessSettings(redis_url=harness.server.url),
    )
    reader.start()
    pipeline.caught_up("jobs")
    reader.stop()
    log.stop()
    assert (log.failure, reader.failure) == (None, None)
    return harness.audit("jobs", events)
