"""Every process and command with tables in the schema that PLAYHEAD_SCHEMA names, and in no other."""

import json

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from playhead.embedded.servers import running_servers
from playhead.projections.migrations import DatabaseForeign, upgrade
from tests.acceptance.old_data import read_schemas
from tests.acceptance.stack import Stack
from tests.support.addresses import superuser_url
from tests.support.processes import JOB

SCHEMA = 'Some "schema"'


@pytest.fixture
def stack(tmp_path, wait_until, monkeypatch):
    monkeypatch.setenv("PLAYHEAD_SCHEMA", SCHEMA)
    stack = Stack(tmp_path / "data", wait_until)
    stack.start()
    wait_until(lambda: b"every consumer is ready" in stack.messages() or stack.process.poll() is not None)
    yield stack
    if stack.process.poll() is None:
        stack.stop()


def test_everything_finds_the_tables_there(stack, tmp_path, monkeypatch):
    for number in range(3):
        stack.playhead("append", "job.completed", "--subject", f"job/{number}", "--data", JOB % number)
    stack.caught_up()
    url = running_servers(stack.directory).database_url
    with psycopg.connect(url) as connection:
        rows = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(SCHEMA, "jobs"))).fetchone()
    doctor, verified = stack.json("doctor"), stack.json("verify")
    replayed = stack.json("replay", "--log")
    stack.caught_up()
    for command in (
        ("db", "upgrade"),
        ("organizations", "stat"),
        ("recordings", "list"),
        ("recordings", "sweep"),
        ("publish", "--to", str(tmp_path / "published"), "--allow-empty"),
        ("adopt",),
    ):
        done = stack.playhead(*command)

        assert 0 == done.returncode, (command, done.stderr.decode())
    monkeypatch.setenv("DATABASE_URL", superuser_url(stack.directory))
    roles = json.loads(stack.playhead("db", "roles", "--json").stdout)
    with psycopg.connect(url) as connection:
        (path,) = connection.execute("SELECT setconfig FROM pg_db_role_setting LIMIT 1").fetchone()

    assert (3,) == rows
    assert {"playhead_owner", "playhead_writer", "playhead_reader"} == roles.keys()
    assert ['search_path="Some ""schema"""'] == path
    assert [] == [
        check for check in doctor["checks"] if check["name"].startswith("postgres") and check["result"] != "ok"
    ]
    assert ([], []) == (verified["faults"], verified["lost"])
    assert 3 == replayed["replayed"]
    assert {SCHEMA} == read_schemas(stack.directory)
    with pytest.raises(DatabaseForeign, match="PLAYHEAD_SCHEMA"):
        upgrade(url)
