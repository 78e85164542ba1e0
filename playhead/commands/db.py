"""`playhead db`: the schema of the database."""

from collections.abc import Iterator

import psycopg
from cyclopts import App

from playhead.projections.consumer_roles import ROLES
from playhead.projections.migrations import gone
from playhead.projections.migrations import upgrade as apply_missing
from playhead.projections.postgres import connect
from playhead.projections.roles import Role, make_roles
from playhead.settings.passwords import given_passwords
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.settings.urls import as_user
from playhead.terminal.exit_codes import DONE, FAILED
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import one_line, print_json, print_lines, say

db_app = App(name="db", help="Upgrade the database of the projections, and make its roles.")


@db_app.command
def upgrade(*, share_database: bool = False, data_dir: DataDir = None, json: Json = False) -> int:
    """Apply the migrations that the database lacks, all of them or none, and print their names.

    The tables are in the schema of PLAYHEAD_SCHEMA. Tables that an earlier version made in another one are moved there.

    Exit code 1 if a table of an applied migration was dropped: no migration creates it again; or if the database has
    tables of another program only.

    Args:
        share_database: Create the tables of Playhead beside those of another program.

    Example:
        playhead db upgrade
    """
    reached = servers(load(data_dir), redis=False)
    url, schema = reached.database_url, reached.schema
    applied = apply_missing(url, schema=schema, shared=share_database, tell=say)
    with connect(url, "playhead-migrations", schema=schema) as connection:
        missing, database = gone(connection), connection.info.dbname
    if applied:
        say(f"the tables are in the schema {schema} of the database {database}; query them as {schema}.TABLE")
    if json:
        print_json(applied)
    elif applied or not missing:
        print_lines(*applied or ["the database is up to date"])
    if missing:
        say(f"tables were dropped: {', '.join(missing)}; to restore them, see docs/recovery.md, Lost tables")
    return FAILED if missing else DONE


@db_app.command
def roles(
    *,
    consumer: list[str] | None = None,
    passwords_from_environment: bool = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Make the roles of the database, and print the URL of each new one, password included.

    NAME_owner, NAME_writer and NAME_reader, with the name of the database, get what they need for the tables of today
    and of later migrations. The tables become the owner's. What a role that was there may do beyond that is taken from
    it. A role that is a superuser, may make roles or databases, or is a member of a role with more rights, is refused:
    the message has the statements to run first. Idempotent. Run it as a superuser, or as the owner of the tables if it
    may make roles.

    The writer can change and delete every row, and the reader can read every payload.

    Args:
        consumer: A consumer that gets a role of its own, NAME_ and its name: it reads the tables of its domain, and
            writes them if it is a projection; repeatable. Run this again after each `playhead db upgrade`.
        passwords_from_environment: Give each role the password of its variable, such as POSTGRES_OWNER_PASSWORD, also
            one that was there; print no URL.

    Example:
        playhead db roles
    """
    reached = servers(load(data_dir), redis=False)
    url = reached.database_url
    wanted = consumer or []
    named = [*ROLES, *(name.replace("-", "_") for name in wanted)]
    passwords = given_passwords("postgres", named) if passwords_from_environment else None
    try:
        made = make_roles(url, schema=reached.schema, consumers=wanted, passwords=passwords)
    except psycopg.errors.InsufficientPrivilege as error:
        say(f"{one_line(error)}: run this as a superuser, or as the owner of the tables if it may make roles")
        return FAILED
    urls = {one.name: one.password and as_user(url, one.name, one.password) for one in made.roles}
    for role in made.roles:
        if not role.is_new:
            say(f"{role.name} was there: {'; '.join(_findings(role, is_given=passwords is not None))}")
        elif not json and urls[role.name] is not None:
            print_lines(f"{role.name} {urls[role.name]}")
    if json:
        print_json(urls)
    if made.shared:
        say("other programs have tables in this database, so everyone may do there what they could before")
    return DONE


def _findings(role: Role, *, is_given: bool) -> Iterator[str]:
    """What became of a role that was there, and what its administrator may want to change."""
    password = "has the password of the environment" if is_given else "its password stays"
    if role.taken:
        yield f"it no longer has {', '.join(map(str, role.taken))}"
    if role.given:
        yield f"it has what it needs now, and {password}"
    else:
        yield f"it has what it needs already, and {password}"
    yield from (f"it {one}" for one in role.powers)
