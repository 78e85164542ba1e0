"""What programs may do in the embedded Postgres, and the way from the superuser that they were in version 0.1."""

import json

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege

from playhead.embedded import roles
from playhead.embedded.servers import embedded_servers
from playhead.projections.migrations import lacking, upgrade
from playhead.settings.urls import as_user
from tests.support.addresses import superuser_url
from tests.support.databases import make_database
from tests.support.old_servers import old_servers

REFUSED = [
    "CREATE ROLE mine",
    "ALTER ROLE playhead SUPERUSER",
    "ALTER ROLE playhead_superuser PASSWORD 'mine'",
    "GRANT playhead_superuser TO playhead",
    "SET ROLE playhead_superuser",
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "CREATE EXTENSION file_fdw",
]
MADE = """
CREATE TABLE items (id serial PRIMARY KEY, at int GENERATED ALWAYS AS IDENTITY, value text);
INSERT INTO items (value) VALUES ('kept');
CREATE TABLE parts (id int) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE VIEW seen AS SELECT * FROM items;
CREATE MATERIALIZED VIEW held AS SELECT * FROM items;
CREATE SEQUENCE numbers;
CREATE SCHEMA "My Schema";
CREATE TABLE "My Schema"."Some Table" ();
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql RETURN 2 * n;
CREATE PROCEDURE nothing() LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (a int, b int);
CREATE TYPE span AS RANGE (subtype = int);
CREATE DOMAIN short AS text CHECK (length(value) < 9);
CREATE STATISTICS dependent (dependencies) ON id, at FROM items;
CREATE EXTENSION pg_trgm;
"""
ALTERED = [
    "ALTER TABLE items ADD COLUMN more text",
    "CREATE INDEX ON items USING gin (value gin_trgm_ops)",
    "DROP TABLE parts_low",
    "DROP VIEW seen",
    "REFRESH MATERIALIZED VIEW held",
    "DROP SEQUENCE numbers",
    'DROP SCHEMA "My Schema" CASCADE',
    "DROP FUNCTION twice",
    "DROP PROCEDURE nothing",
    "DROP AGGREGATE total(int)",
    "DROP TYPE mood",
    "DROP TYPE pair",
    "DROP TYPE span",
    "DROP DOMAIN short",
    "DROP STATISTICS dependent",
    "CREATE SCHEMA another",
    "SELECT nextval('items_id_seq')",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA public",
]


@pytest.fixture
def old(tmp_path):
    """A data directory of version 0.1 with something of every kind in it."""
    with old_servers(tmp_path / "data") as (redis_url, database_url):
        with redis.Redis.from_url(redis_url) as client:
            client.set("key", "kept")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(MADE)
            connection.execute("SELECT lo_from_bytea(4711, 'kept')")
            connection.execute("CREATE ROLE reporter LOGIN PASSWORD 'reporter'")
            connection.execute("CREATE TABLE reports AS SELECT 'kept' AS value")
            connection.execute("ALTER TABLE reports OWNER TO reporter")
            connection.execute("GRANT SELECT ON items TO reporter")
            connection.execute("CREATE DATABASE other")
        with psycopg.connect(database_url, dbname="other") as connection:
            connection.execute("CREATE TABLE things AS SELECT 'kept' AS value")
    return tmp_path / "data"


def refused(url, statements):
    """Those of the statements that the role may not."""
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            try:
                connection.execute(statement)
            except InsufficientPrivilege:
                found.append(statement)
    return found


def value(url, table, **options):
    with psycopg.connect(url, **options) as connection:
        return connection.execute(f"SELECT value FROM {table}").fetchone()[0]


def superusers(url):
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper").fetchall()]


@pytest.fixture
def servers(tmp_path):
    with embedded_servers(tmp_path / "data", redis=False) as running:
        yield running


def test_programs_get_a_role_that_owns_its_database_and_nothing_else(servers):
    upgrade(servers.database_url)
    with psycopg.connect(servers.database_url) as connection:
        assert not lacking(connection)

    assert REFUSED == refused(servers.database_url, REFUSED)
    assert [] == refused(servers.database_url, ["CREATE SCHEMA mine", "CREATE EXTENSION pg_trgm", "CREATE TABLE t ()"])
    assert make_database(servers.database_url)


def test_the_password_of_the_superuser_is_in_no_url(servers, tmp_path):
    secret = json.loads((tmp_path / "data/access.json").read_text())["superuser"]

    assert secret not in servers.database_url
    assert secret not in (tmp_path / "data/servers.json").read_text()
    assert ["playhead_superuser"] == superusers(superuser_url(tmp_path / "data"))
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(as_user(servers.database_url, "playhead_superuser", password_of(servers)))


def test_a_directory_of_version_0_1_keeps_its_data_and_loses_its_rights(old):
    with embedded_servers(old) as servers:
        with redis.Redis.from_url(servers.redis_url) as client:
            assert b"kept" == client.get("key")
        assert "old-password" == password_of(servers)
        assert "kept" == value(servers.database_url, "items")
        assert "kept" == value(servers.database_url, "reports")
        assert "kept" == value(servers.database_url, "things", dbname="other")
        assert "kept" == value(as_user(servers.database_url, "reporter", "reporter"), "items")
        assert REFUSED == refused(servers.database_url, REFUSED)
        assert ["playhead_superuser"] == superusers(servers.database_url)
        with psycopg.connect(servers.database_url) as connection:
            assert (b"kept",) == connection.execute("SELECT lo_get(4711)").fetchone()
            connection.execute("SELECT lo_unlink(4711)")
        assert [] == refused(servers.database_url, ALTERED)
        with psycopg.connect(servers.database_url, dbname="other", autocommit=True) as connection:
            connection.execute("DROP TABLE things")
            connection.execute("CREATE SCHEMA mine")
    with embedded_servers(old) as again:
        assert servers == again


@pytest.mark.parametrize("count", range(8))
def test_a_start_that_is_killed_on_the_way_from_version_0_1_is_resumed(old, monkeypatch, count):
    class Killed(BaseException):
        """As kill -9 would, it lets nothing be put in order."""

    run, left = roles._run, iter(range(count))  # noqa: SLF001  # a start is killed between any two statements

    def run_some(*arguments, **parts):
        if next(left, None) is None:
            raise Killed
        run(*arguments, **parts)

    with monkeypatch.context() as patch:
        patch.setattr(roles, "_run", run_some)
        with pytest.raises(Killed), embedded_servers(old, redis=False):
            pytest.fail("all of it was done")
    with embedded_servers(old, redis=False) as servers:
        assert "kept" == value(servers.database_url, "items")
        assert ["playhead_superuser"] == superusers(servers.database_url)
        assert REFUSED == refused(servers.database_url, REFUSED)
        assert [] == refused(servers.database_url, ALTERED)


def password_of(servers):
    return conninfo_to_dict(servers.database_url)["password"]
