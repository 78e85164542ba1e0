"""The projection `jobs` against a real Postgres: exactly once, in order, and nothing a model answers can break it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg
import pytest

from playhead import TableProjection
from playhead.embedded.servers import embedded_servers
from playhead.projections.errors import TransactionEnded
from playhead.projections.failures import classify
from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.migrations import DatabaseNewer, MigrationAltered, migrations, upgrade
from playhead.projections.table_projection import ProjectedTable
from playhead.streams.errors import Fenced, InvalidEvent
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.databases import make_database
from tests.support.places import place_of

PARTITION = Partition("jobs", 0)
LIVE = Source(PARTITION)
REPLAY = Source(PARTITION, "run-1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("servers"), redis=False) as servers:
        assert servers.database_url
        yield servers.database_url


@pytest.fixture
def database(server):
    return make_database(server)


@pytest.fixture
def jobs(database) -> Iterator[Jobs]:
    sink = Jobs(place_of("jobs", database))
    sink.open(PARTITION, 1)
    yield sink
    sink.close()


def job(number, job_id="a", result='"fine"', imported=None, type_="job.completed", data=None):
    payload = data or (
        f'{{"job_id":{json.dumps(job_id)},"job":{{"metadata":{{"scraper_id":"s\\t1"}},'
        f'"created_at":"2025-08-09T06:36:58.200226","provider_config":{{"model":"m"}}}},'
        f'"status":"completed","result":{result},"retry_count":2,"completed_at":"2025-08-09T06:37:00Z",'
        '"processing_time":1.5}'
    )
    event = Event(
        id=f"e{number}",
        source="test",
        type=type_,
        time=imported or "2025-08-09T06:36:58Z",
        subject=job_id,
        data=payload.encode(),
        imported="old.json" if imported else None,
    )
    return Recorded(event, Position(1754800000000 + number, 0))


def batch(*events, source=LIVE):
    return Batch(source, events, events[-1].position)


def query(database, statement="SELECT * FROM jobs ORDER BY job_id"):
    with psycopg.connect(database) as connection:
        return connection.execute(statement).fetchall()


def test_rows_and_checkpoint_appear_together(database, jobs):
    answer = '{"model":"big","usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"text":"x\\ny"}'

    outcome = jobs.apply(batch(job(1, result=answer), job(2, "b", type_="job.renamed")))

    assert outcome == "applied"
    assert query(
        database,
        "SELECT job_id, scraper_id, model, total_tokens, result->>'text', retry_count, processing_time, event_id,"
        " extract(epoch FROM completed_at - created_at)::float FROM jobs",
    ) == [("a", "s\t1", "big", 3, "x\ny", 2, 1.5, "e1", 1.799774)]
    assert query(database, "SELECT position, epoch FROM playhead_checkpoints") == [("1754800000002-0", 1)]
    assert jobs.open(PARTITION, 2) == job(2).position


def test_a_batch_that_fails_leaves_neither_rows_nor_checkpoint(database, jobs):
    with pytest.raises(psycopg.DataError) as failure:
        jobs.apply(batch(job(1), job(2, "b", "1e999999")))

    assert "permanent" == classify(failure.value)
    assert query(database) == []
    assert jobs.open(PARTITION, 1) == Position(0, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("source", [LIVE, REPLAY])
def test_redelivery_in_any_split_changes_nothing(database, jobs, size, source):
    events = [job(number, "abc"[number % 3], str(number)) for number in range(1, 8)]
    jobs.apply(batch(*events))
    expected = query(database)

    for start in range(0, len(events), size):
        outcome = jobs.apply(batch(*events[start : start + size], source=source))
        assert outcome == ("already applied" if source is LIVE else "applied")

    assert expected == query(database)
    assert len(expected) == 3


def test_an_older_event_never_overwrites_a_newer_one(database, jobs):
    jobs.apply(batch(job(5, result="5"), job(3, result="3"), job(9, "b", "9")))
    jobs.apply(batch(job(4, result="4"), job(8, "b", "8"), source=REPLAY))

    assert query(database, "SELECT job_id, result FROM jobs ORDER BY 1") == [("a", 5), ("b", 9)]


def test_a_newer_event_overwrites_every_column(database, jobs):
    jobs.apply(batch(job(1)))
    jobs.apply(batch(job(2, data='{"job_id":"a","error":"out of credit"}', type_="job.failed")))

    assert query(database) == [
        ("a", None, "failed")
        + (None,) * 10
        + ("out of credit", None, None, "e2", "job.failed", "1754800000002-0", str(job(2).order))
    ]


def test_an_imported_event_yields_to_a_later_one_whenever_it_arrives(database, jobs):
    jobs.apply(batch(job(1, result="1")))
    jobs.apply(
        batch(job(2, result="2", imported="2024-01-01T00:00:00Z"), job(3, "b", "3", imported="2024-01-01T00:00:00Z"))
    )
    jobs.apply(batch(job(4, "b", "4")))

    assert query(database, "SELECT job_id, result FROM jobs ORDER BY 1") == [("a", 1), ("b", 4)]


@pytest.mark.parametrize("source", [LIVE, REPLAY])
def test_a_fenced_owner_writes_nothing(database, jobs, source):
    successor = Jobs(place_of("jobs", database))
    successor.open(PARTITION, 2)
    successor.close()

    outcome = jobs.apply(batch(job(1), source=source))

    assert outcome == "fenced"
    assert query(database) == []
    with pytest.raises(Fenced):
        jobs.open(PARTITION, 1)


def test_a_replay_restores_a_table_that_was_emptied(database, jobs):
    events = [job(1), job(2, "b")]
    jobs.apply(batch(*events))
    expected = query(database)
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE jobs")

    jobs.apply(batch(*events, source=REPLAY))

    assert expected == query(database)


def test_a_lost_connection_is_transient_and_opened_again(database, jobs):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'playhead-jobs' AND datname = current_database()"
        )

    with pytest.raises(psycopg.Error) as failure:
        jobs.apply(batch(job(1)))

    assert "transient" == classify(failure.value)
    assert jobs.apply(batch(job(1))) == "applied"


DEEP = "[" * 2000 + "]" * 2000


@pytest.mark.parametrize(
    ("result", "stored", "text"),
    [
        pytest.param(r'"a\u0000b"', None, r'"a\u0000b"', id="NUL in text"),
        pytest.param(r'{"x":"a\u0000b"}', None, r'{"x":"a\u0000b"}', id="NUL in an object"),
        pytest.param(r'{"x":"a\\u0000b"}', {"x": r"a\u0000b"}, None, id="no NUL but its escape"),
        pytest.param('"NaN"', None, "NaN", id="NaN in text"),
        pytest.param('{"x":NaN}', None, '{"x":NaN}', id="NaN in an object"),
        pytest.param('"{\\"x\\":NaN}"', None, '{"x":NaN}', id="NaN in an object in text"),
        pytest.param(r'"\ud800"', None, r'"\ud800"', id="lone surrogate in text"),
        pytest.param(r'{"\ud800":1}', None, r'{"\ud800":1}', id="lone surrogate in a name"),
        pytest.param(r'{"x":["\ude00\ud83d"]}', None, r'{"x":["\ude00\ud83d"]}', id="surrogates in wrong order"),
        pytest.param(r'"\ud83d\ude00"', None, "\U0001f600", id="surrogate pair"),
        pytest.param("1" + "0" * 400, 10**400, None, id="10**400"),
        pytest.param("1e999999", None, "1e999999", id="number out of range"),
        pytest.param(DEEP, None, DEEP, id="deep"),
        pytest.param(json.dumps(DEEP), None, DEEP, id="deep in text"),
        pytest.param(json.dumps('{"x": [1]}'), {"x": [1]}, None, id="object in text"),
        pytest.param(json.dumps("\\N\t\\.\r\n\\"), None, "\\N\t\\.\r\n\\", id="marks of COPY"),
        pytest.param('""', None, "", id="empty"),
        pytest.param("null", None, None, id="null"),
        pytest.param("false", False, None, id="false"),
        pytest.param('{"usage":[],"model":1}', {"usage": [], "model": 1}, None, id="usage of another type"),
        pytest.param('{"usage":{"total_tokens":1e400}}', {"usage": {"total_tokens": 10**400}}, None, id="many tokens"),
    ],
)
def test_a_hostile_result_is_stored(database, jobs, result, stored, text):
    outcome = jobs.apply(batch(job(1, result=result)))

    assert outcome == "applied"
    assert query(database, "SELECT result, result_text FROM jobs") == [(stored, text)]


def test_a_payload_with_spaces_is_read_alike(database, jobs):
    jobs.apply(batch(job(1, data='{ "job_id" : "a" , "result" : null , "error" : "no" , "x" : "\\ud800" }')))
    jobs.apply(batch(job(2, "b", data='{ "job_id" : "b" , "result" : "yes" , "error" : null }')))

    assert query(database, "SELECT status, result_text, error FROM jobs ORDER BY job_id") == [
        ("failed", None, "no"),
        ("completed", "yes", None),
    ]


def test_a_row_another_partition_wrote_meanwhile_is_weighed_again(database, jobs):
    with psycopg.connect(database) as other, ThreadPoolExecutor() as pool:
        other.execute(
            "INSERT INTO jobs (job_id, status, event_id, event_type, position, event_order)"
            " VALUES ('a', 'failed', 'e9', 'job.failed', '9-0', %s)",
            (str(job(9).order),),
        )
        outcome = pool.submit(jobs.apply, batch(job(1), job(2, "b")))
        wait_until_blocked(database)
        other.commit()

        assert outcome.result(timeout=60) == "applied"
    assert query(database, "SELECT job_id, event_id FROM jobs ORDER BY 1") == [("a", "e9"), ("b", "e2")]


def wait_until_blocked(database):
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time.monotonic() + 20
    while not query(database, waiting):
        assert time.monotonic() < deadline


def test_members_of_the_wrong_kind_are_null(database, jobs):
    data = (
        r'{"job_id":"a","job":{"created_at":"9999-99-99T00:00:00Z","metadata":{"scraper_id":"\u0000"},"x":"\u0000"},'
        '"retry_count":99999999999,"processing_time":1e999,"completed_at":7,"error":{"code":1},"status":3}'
    )

    jobs.apply(batch(job(1, data=data)))

    assert query(
        database, "SELECT scraper_id, created_at, completed_at, retry_count, processing_time, job FROM jobs"
    ) == [('"\\u0000"', None, None, None, None, None)]
    assert query(database, "SELECT error, status FROM jobs") == [('{"code":1}', "failed")]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("2025-08-09", "2025-08-09 00:00:00+00"),
        ("2025-08-09t06:36:58z", "2025-08-09 06:36:58+00"),
        ("2025-08-09 06:36:58.1234569+02:00", "2025-08-09 04:36:58.123456+00"),
        ("2016-12-31T23:59:60Z", "2017-01-01 00:00:00+00"),
        ("2025-08-09T24:00:00Z", None),
        ("2025-08-09T06:36:60Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_time_is_stored_however_rfc_3339_allows_to_write_it(database, jobs, written, stored):
    jobs.apply(batch(job(1, data=json.dumps({"job_id": "a", "job": {"created_at": written}, "completed_at": written}))))

    assert [(stored, stored)] == query(database, "SELECT created_at::text, completed_at::text FROM jobs")


@pytest.mark.parametrize("error", ['""', '" "', "false", "0", "{}", "[]", "null"])
def test_an_empty_error_is_none(database, jobs, error):
    jobs.apply(batch(job(1, data=f'{{"job_id":"a","error":{error}}}')))

    assert [("completed", None)] == query(database, "SELECT status, error FROM jobs")


@pytest.mark.parametrize(
    "data", ["[]", "{}", '{"job_id":1}', r'{"job_id":"\u0000"}', r'{"job_id":"\ud800"}', '{"job_id":"a"}}']
)
def test_an_event_without_a_usable_job_id_is_refused_for_good(jobs, data):
    with pytest.raises(InvalidEvent) as failure:
        jobs.apply(batch(job(1, data=data)))

    assert "permanent" == classify(failure.value)


def test_migrations_are_applied_once(database):
    assert upgrade(database) == []


def test_an_altered_migration_is_refused(database, tmp_path):
    altered = tmp_path / "0001_checkpoints.sql"
    altered.write_text("SELECT 1")

    with pytest.raises(MigrationAltered, match="0001_checkpoints"):
        upgrade(database, migrations() | {altered.stem: altered})


def test_a_database_of_a_newer_version_is_refused(database, tmp_path):
    with pytest.raises(DatabaseNewer, match="0002_jobs"):
        upgrade(database, {})


def test_a_result_that_is_not_utf_8_is_kept_as_text(database, jobs):
    data = b'{"job_id":"a","job":{"x":"\xff"},"result":{"x":"\xff\xfe"}}'
    event = msgspec.structs.replace(job(1).event, data=data)

    outcome = jobs.apply(batch(Recorded(event, Position(1754800000001, 0)), job(2, "b")))

    assert outcome == "applied"
    assert query(database, "SELECT result, result_text, job FROM jobs WHERE job_id = 'a'") == [
        (None, r'{"x":"\xff\xfe"}', None)
    ]


class Ending(TableProjection):
    """Ends the transaction that it is given."""

    def __init__(self, place, end):
        super().__init__(place)
        self.end = end

    def apply(self, connection, events):
        self.end(connection)


def roll_back(connection):
    raise psycopg.Rollback


@pytest.mark.parametrize("end", [roll_back, lambda connection: connection.execute("COMMIT")])
def test_a_projection_that_ends_its_transaction_moves_no_checkpoint(database, end):
    sink = ProjectedTable(Ending(place_of("jobs", database), end))
    sink.open(PARTITION, 1)
    with pytest.raises(TransactionEnded):
        sink.apply(batch(job(1)))

    assert Position(0, 0) == sink.open(PARTITION, 2)
    sink.close()


def test_a_process_that_froze_in_its_transaction_does_not_keep_its_successor_out(database, jobs, wait_until):
    successor = Jobs(place_of("jobs", database))
    with jobs._database.transaction() as connection:  # noqa: SLF001  # it freezes in the middle of `apply`
        frozen = batch(job(1))
        jobs._checkpoints.admit(connection, frozen.source, frozen.last)  # noqa: SLF001  # as above

        def is_open():
            try:
                return successor.open(PARTITION, 2) == Position(0, 0)
            except psycopg.errors.LockNotAvailable:
                return False

        wait_until(is_open)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert query(database) == []
    assert jobs.apply(batch(job(1))) == "fenced"
    assert successor.apply(batch(job(1))) == "applied"
    successor.close()
