"""Roles in Postgres: consumers write as one, people read as another, and only the owner changes tables."""

import json
import re
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import Identifier

from playhead.projections.migrations import DatabaseNotOwned, migrations, upgrade
from playhead.projections.powers import RoleTooPowerful
from playhead.projections.roles import make_roles
from playhead.settings.urls import as_user
from tests.support.databases import make_database
from tests.support.processes import Playhead

REFUSED_TO_READERS = [
    "INSERT INTO playhead_checkpoints (projection) VALUES ('x')",
    "UPDATE jobs SET status = 'x'",
    "DELETE FROM jobs",
    "TRUNCATE jobs",
    "LOCK TABLE jobs IN EXCLUSIVE MODE",
    "SELECT FROM jobs FOR UPDATE",
    "CREATE TEMP TABLE mine ()",
]
REFUSED_TO_ALL_BUT_THE_OWNER = [
    "CREATE TABLE mine ()",
    "CREATE SCHEMA mine",
    "ALTER TABLE jobs ADD COLUMN mine text",
    "DROP TABLE jobs",
    "INSERT INTO playhead_migrations (name, sha256) VALUES ('x', 'y')",
    "DELETE FROM playhead_migrations",
    "CREATE ROLE mine",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY jobs TO PROGRAM 'cat'",
]

PATH = "-c search_path=playhead,public"
"""What a superuser sets by hand to work on our tables."""


@pytest.fixture
def database(superuser):
    return make_database(superuser)


def made(database: str, *consumers: str) -> dict[str, str]:
    """The URL of each role that was made, by owner, writer, reader, or a consumer."""
    return {
        role.name.rpartition("_")[2]: as_user(database, role.name, role.password)
        for role in make_roles(database, consumers=consumers).roles
        if role.password is not None
    }


@pytest.fixture
def urls(database):
    return made(database)


def refused(url: str, statements: list[str]) -> list[str]:
    """Those of the statements that the role is refused."""
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(statement)
            except InsufficientPrivilege:
                found.append(statement)
    return found


def rows(url: str, table: str = "jobs") -> int:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()[0]


def test_a_reader_can_select_and_nothing_else(urls):
    assert REFUSED_TO_READERS == refused(urls["reader"], REFUSED_TO_READERS)
    assert REFUSED_TO_ALL_BUT_THE_OWNER == refused(urls["reader"], REFUSED_TO_ALL_BUT_THE_OWNER)
    assert len(migrations()) == rows(urls["reader"], "playhead_migrations")


def test_a_writer_can_change_rows_and_no_tables(urls):
    assert REFUSED_TO_ALL_BUT_THE_OWNER == refused(urls["writer"], REFUSED_TO_ALL_BUT_THE_OWNER)
    assert ["TRUNCATE jobs"] == refused(urls["writer"], REFUSED_TO_READERS[1:])


@pytest.mark.parametrize("role", ["owner", "administrator"])
def test_tables_of_later_migrations_are_the_owners_and_granted_to_the_others(database, urls, tmp_path, role):
    (tmp_path / "0001_bills.sql").write_text("CREATE TABLE bills (id serial, number text);")
    later = migrations() | {"invoices/0001_bills": tmp_path / "0001_bills.sql"}
    for who in ("writer", "reader"):
        with pytest.raises(DatabaseNotOwned, match=r"invoices/0001_bills.*_owner"):
            upgrade(urls[who], later)
    upgrade(urls.get(role, database), later)
    with psycopg.connect(urls["writer"]) as connection:
        connection.execute("INSERT INTO bills (number) VALUES ('1')")

    assert 1 == rows(urls["reader"], "bills")
    assert ["DELETE FROM bills"] == refused(urls["reader"], ["DELETE FROM bills"])
    assert ["DROP TABLE bills"] == refused(urls["writer"], ["DROP TABLE bills"])
    assert [] == refused(urls["owner"], ["DROP TABLE bills"])


def test_making_them_again_changes_no_password_and_grants_what_is_missing(database, urls):
    with psycopg.connect(database, autocommit=True, options=PATH) as connection:
        connection.execute(f"REVOKE ALL ON jobs FROM {connection.info.dbname}_reader")
    again = make_roles(database)

    assert [None, None, None] == [role.password for role in again.roles]
    assert 0 == rows(urls["reader"])


def test_who_owns_the_database_and_may_make_roles_need_be_no_superuser(superuser):
    name = f"plain_{uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'plain'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    database = as_user(psycopg.conninfo.make_conninfo(superuser, dbname=name), name, "plain")
    upgrade(database)
    urls = made(database)

    assert {} == made(database)
    assert [] == upgrade(database)
    assert REFUSED_TO_READERS == refused(urls["reader"], REFUSED_TO_READERS)
    assert ["TRUNCATE jobs"] == refused(urls["writer"], REFUSED_TO_READERS[1:])


def test_tables_of_another_program_are_not_touched(superuser):
    name = f"shared_{uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(f"CREATE ROLE {name}")
    database = psycopg.conninfo.make_conninfo(superuser, dbname=name)
    with psycopg.connect(database, autocommit=True, options=PATH) as connection:
        connection.execute("CREATE TABLE users ()")
        upgrade(database, shared=True)
        shared = make_roles(database).shared
        (owned,) = connection.execute(
            "SELECT pg_get_userbyid(relowner) = current_user FROM pg_class WHERE relname = 'users'"
        ).fetchone()
        (seen,) = connection.execute(
            "SELECT has_table_privilege(%s, 'users', 'SELECT')", (f"{name}_writer",)
        ).fetchone()
        (temporary,) = connection.execute("SELECT has_database_privilege(%s, %s, 'TEMP')", (name, name)).fetchone()

    assert (True, True, False, True) == (shared, owned, seen, temporary)


def test_a_role_that_was_there_keeps_no_grant_that_is_too_much(database, tmp_path):
    with psycopg.connect(database, autocommit=True, options=PATH) as connection:
        name = connection.info.dbname
        for role in ("owner", "writer", "reader"):
            connection.execute(f"CREATE ROLE {name}_{role} LOGIN PASSWORD 'given'")
        connection.execute(f"GRANT INSERT, UPDATE, DELETE ON jobs TO {name}_reader WITH GRANT OPTION")
        connection.execute(f"GRANT UPDATE (sha256) ON playhead_migrations TO {name}_writer")
        connection.execute(f"GRANT CREATE ON SCHEMA playhead TO {name}_reader")
        connection.execute(f"GRANT CREATE, TEMPORARY ON DATABASE {name} TO {name}_reader")
        connection.execute(f"ALTER DEFAULT PRIVILEGES FOR ROLE {name}_owner GRANT DELETE ON TABLES TO {name}_reader")
        connection.execute("CREATE TABLE bills ()")
        connection.execute(f"ALTER TABLE bills OWNER TO {name}_owner")
        connection.execute(f"GRANT DELETE ON bills TO {name}_reader")
    urls = {role: as_user(database, f"{name}_{role}", "given") for role in ("owner", "writer", "reader")}
    playhead = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database)
    first, again = playhead("db", "roles"), playhead("db", "roles")
    with psycopg.connect(urls["owner"]) as connection:
        connection.execute("CREATE TABLE later ()")

    assert REFUSED_TO_READERS == refused(urls["reader"], REFUSED_TO_READERS)
    assert REFUSED_TO_ALL_BUT_THE_OWNER == refused(urls["reader"], REFUSED_TO_ALL_BUT_THE_OWNER)
    for statement in ("DELETE FROM bills", "DELETE FROM later"):
        assert [statement] == refused(urls["reader"], [statement])
    update = ["UPDATE playhead_migrations SET sha256 = 'x'"]
    assert update == refused(urls["writer"], update)
    assert b"_reader was there: it no longer has CREATE on database" in first.stderr
    assert b"DELETE on jobs, DELETE on later tables of every schema" in first.stderr
    assert b"it no longer has UPDATE on playhead_migrations(sha256)" in first.stderr
    assert 3 == again.stderr.count(b"was there: it has what it needs already, and its password stays\n")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ALTER ROLE {writer} SUPERUSER", "{writer} is SUPERUSER (ALTER ROLE {writer} NOSUPERUSER)"),
        ("ALTER ROLE {owner} CREATEROLE", "{owner} is CREATEROLE (ALTER ROLE {owner} NOCREATEROLE)"),
        ("ALTER ROLE {reader} CREATEDB", "{reader} is CREATEDB (ALTER ROLE {reader} NOCREATEDB)"),
        ("ALTER ROLE {writer} REPLICATION", "{writer} is REPLICATION (ALTER ROLE {writer} NOREPLICATION)"),
        ("ALTER ROLE {reader} BYPASSRLS", "{reader} is BYPASSRLS (ALTER ROLE {reader} NOBYPASSRLS)"),
        ("GRANT {owner} TO {reader}", "{reader} is a member of {owner} (REVOKE {owner} FROM {reader}"),
        ("GRANT {owner} TO {group}; GRANT {group} TO {writer}", "(REVOKE {group} FROM {writer} GRANTED BY "),
        ("GRANT pg_execute_server_program TO {writer}", "{writer} is a member of pg_execute_server_program"),
        ("ALTER DATABASE {name} OWNER TO {reader}", "(ALTER DATABASE {name} OWNER TO {owner})"),
        ("ALTER SCHEMA playhead OWNER TO {writer}", "{writer} owns the schema playhead"),
        ("GRANT DELETE ON jobs TO PUBLIC", "{reader} has DELETE on jobs through PUBLIC"),
        (
            "GRANT TRUNCATE ON jobs TO {group}; GRANT {group} TO {writer}",
            "{writer} has TRUNCATE on jobs through {group}",
        ),
    ],
)
def test_a_role_that_no_grant_holds_is_refused_until_the_statements_were_run(database, urls, tmp_path, given, said):
    with psycopg.connect(database, autocommit=True, options=PATH) as connection:
        name = connection.info.dbname
        names = {role: f"{name}_{role}" for role in ("owner", "writer", "reader", "group")} | {"name": name}
        connection.execute(f"CREATE ROLE {name}_group")
        connection.execute(given.format(**names))
        connection.execute("REVOKE SELECT ON jobs FROM {reader}".format(**names))
        refusal = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database)("db", "roles", check=False)
        for statement in re.findall(r"\(((?:ALTER|REVOKE) .*?)\)", refusal.stderr.decode()):
            connection.execute(statement)
        connection.execute("REVOKE DELETE, TRUNCATE ON jobs FROM PUBLIC, {group}".format(**names))
        (selects,) = connection.execute(f"SELECT has_table_privilege('{name}_reader', 'jobs', 'SELECT')").fetchone()
        make_roles(database)

    assert 1 == refusal.returncode
    assert said.format(**names) in refusal.stderr.decode()
    assert b"nothing was changed, as " in refusal.stderr
    assert not selects
    assert REFUSED_TO_READERS == refused(urls["reader"], REFUSED_TO_READERS)
    assert ["TRUNCATE jobs"] == refused(urls["writer"], REFUSED_TO_READERS[1:])


def test_that_a_role_cannot_log_in_or_is_a_member_of_another_is_said(database, urls, tmp_path):
    with psycopg.connect(database, autocommit=True, options=PATH) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER ROLE {name}_owner NOLOGIN")
        connection.execute(f"GRANT pg_monitor TO {name}_reader")
        done = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database)("db", "roles").stderr.decode()
        (login,) = connection.execute(f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{name}_owner'").fetchone()

    assert f"it cannot log in, and that stays (ALTER ROLE {name}_owner LOGIN)" in done
    assert f"it is a member of pg_monitor (REVOKE pg_monitor FROM {name}_reader GRANTED BY " in done
    assert not login


def test_the_command_prints_the_url_of_each_new_role(database, tmp_path):
    playhead = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database)
    first, again = playhead("db", "roles", "--json"), playhead("db", "roles")
    urls = json.loads(first.stdout)
    beyond = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=next(iter(urls.values())))(
        "db", "roles", check=False
    )

    assert [0, 0, 0] == [rows(url) for url in urls.values()]
    assert b"" == again.stdout
    assert 3 == again.stderr.count(b"its password stays")
    assert 1 == beyond.returncode
    assert b"run this as a superuser" in beyond.stderr


OF_ANOTHER = [
    "DELETE FROM jobs",
    "UPDATE jobs SET status = 'x'",
    "INSERT INTO recordings (id) VALUES (1)",
    "DELETE FROM playhead_migrations",
    "TRUNCATE organizations",
]


def test_a_projection_with_a_role_of_its_own_writes_no_table_of_another(database):
    urls = made(database, "jobs", "organizations", "log", "sweep")
    reads = {name: refused(urls[name], ["SELECT FROM jobs", "SELECT FROM recordings"]) for name in urls}

    assert OF_ANOTHER == refused(urls["organizations"], OF_ANOTHER)
    assert [] == refused(urls["organizations"], ["DELETE FROM organizations", "DELETE FROM playhead_checkpoints"])
    assert [] == refused(urls["jobs"], [*OF_ANOTHER[:2], "CREATE TEMP TABLE mine ()"])
    for name in ("log", "sweep"):
        assert REFUSED_TO_READERS == refused(urls[name], REFUSED_TO_READERS)
        assert OF_ANOTHER == refused(urls[name], OF_ANOTHER)
        assert [] == refused(urls[name], ["SELECT FROM playhead_checkpoints"])
    for url in urls.values():
        assert [] == refused(url, ["SELECT FROM playhead_migrations"])
    for name in ("jobs", "organizations", "log", "sweep"):
        assert REFUSED_TO_ALL_BUT_THE_OWNER == refused(urls[name], REFUSED_TO_ALL_BUT_THE_OWNER)
    assert ["SELECT FROM recordings"] == reads["jobs"] == reads["organizations"]
    assert ["SELECT FROM jobs"] == reads["sweep"]
    assert ["SELECT FROM jobs", "SELECT FROM recordings"] == reads["log"]


def test_the_role_of_a_consumer_loses_what_is_too_much_and_may_be_in_no_other(database):
    urls = made(database, "jobs", "organizations")
    with psycopg.connect(database, autocommit=True, options=PATH) as connection:
        name = connection.info.dbname
        connection.execute(f"GRANT INSERT ON recordings TO {name}_jobs")
        connection.execute(f"GRANT CREATE ON SCHEMA playhead TO {name}_jobs")
        again = make_roles(database, consumers=["jobs", "organizations"])
        for role, other in (
            ("jobs", "organizations"),
            ("organizations", "jobs"),
            ("reader", "jobs"),
            ("jobs", "writer"),
        ):
            connection.execute(f"GRANT {name}_{other} TO {name}_{role}")
            with pytest.raises(RoleTooPowerful, match=f"{name}_{role} "):
                make_roles(database, consumers=["jobs", "organizations"])
            connection.execute(f"REVOKE {name}_{other} FROM {name}_{role}")
    taken = {role.name: [str(one) for one in role.taken] for role in again.roles}

    assert ["CREATE on schema playhead", "INSERT on recordings"] == taken[f"{name}_jobs"]
    assert ["CREATE TABLE mine ()"] == refused(urls["jobs"], ["CREATE TABLE mine ()"])
    assert {None} == {role.password for role in again.roles}


def test_passwords_of_the_environment_are_set_again_each_time(database, tmp_path):
    command = ("db", "roles", "--consumer", "json-files", "--passwords-from-environment")
    names = ("OWNER", "WRITER", "READER", "JSON_FILES")

    def playhead(word: str) -> Playhead:
        passwords = {f"POSTGRES_{name}_PASSWORD": f"{word} {name}" for name in names}
        return Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database, **passwords)

    missing = Playhead(tmp_path, "redis://127.0.0.1:1", DATABASE_URL=database)(*command, check=False)
    first, again = playhead("one")(*command), playhead("another")(*command)
    with psycopg.connect(database) as connection:
        database_name = connection.info.dbname
    for name in names:
        rows(as_user(database, f"{database_name}_{name.lower()}", f"another {name}"), "playhead_migrations")

    assert 2 == missing.returncode
    assert b"the environment has no POSTGRES_OWNER_PASSWORD, POSTGRES_WRITER_PASSWORD" in missing.stderr
    assert b"" == first.stdout == again.stdout
    assert 4 == again.stderr.count(b"it has what it needs already, and has the password of the environment")
