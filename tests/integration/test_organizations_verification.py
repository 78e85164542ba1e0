"""`playhead verify` of organizations: every row that is not what the log gives is found, and a replay mends it."""

import psycopg
import pytest

from playhead.projections.organizations.projection import Organizations
from playhead.projections.organizations.verification import OrganizationsVerification
from playhead.projections.verification import Stray
from tests.support.databases import make_database
from tests.support.organizations import PARTITION, REPLAY, batch, day, job, tables
from tests.support.places import place_of

EVENTS = day()


@pytest.fixture(scope="module")
def original(postgres):
    """A database, and what stands in it: each test leaves it so."""
    url = make_database(postgres)
    put(url, EVENTS)
    return url, tables(url)


@pytest.fixture
def database(original):
    return original[0]


def put(url, events):
    sink = Organizations(place_of("organizations", url))
    sink.open(PARTITION, 1)
    sink.apply(batch(*events, source=REPLAY))
    sink.close()


def lacks(url, events):
    """As the command does: what is doubtful is looked at again, by the event of each job that should stand."""
    verification = OrganizationsVerification(place_of("organizations", url))
    doubtful = {lack.key for part in (events[:40], events[40:]) for lack in verification.lacks(part)}
    newest = {}
    for event in events:
        key = verification.key(event)
        if key in doubtful and (key not in newest or verification.rank(newest[key]) < verification.rank(event)):
            newest[key] = event
    found = list(verification.lacks(list(newest.values())))
    verification.close()
    return found


def test_nothing_lacks_where_nothing_was_changed(database):
    assert [] == lacks(database, EVENTS)


SOMEONE = "(SELECT id FROM organizations WHERE id IN (SELECT organization_id FROM phones) ORDER BY id LIMIT 1)"


EXTRA = f"INSERT INTO phones SELECT gen_random_uuid(), {SOMEONE}, NULL, NULL, '1', NULL, NULL, NULL, '', NULL, now()"


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("missing", "DELETE FROM organization_results WHERE job_id = 'j3'"),
        ("stale", "UPDATE organization_results SET precedence = '0' WHERE job_id = 'j3'"),
        ("altered", "UPDATE organization_results SET organizations = 7 WHERE job_id = 'j3'"),
        ("altered", "UPDATE sources SET body = body || '{\"name\": \"Other\"}' WHERE job_id = 'j3'"),
        ("altered", "DELETE FROM sources WHERE job_id = 'j3'"),
        ("altered", "UPDATE sources SET organization_id = gen_random_uuid() WHERE job_id = 'j3'"),
        ("altered", f"UPDATE organizations SET email = 'x@y.example' WHERE id = {SOMEONE}"),
        ("altered", f"DELETE FROM organizations WHERE id = {SOMEONE}"),
        ("altered", f"DELETE FROM phones WHERE organization_id = {SOMEONE}"),
        ("altered", "UPDATE locations SET latitude = 1 WHERE id = (SELECT min(id::text)::uuid FROM locations)"),
        ("altered", "UPDATE schedules SET byday = 'SU' WHERE id = (SELECT min(id::text)::uuid FROM schedules)"),
        (
            "altered",
            EXTRA,
        ),
        (
            "altered",
            "DELETE FROM organization_matches WHERE signature IN (SELECT signature FROM sources WHERE job_id = 'j3')",
        ),
    ],
)
def test_what_was_changed_by_hand_is_found_and_mended_by_a_replay(database, original, kind, statement):
    with psycopg.connect(database) as connection:
        changed = connection.execute(statement).rowcount
    found = lacks(database, EVENTS)
    left = found
    for _ in range(3):
        if left:
            put(database, [lack.recorded for lack in left])
            left = lacks(database, EVENTS)

    assert changed
    assert {kind} == {lack.kind for lack in found}
    assert [] == left
    assert original[1] == tables(database)


def test_a_newer_result_without_organizations_is_no_fault_and_what_it_spared_comes_back(database):
    later = job(500, "nothing", job_id="j3")
    put(database, [later])
    before = tables(database)
    spared = lacks(database, [*EVENTS, later])
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM organization_results WHERE job_id = 'j3'")
    put(database, [lack.recorded for lack in lacks(database, [*EVENTS, later])])

    assert [] == spared
    assert before == tables(database)


def strays(verification):
    return [one for one in verification.held() if isinstance(one, Stray)]


def test_rows_of_an_organization_that_no_result_speaks_of_are_strays(database):
    verification = OrganizationsVerification(place_of("organizations", database))
    before = strays(verification)
    made = "00000000-0000-4000-8000-000000000001"
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO organizations SELECT (jsonb_populate_record(organizations, %s::jsonb)).*"
            " FROM organizations LIMIT 1",
            (f'{{"id": "{made}"}}',),
        )
        connection.execute(
            "INSERT INTO phones SELECT (jsonb_populate_record(phones, %s::jsonb)).* FROM phones LIMIT 1",
            (f'{{"id": "{made}", "organization_id": "{made}"}}',),
        )
    found = strays(verification)
    verification.close()
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM phones WHERE organization_id = %s", (made,))
        connection.execute("DELETE FROM organizations WHERE id = %s", (made,))

    assert [] == before
    assert [(made, "organizations, phones")] == [(one.key, one.place) for one in found]


def test_organizations_that_the_rule_would_join_or_part_are_found(database):
    with psycopg.connect(database) as connection:
        one, other = connection.execute("SELECT id FROM organizations ORDER BY id LIMIT 2").fetchall()
        for table in ("organization_matches", "sources"):
            connection.execute(f"UPDATE {table} SET organization_id = %s WHERE organization_id = %s", (*one, *other))

    assert any("joined" in lack.problem or "rows in" in lack.problem for lack in lacks(database, EVENTS))
