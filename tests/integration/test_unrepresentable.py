"""Events whose keys Postgres cannot hold have no row, and `verify` looks for none."""

import psycopg
import pytest

from playhead.projections.jobs.table.verification import JobsVerification
from playhead.projections.organizations.verification import OrganizationsVerification
from playhead.projections.recordings.verification import RecordingsVerification
from playhead.projections.table_verification import TableVerification
from playhead.streams.events import Recorded, new_event
from playhead.streams.jobs.events import Job
from playhead.streams.positions import Position
from tests.support.databases import make_database
from tests.support.places import place_of

UNREPRESENTABLE = ["a\0b", "\ud800", "a\0\ud800"]


@pytest.fixture(scope="module")
def database(postgres):
    return make_database(postgres)


def jobs(*ids):
    return [
        Recorded(new_event("job.completed", subject="job/1", data={"job_id": id_, "job": {}}), Position(number, 0))
        for number, id_ in enumerate(ids, 1)
    ]


@pytest.mark.parametrize("key", UNREPRESENTABLE)
@pytest.mark.parametrize("make", [JobsVerification, OrganizationsVerification])
def test_a_job_id_that_postgres_cannot_hold_lacks_no_row(database, make, key):
    verification = make(place_of("organizations" if make is OrganizationsVerification else "jobs", database))
    found = list(verification.lacks(jobs("good", key, "better")))
    verification.close()

    assert [("missing", "good"), ("missing", "better")] == [(lack.kind, lack.key) for lack in found]


def test_a_meeting_id_that_postgres_cannot_hold_lacks_no_row(database, tmp_path):
    verification = RecordingsVerification(place_of("recordings", database), tmp_path, keep=False)
    for number, meeting in enumerate(["good", "a\0b", "better"], 1):
        data = {
            "meeting_id": meeting, "guild_id": "g", "channel_id": "c", "strategy": "hybrid",
            "started_at": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        event = new_event("meeting.started", subject=f"meeting/{meeting}", data=data)
        verification.follow(Recorded(event, Position(number, 0)))
    found = list(verification.differences())
    verification.close()

    assert [("missing", "good"), ("missing", "better")] == [(lack.kind, lack.key) for lack in found]


class Numbers(TableVerification[Job]):
    """A table of one's own whose key is a number."""

    table, key_column = "numbers", "number"

    def key_of(self, data, /):
        return data.job_id


def test_a_number_that_a_column_cannot_hold_lacks_no_row(database):
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE numbers (number bigint, event_order text)")
        connection.execute("INSERT INTO numbers VALUES (7, '0')")
    verification = Numbers(place_of("jobs", database))
    found = list(verification.lacks(jobs("7", "99999999999999999999", "1e400", "8", "a\0b")))
    verification.close()

    assert [("stale", "7"), ("missing", "8")] == [(lack.kind, lack.key) for lack in found]
