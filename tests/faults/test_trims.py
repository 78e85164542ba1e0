"""A foreign XTRIM: another client cuts a stream while projections are behind."""

import random

from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.eventlog.writer import EventLog
from playhead.projections.jobs.table.projection import Jobs
from tests.documents import job
from tests.faults.reports import Harm, Report
from tests.integration.stage import JOBS, Consumer


def test_what_a_foreign_trim_takes_is_read_from_the_log(theatre, report, count, seed):
    runs = count(3, 100)
    chance = random.Random(seed)
    harm = control = Harm()
    for _ in range(runs):
        harm += trim(theatre, chance, with_log=True)
    control += trim(theatre, chance, with_log=False)

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
            theatre.name,
        )
    )


def trim(theatre, chance, *, with_log) -> Harm:
    stage = theatre.begin()
    log_dir = stage.directory / "eventlog"
    settings = ProcessSettings(redis_url=theatre.server.url, reader=ReaderSettings(lease=1.0), event_log_dir=log_dir)
    sink = EventLog(log_dir)
    sink.streams = ("jobs",)
    log = Consumer(sink, settings)
    log.start()
    events = [job(number, f"job/{chance.randrange(60)}") for number in range(200)]
    stage.append(*events[:50])
    if with_log:
        theatre.drain("jobs")
    stage.append(*events[50:])
    stage.caught_up("log")
    stage.redis.xtrim(JOBS.key, maxlen=chance.randrange(100), approximate=False)
    reader = Consumer(Jobs(stage.database), settings if with_log else ProcessSettings(redis_url=theatre.server.url))
    reader.start()
    stage.caught_up("jobs")
    reader.stop()
    log.stop()
    assert (log.failure, reader.failure) == (None, None)
    return theatre.audit("jobs", events)
