"""`playhead organizations`: what the results say about whom."""

from typing import Annotated, Any, cast
from uuid import UUID

import msgspec
from cyclopts import App, Parameter
from psycopg.rows import dict_row

from playhead.projections.migrations import require_upgraded
from playhead.projections.organizations import queries
from playhead.projections.postgres import Connection, connect
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.streams.errors import InvalidSetting
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, print_table, say

organizations_app = App(name="organizations", help="Find organizations in job results.")


class Outcome(msgspec.Struct, frozen=True):
    """How many results came to one thing."""

    outcome: str
    results: int
    share: float


class Statistics(msgspec.Struct, frozen=True):
    """All results by what they came to, and what the tables hold; `share` is a part of 1."""

    results: int
    outcomes: list[Outcome]
    repaired: int
    records: int
    tables: dict[str, int]


@organizations_app.command
def search(
    words: str,
    /,
    *,
    scraper: Annotated[str | None, Parameter(help="Only organizations that this scraper knows.")] = None,
    limit: Annotated[int, Parameter(help="How many at most.")] = 20,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Find organizations by words of their name; exit code 1 if there are none.

    Args:
        words: Words of the name, in any order; the last may be a prefix.

    Example:
        playhead organizations search "food pantry"
    """
    if limit < 1:
        raise InvalidSetting("--limit takes a number from 1 up")
    with _connection(data_dir) as connection:
        found = _rows(
            connection, queries.SEARCH, {"words": queries.prefixes(words), "scraper": scraper, "limit": limit}
        )
    if json:
        print_json(found)
    elif found:
        print_table(
            ("ID", "NAME", "PLACE", "SOURCES"),
            [(one["id"], one["name"][:60], one["place"] or "-", one["sources"]) for one in found],
        )
    else:
        say(f"no organization has {words!r} in its name")
    return 0 if found else 1


@organizations_app.command
def show(id: str, /, *, data_dir: DataDir = None, json: Json = False) -> int:
    """Print one organization with its parts and its sources.

    Args:
        id: Its id, or a prefix of it.

    Example:
        playhead organizations show 0a7c1f2e
    """
    if not queries.is_id(id):
        raise InvalidSetting(f"{id!r} is not a prefix of an id; `playhead organizations search` prints ids")
    with _connection(data_dir) as connection:
        identities = [str(one["id"]) for one in _rows(connection, queries.BY_ID, {"id": id.lower()})]
        if len(identities) != 1:
            say(f"{len(identities) or 'no'} organizations have an id that starts with {id}")
            return 1
        parameters: dict[str, object] = {"id": identities[0]}
        (found,) = _rows(connection, queries.ORGANIZATION, parameters)
        for table, statement in queries.PARTS.items():
            found[table] = _rows(connection, statement, parameters)
    if json:
        print_json(found)
    else:
        _print(found)
    return 0


@organizations_app.command
def stat(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Count results by outcome, and the rows of each table.

    Example:
        playhead organizations stat
    """
    with _connection(data_dir) as connection:
        outcomes = _rows(connection, queries.OUTCOMES, {})
        (tables,) = _rows(connection, queries.TABLES, {})
    results = sum(one["results"] for one in outcomes)
    found = Statistics(
        results=results,
        outcomes=[Outcome(one["outcome"], one["results"], round(one["results"] / results, 4)) for one in outcomes],
        repaired=sum(one["repaired"] for one in outcomes),
        records=sum(one["organizations"] for one in outcomes),
        tables=tables,
    )
    if json:
        print_json(found)
        return
    print_table(
        ("OUTCOME", "RESULTS", "PERCENT"),
        [(one.outcome, one.results, f"{100 * one.results / results:.1f}") for one in found.outcomes],
    )
    told = f"{found.results} results, {found.repaired} of them repaired; {found.records} times an organization"
    print_lines("", told, "")
    print_table(("TABLE", "ROWS"), list(tables.items()))


def _connection(data_dir: Any) -> Connection:
    reached = servers(load(data_dir), redis=False)
    connection = connect(reached.database_url, "playhead-command", schema=reached.schema)
    require_upgraded(connection)
    return connection


def _rows(connection: Connection, statement: bytes, parameters: dict[str, object]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, parameters).fetchall()
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in cast("list[Any]", value)]
    return str(value) if isinstance(value, UUID) else value


def _print(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, list):
            rows = cast("list[dict[str, Any]]", value)
            print_lines("", f"{name}: {len(rows)}")
            for row in rows:
                told = {key: one for key, one in row.items() if one not in (None, []) and not key.endswith("_id")}
                told.pop("id", None)
                print_lines("  " + "  ".join(f"{key}={one}" for key, one in told.items()))
        elif value is not None:
            print_lines(f"{name}: {value}")
