"""Given parked and dropped events, when a table is compared with the log, then only what is missing is a fault."""

from contextlib import closing

import psycopg
import pytest

from playhead.comparison.partitions import PartitionComparison
from playhead.consumers.reading.parked import ParkedEvents
from playhead.projections.jobs.table.verification import JobsVerification
from tests.support.events import job
from tests.support.pipeline import JOBS
from tests.support.places import place_of


@pytest.fixture
def redis_server(valkey):
    return valkey


def missing(pipeline):
    comparison = PartitionComparison(pipeline.redis, pipeline.directory / "eventlog", "jobs", JOBS)
    with closing(JobsVerification(place_of("jobs", pipeline.database))) as verification:
        return [lack.key for lack in comparison.compare(verification).lacks]


def test_an_event_that_an_operator_dropped_is_no_fault(pipeline):
    pipeline.append(job(1, "job/a"), job(2, "job/b", job_id=None), job(3, "job/b"))
    pipeline.start("log", "jobs")
    pipeline.caught_up("log", "jobs")
    pipeline.stop()
    parked = missing(pipeline)
    events = ParkedEvents(pipeline.redis, "jobs", JOBS)
    for one in list(events):
        events.drop(one)
    dropped = missing(pipeline)
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("DELETE FROM jobs")

    assert ([], [], []) == (parked, dropped, list(events))
    assert ["a"] == missing(pipeline)
