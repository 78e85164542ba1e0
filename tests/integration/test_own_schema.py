"""The schema of Playhead's tables on a real Postgres, and the move of those that an earlier version made in another."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from playhead.checks.postgres import check_postgres
from playhead.checks.table_marks import marks_of_database
from playhead.projections import relocation
from playhead.projections.checkpoints import SchemaLost
from playhead.projections.failures import classify
from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.migrations import (
    DatabaseForeign,
    DatabaseNotOwned,
    DatabaseNotUpgraded,
    SchemaNotCreated,
    SchemaNotUsable,
    migrations,
    upgrade,
)
from playhead.projections.postgres import SQL, Database, connect
from playhead.projections.relocation import OWN_SCHEMA, NotRelocated, TablesInUse
from playhead.projections.roles import make_roles
from playhead.settings.urls import as_user
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from tests.support.databases import make_database
from tests.support.places import place_of
from tests.support.processes import Playhead

PARTITION = Partition("jobs", 0)
EVERY_KIND = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN amount AS int CHECK (VALUE > 0);
CREATE SEQUENCE numbers START 7;
CREATE TABLE bills (id serial PRIMARY KEY, number int DEFAULT nextval('numbers'), of_mood mood, sum amount);
CREATE INDEX bills_number ON bills (number);
CREATE TABLE parts (bill int REFERENCES bills, day date, number int GENERATED ALWAYS AS IDENTITY)
    PARTITION BY LIST (day);
CREATE STATISTICS bills_statistics ON number, sum FROM bills;
CREATE FUNCTION sums(of_mood mood) RETURNS bigint LANGUAGE plpgsql
    AS $$ BEGIN RETURN (SELECT sum(sum) FROM bills WHERE bills.of_mood = sums.of_mood); END $$;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.sum = NEW.sum + 1; RETURN NEW; END $$;
CREATE TRIGGER noted BEFORE INSERT ON bills FOR EACH ROW EXECUTE FUNCTION noted();
CREATE VIEW good_bills AS SELECT * FROM bills WHERE of_mood = 'good';
CREATE MATERIALIZED VIEW bill_count AS SELECT count(*) FROM bills;
"""
STRANGERS = """
CREATE TABLE users (id int);
CREATE FUNCTION sums(id int) RETURNS int LANGUAGE sql AS 'SELECT 1';
"""


@pytest.fixture
def postgres(superuser) -> str:
    return superuser


@pytest.fixture
def files(tmp_path):
    """The migrations of an earlier version, and those of a domain."""
    (tmp_path / "0001_bills.sql").write_text(EVERY_KIND)
    return {name: path for name, path in migrations().items() if name != OWN_SCHEMA} | {
        "invoices/0001_bills": tmp_path / "0001_bills.sql"
    }


@pytest.fixture
def database(postgres) -> str:
    """A database of a user whose search path is that of the server, with tables of an earlier version."""
    url = make_owned(postgres)
    make_earlier(url)
    return url


def make_owned(postgres: str, options: str = "") -> str:
    """An empty database of a user of its own, who may make roles."""
    name = f"old_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'old' {options}")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    return as_user(psycopg.conninfo.make_conninfo(postgres, dbname=name), name, "old")


def make_earlier(url: str, files: dict[str, Path] | None = None) -> None:
    """Make the tables that an earlier version makes with a URL."""
    known = files or {name: path for name, path in migrations().items() if name != OWN_SCHEMA}
    upgrade(url, known, schema="public", shared=True)


def job(number: int) -> Recorded:
    event = Event(
        id=f"e{number}",
        source="test",
        type="job.completed",
        time="2025-08-09T06:36:58Z",
        subject=f"job/{number}",
        data=b'{"job_id": "%d", "job": {}, "status": "completed", "result": "fine"}' % number,
    )
    return Recorded(event, Position(1754800000000 + number, 0))


def batch(*events: Recorded) -> Batch:
    return Batch(Source(PARTITION), events, events[-1].position)


def sink_in(database: str, schema: str = "playhead") -> Iterator[Jobs]:
    return closing(Jobs(place_of("jobs", database, schema=schema)))


def query(database: str, statement: str) -> list[tuple]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def objects(database: str, schema: str) -> set[str]:
    """What is in a schema, but for indexes, types of tables and such."""
    with psycopg.connect(database) as connection:
        return {identity for _, identity in connection.execute((SQL / "objects.sql").read_bytes(), (schema,))}


def ids(database: str) -> list[str]:
    return [name for (name,) in query(database, "SELECT event_id FROM playhead.jobs ORDER BY 1")]


def test_everything_that_migrations_made_is_moved_and_nothing_of_anybody_else(postgres, files):
    database, told = make_owned(postgres), []
    with psycopg.connect(database) as connection:
        connection.execute(STRANGERS)
    make_earlier(database, files)
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE parts_today PARTITION OF parts FOR VALUES IN ('2025-08-09')")
        connection.execute("INSERT INTO bills (of_mood, sum) VALUES ('good', 4)")
        connection.execute("INSERT INTO parts VALUES (1, '2025-08-09')")
    before = objects(database, "public")
    applied = upgrade(database, files | migrations(), tell=told.append)
    after, left = objects(database, "playhead"), objects(database, "public")

    assert [OWN_SCHEMA] == applied
    assert ["the tables were moved from the schema public to playhead"] == told
    assert {"public.users", "public.sums(integer)", "public.playhead_migrations"} == left
    assert {"public.parts", "public.parts_today", "public.sums(public.mood)", "public.numbers", "public.mood"} < before
    assert {one.replace("public.", "playhead.") for one in before} == after | {
        "playhead.users",
        "playhead.sums(integer)",
    }
    assert [] == upgrade(database, files | migrations())
    with connect(database, schema="playhead") as connection:
        connection.execute("INSERT INTO bills (of_mood, sum) VALUES ('good', 1)")
        connection.execute("INSERT INTO parts VALUES (2, '2025-08-09')")

        assert [(1, 7, 5), (2, 8, 2)] == connection.execute("SELECT id, number, sum FROM good_bills").fetchall()
        assert (7,) == connection.execute("SELECT sums('good'::mood)").fetchone()
        assert [(1,), (2,)] == connection.execute("SELECT number FROM parts_today ORDER BY 1").fetchall()


def test_a_consumer_refuses_tables_that_wait_to_be_moved_and_goes_on_where_they_are(database):
    with sink_in(database, "public") as old, sink_in(database) as new:
        upgrade_in_public(database)
        old.open(PARTITION, 1)
        old.apply(batch(job(1), job(2)))
        mark_as_earlier(database)
        with pytest.raises(
            DatabaseNotUpgraded, match=r"in the schema public, .*playhead db upgrade.*PLAYHEAD_SCHEMA=public"
        ):
            new.open(PARTITION, 2)
        untouched = query(database, "SELECT nspname FROM pg_namespace WHERE nspname = 'playhead'")
        upgrade(database)
        position = new.open(PARTITION, 2)
        again, more = new.apply(batch(job(1), job(2))), new.apply(batch(job(3)))

    assert [] == untouched
    assert job(2).position == position
    assert ("already applied", "applied") == (again, more)
    assert ["e1", "e2", "e3"] == ids(database)


def upgrade_in_public(database: str) -> None:
    """Let this version serve as an earlier one: it takes no tables without its own migrations."""
    upgrade(database, schema="public")


def mark_as_earlier(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM public.playhead_migrations WHERE name = %s", (OWN_SCHEMA,))


def test_tables_move_between_two_batches_of_a_running_consumer(database, wait_until):
    upgrade_in_public(database)
    applied, failed = [], []

    def consume(old: Jobs) -> None:
        for number in range(1, 100_000):
            try:
                old.apply(batch(job(number)))
            except psycopg.Error as error:
                failed.append(error)
                return
            applied.append(f"e{number}")

    with sink_in(database, "public") as old:
        old.open(PARTITION, 1)
        mark_as_earlier(database)
        consumer = Thread(target=consume, args=(old,))
        consumer.start()
        wait_until(lambda: len(applied) >= 20 or not consumer.is_alive())
        upgrade(database)
        consumer.join(30)
    with sink_in(database) as new:
        position = new.open(PARTITION, 2)

    assert len(applied) >= 20
    assert sorted(applied) == ids(database)
    assert job(len(applied)).position == position
    assert ["transient"] == [classify(error) for error in failed]
    assert 'relation "playhead_checkpoints" does not exist' in str(failed[0])


def test_an_earlier_version_refuses_the_database_and_makes_no_second_tables(database):
    upgrade(database)
    with psycopg.connect(database) as connection:  # as it does
        connection.execute(
            "CREATE TABLE IF NOT EXISTS playhead_migrations (name text PRIMARY KEY, sha256 text NOT NULL)"
        )
        known = connection.execute("SELECT name, sha256 FROM playhead_migrations").fetchall()
    with pytest.raises(DatabaseForeign, match=r"moved to the schema playhead.*PLAYHEAD_SCHEMA names public"):
        upgrade(database, schema="public", shared=True)

    assert [("tables that were moved to the schema playhead", "")] == known
    assert {"public.playhead_migrations"} == objects(database, "public")


def test_tables_that_somebody_locks_are_not_moved_and_the_upgrade_says_what_to_do(database, monkeypatch):
    monkeypatch.setattr(relocation, "LOCK_TIMEOUT", 100)
    with psycopg.connect(database) as reading:
        reading.execute("SELECT FROM public.jobs")
        with pytest.raises(TablesInUse, match=r"stop the consumers.*playhead db upgrade. again"):
            upgrade(database)
    standing = objects(database, "playhead")
    upgrade(database)

    assert set() == standing
    assert [] == ids(database)


def test_a_migration_that_does_not_run_again_leaves_everything_where_it_is(database, tmp_path):
    (tmp_path / "0001_bills.sql").write_text("CREATE SCHEMA once; CREATE TABLE bills (id int)")
    known = migrations() | {"invoices/0001_bills": tmp_path / "0001_bills.sql"}
    make_earlier(database, {name: path for name, path in known.items() if name != OWN_SCHEMA})
    before = objects(database, "public")
    with pytest.raises(NotRelocated, match=r"0001_bills\.sql.*once.*PLAYHEAD_SCHEMA=public"):
        upgrade(database, known)

    assert before == objects(database, "public")
    assert [OWN_SCHEMA] == upgrade(database, known, schema="public")


def test_tables_of_a_domain_that_is_not_installed_stay_and_are_named(database, files):
    make_earlier(database, files)
    told = []
    upgrade(database, migrations(), tell=told.append)

    assert "public.bills" in objects(database, "public")
    assert "playhead.jobs" in objects(database, "playhead")
    assert any("tables of invoices, which is not installed, stay in the schema public" in one for one in told)


def test_roles_that_were_made_before_keep_what_they_may(database, tmp_path):
    urls = {
        role.name.rpartition("_")[2]: as_user(database, role.name, role.password)
        for role in make_roles_of_earlier(database)
    }
    with pytest.raises(DatabaseNotOwned, match=r"in the schema public.*_owner"):
        upgrade(urls["writer"])
    upgrade(urls["owner"])
    (tmp_path / "0001_bills.sql").write_text("CREATE TABLE bills (id serial, number text);")
    upgrade(urls["owner"], migrations() | {"invoices/0001_bills": tmp_path / "0001_bills.sql"})
    with connect(urls["writer"], schema="playhead") as connection:
        connection.execute("INSERT INTO bills (number) VALUES ('1')")
        connection.execute("DELETE FROM jobs")
    with connect(urls["reader"], schema="playhead") as connection:
        read = [connection.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("bills", "jobs")]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM bills")
    make_roles(database)

    assert [(1,), (0,)] == read
    assert [(1,)] == query(urls["reader"], "SELECT count(*) FROM bills")  # names without a schema, again


def make_roles_of_earlier(database: str):
    upgrade_in_public(database)
    roles = make_roles(database, schema="public").roles
    mark_as_earlier(database)
    return roles


def test_a_role_that_read_a_table_can_read_it_where_it_is_now(postgres, database):
    name = f"dashboard_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    with psycopg.connect(database) as connection:
        connection.execute(f"GRANT SELECT ON jobs TO {name}")
    upgrade(database)
    dashboard = as_user(database, name, "x")

    assert [(0,)] == query(dashboard, "SELECT count(*) FROM playhead.jobs")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query(dashboard, "SELECT * FROM playhead.recordings")


def test_a_superuser_moves_tables_for_their_owner(postgres, database):
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    upgrade(psycopg.conninfo.make_conninfo(postgres, dbname=name))
    with sink_in(database) as sink:
        position = sink.open(PARTITION, 1)

    assert Position(0, 0) == position
    assert [(name,)] == query(database, "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'playhead'")


def test_who_may_not_create_a_schema_is_told_what_to_do(postgres):
    owned = make_owned(postgres)
    name = psycopg.conninfo.conninfo_to_dict(owned)["dbname"]
    guest = f"guest_{uuid4().hex}"
    with psycopg.connect(psycopg.conninfo.make_conninfo(postgres, dbname=name), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {guest} LOGIN PASSWORD 'x'")
        url = as_user(owned, guest, "x")
        with pytest.raises(SchemaNotCreated, match=f"CREATE SCHEMA playhead AUTHORIZATION {guest}"):
            upgrade(url)
        connection.execute(f"CREATE SCHEMA playhead AUTHORIZATION {guest}")

    assert list(migrations()) == upgrade(url)


def test_a_role_that_may_not_use_the_schema_is_told_so(postgres, database):
    upgrade(database)
    name = f"guest_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    url = as_user(database, name, "x")
    with sink_in(url) as sink, pytest.raises(SchemaNotUsable, match=f"GRANT USAGE ON SCHEMA playhead TO {name}"):
        sink.open(PARTITION, 1)
    with pytest.raises(SchemaNotUsable):
        upgrade(url)


def test_another_installation_in_the_database_is_asked_about_and_not_taken(postgres):
    database = make_owned(postgres)
    upgrade(database, schema="first")
    with pytest.raises(DatabaseForeign, match=r"in the schema first: .*PLAYHEAD_SCHEMA=first.*--share-database"):
        upgrade(database, schema="second")
    upgrade(database, schema="second", shared=True)
    with sink_in(database, "first") as first, sink_in(database, "second") as second:
        first.open(PARTITION, 1)
        first.apply(batch(job(1)))
        position = second.open(PARTITION, 1)

    assert Position(0, 0) == position
    assert [(1, 0)] == query(database, "SELECT (SELECT count(*) FROM first.jobs), (SELECT count(*) FROM second.jobs)")


def test_tables_of_an_earlier_version_that_the_url_does_not_lead_to_are_asked_about(postgres):
    database = make_owned(postgres)
    elsewhere = psycopg.conninfo.make_conninfo(database, options="-c search_path=other")
    upgrade(elsewhere, {name: path for name, path in migrations().items() if name != OWN_SCHEMA}, schema="other")
    with pytest.raises(DatabaseForeign, match=r"tables of Playhead in the schema other"):
        upgrade(database)

    assert [OWN_SCHEMA] == upgrade(elsewhere)
    assert "playhead.jobs" in objects(database, "playhead")


@pytest.mark.parametrize("schema", ["playhead", 'My "schema"'])
@pytest.mark.parametrize("way", ["options", "service", "role"])
def test_no_path_of_server_role_or_url_leads_elsewhere(postgres, tmp_path, monkeypatch, way, schema):
    database = make_owned(postgres)
    parts = psycopg.conninfo.conninfo_to_dict(database)
    url = database
    if way == "options":
        url = psycopg.conninfo.make_conninfo(database, options="-c search_path=public")
    elif way == "service":
        lines = [f"{key}={value}" for key, value in parts.items()]
        (tmp_path / "services").write_text("\n".join(["[ours]", *lines, "options=-c search_path=public", ""]))
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        url = "service=ours"
    else:
        query_ = f"ALTER ROLE {parts['user']} SET search_path = public"
        with psycopg.connect(database) as connection:
            connection.execute(query_)
    upgrade(url, schema=schema)
    with sink_in(url, schema) as sink:
        sink.open(PARTITION, 1)
        sink.apply(batch(job(1)))
    with psycopg.connect(database) as connection:
        found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "jobs"))).fetchone()

    assert (1,) == found
    assert set() == objects(database, "public")


def lose_schema(sink: Jobs) -> None:
    """Do what a pooler of transactions does, which gives the connection to others in between."""
    with sink._database.transaction() as connection:  # noqa: SLF001  # no pooler is at hand
        connection.execute("SET search_path TO other")


def test_a_connection_that_lost_its_schema_writes_nothing_and_is_opened_again(postgres):
    database = make_owned(postgres)
    upgrade(database)
    upgrade(database, schema="other", shared=True)
    with sink_in(database) as sink, sink_in(database, "other") as other:
        for one in (sink, other):
            one.open(PARTITION, 1)
        lose_schema(sink)
        with pytest.raises(SchemaLost, match="in the schema other, not in playhead") as lost:
            sink.apply(batch(job(1)))
        again = sink.apply(batch(job(1)))

    assert "transient" == classify(lost.value)
    assert "applied" == again
    assert [(1, 0)] == query(database, "SELECT (SELECT count(*) FROM playhead.jobs), (SELECT count(*) FROM other.jobs)")


def test_a_connection_is_opened_again_if_it_finds_no_table(postgres):
    database = make_database(postgres)
    with closing(Database(database, "test", "playhead")) as ours:
        with ours.transaction() as connection:
            connection.execute("SET search_path TO public")
        with pytest.raises(psycopg.errors.UndefinedTable), ours.transaction() as connection:
            connection.execute("SELECT FROM jobs")
        with ours.transaction() as connection:
            rows = connection.execute("SELECT FROM jobs").fetchall()

    assert [] == rows


def test_doctor_and_what_reads_checkpoints_say_that_tables_wait_to_be_moved(database):
    complaints = []
    checks = {check.name: check for check in check_postgres(database, "here")}
    marks = marks_of_database(database, complaints.append)

    assert "fail" == checks["postgres migrations"].result
    assert "the tables are in the schema public" in checks["postgres migrations"].advice
    assert [] == marks
    assert ["the tables are in the schema public" in one for one in complaints] == [True]


def test_the_command_says_what_it_moved_and_how_to_query_it(database, tmp_path):
    playhead = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database)
    first, again = playhead("db", "upgrade"), playhead("db", "upgrade")

    assert [OWN_SCHEMA] == first.stdout.decode().splitlines()
    assert b"moved from the schema public to playhead" in first.stderr
    assert b"query them as playhead.TABLE" in first.stderr
    assert (b"the database is up to date\n", b"") == (again.stdout, again.stderr)


@pytest.mark.parametrize("name", ["pg_mine", "information_schema", " x", "x" * 64])
def test_a_name_that_is_no_schema_of_ours_is_refused(tmp_path, name):
    refused = Playhead(tmp_path, "redis://127.0.0.1:1", PLAYHEAD_SCHEMA=name)("db", "upgrade", check=False)

    assert 2 == refused.returncode
    assert b"PLAYHEAD_SCHEMA" in refused.stderr and b"63 bytes" in refused.stderr
