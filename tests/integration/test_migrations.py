"""Migrations of one's own domain on a real Postgres: what is wrong with one is said with its file."""

from uuid import uuid4

import psycopg
import pytest

from playhead.projections.migrations import DatabaseForeign, MigrationFailed, MigrationGone, migrations, upgrade
from tests.support.databases import make_database
from tests.support.processes import Playhead


@pytest.fixture
def database(postgres):
    return make_database(postgres)


@pytest.fixture
def files(tmp_path):
    """Migrations of core and of a domain `invoices`, the first of which is fine."""

    def files(**texts: str):
        for name, text in texts.items():
            (tmp_path / f"{name[1:]}.sql").write_text(text)
        found = {f"invoices/{path.stem}": path for path in sorted(tmp_path.glob("*.sql"))}
        return migrations() | found

    return files


def test_a_migration_that_postgres_refuses_is_named_with_its_line_and_nothing_is_applied(database, files, tmp_path):
    known = files(_0001_bills="CREATE TABLE bills (number text);", _0002_more="-- more\nSELECT 1;\nCREATE TABEL x ();")
    with pytest.raises(MigrationFailed) as failed:
        upgrade(database, known)
    with psycopg.connect(database) as connection:
        made = connection.execute("SELECT to_regclass('bills')").fetchone()

    assert f'{tmp_path}/0002_more.sql, line 3: syntax error at or near "TABEL"' in str(failed.value)
    assert (None,) == made


def test_a_migration_that_fails_as_it_runs_is_named(database, files, tmp_path):
    known = files(_0001_bills="CREATE TABLE bills (number text);\nINSERT INTO bills SELECT 1 / 0;")
    with pytest.raises(MigrationFailed, match=rf"{tmp_path}/0001_bills\.sql.*: division by zero"):
        upgrade(database, known)


def test_an_applied_migration_whose_file_is_gone_is_to_be_restored(database, files, tmp_path):
    upgrade(database, files(_0001_bills="SELECT 1", _0002_more="SELECT 2"))
    (tmp_path / "0002_more.sql").unlink()
    with pytest.raises(MigrationGone) as gone:
        upgrade(database, files())

    assert (
        f"the database has invoices/0002_more, and {tmp_path}/0002_more.sql is missing: restore the file, or install"
        " the version of the domain invoices that has it" == str(gone.value)
    )


def test_migrations_of_a_domain_that_is_not_installed_are_let_be(database, files):
    upgrade(database, files(_0001_bills="SELECT 1"))

    assert [] == upgrade(database, migrations())


@pytest.fixture
def strange(postgres):
    """A database that somebody else fills."""
    name = f"strange_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return psycopg.conninfo.make_conninfo(postgres, dbname=name)


def tables(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        return [name for (name,) in connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'playhead%'")]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE users ()",
        "CREATE SCHEMA app; CREATE TABLE app.users ()",
        "CREATE VIEW users AS SELECT 1",
        "CREATE TABLE users (id int) PARTITION BY HASH (id)",
    ],
)
def test_the_database_of_another_program_is_not_filled_unless_it_is_to_be_shared(strange, made):
    with psycopg.connect(strange) as connection:
        connection.execute(made)
    with pytest.raises(DatabaseForeign, match=r"users\).*playhead db upgrade --share-database"):
        upgrade(strange)
    before = tables(strange)
    applied = upgrade(strange, shared=True)

    assert [] == before
    assert list(migrations()) == applied
    assert [] == upgrade(strange)  # it is ours now, too


def test_many_tables_of_another_program_are_counted(strange):
    with psycopg.connect(strange) as connection:
        for number in range(5):
            connection.execute(f"CREATE TABLE t{number} ()")
    with pytest.raises(DatabaseForeign, match=r"public\.t0, public\.t1, public\.t2 and 2 more"):
        upgrade(strange)


def test_an_empty_database_is_filled_and_the_command_says_where(strange, tmp_path):
    with psycopg.connect(strange) as connection:
        connection.execute("CREATE SCHEMA empty; CREATE TYPE mood AS ENUM ('good')")
    done = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=strange)("db", "upgrade")

    assert list(migrations()) == done.stdout.decode().splitlines()
    assert b"the tables are in the schema playhead of the database strange_" in done.stderr
