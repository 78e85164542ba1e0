"""The projection `organizations` against a real Postgres: the same rows and ids in any order, and never stuck."""

import itertools
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from playhead.commands.app import make_app
from playhead.projections.failures import classify
from playhead.projections.organizations import reconciliation
from playhead.projections.organizations.projection import Organizations
from playhead.settings.settings import declared
from playhead.streams.errors import InvalidEvent, InvalidSetting
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Source
from playhead.terminal.failures import exit_code
from tests.support.databases import make_database
from tests.support.organizations import (
    LIVE,
    PARTITION,
    PHONES,
    REPLAY,
    batch,
    day,
    job,
    organization,
    place,
    query,
    tables,
)
from tests.support.places import place_of


@pytest.fixture
def database(postgres):
    return make_database(postgres)


@pytest.fixture
def sink(database) -> Iterator[Organizations]:
    sink = Organizations(place_of("organizations", database))
    sink.open(PARTITION, 1)
    yield sink
    sink.close()


def applied(postgres, events, size=1):
    url = make_database(postgres)
    sink = Organizations(place_of("organizations", url))
    sink.open(PARTITION, 1)
    for start in range(0, len(events), size):
        part = events[start : start + size]
        # A replay is the source whose batches may come in any order.
        sink.apply(batch(*part, source=REPLAY))
    sink.close()
    return tables(url)


def test_three_random_orders_and_batch_sizes_give_the_same_rows_and_ids(postgres):
    events = day()
    expected = applied(postgres, events, 90)

    assert 4 < len(expected["organizations"]) < len(expected["sources"])
    for seed, size in ((1, 1), (2, 7), (3, 40)):
        shuffled = random.Random(seed).sample(events, len(events))
        assert expected == applied(postgres, shuffled, size)


def test_without_its_dissolving_step_the_order_would_show(postgres, monkeypatch):
    """The control: a component that lost a node is left as it is."""
    events = day()
    expected = applied(postgres, events, 90)
    monkeypatch.setattr(
        reconciliation,
        "_MEMBERS",
        b"SELECT signature, profile FROM organization_matches WHERE false AND %s::text[] IS NULL",
    )

    assert any(expected != applied(postgres, random.Random(seed).sample(events, len(events)), 1) for seed in (1, 2))


BRIDGE = [
    job(1, organization(phones=PHONES[:1])),
    job(2, organization(phones=PHONES[1:2]), scraper="b"),
    job(3, organization(phones=PHONES[:2]), scraper="c"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_late_result_that_bridges_two_organizations_makes_them_one(postgres, order):
    found = applied(postgres, [BRIDGE[number] for number in order])

    assert [1, 3] == [len(found[table]) for table in ("organizations", "sources")]
    assert found == applied(postgres, BRIDGE, 3)


def test_they_are_two_again_when_the_bridge_is_corrected(database, sink):
    sink.apply(batch(*BRIDGE))
    (before,) = query(database, "SELECT id FROM organizations")

    sink.apply(batch(job(4, organization("Oak Pantry", phones=PHONES[:2]), job_id="j3", created="2025-08-09 06:00:03")))

    ids = [
        one for (one,) in query(database, "SELECT id FROM organizations WHERE name LIKE 'Elm%' ORDER BY recorded_at")
    ]
    assert before == (ids[0],)
    assert 2 == len(ids)
    assert [("Oak Pantry",)] == query(database, "SELECT name FROM organizations WHERE name NOT LIKE 'Elm%'")


def test_a_newer_result_of_the_same_job_replaces_the_older_whatever_comes_first(database, sink):
    older, newer = (
        job(number, organization(email=f"{number}@x.example", phones=PHONES[number:][:1]), "j") for number in (1, 2)
    )

    sink.apply(batch(newer))
    sink.apply(batch(older, source=REPLAY))

    assert [("2@x.example",)] == query(database, "SELECT email FROM organizations")
    assert [("330-555-0102",)] == query(database, "SELECT number FROM phones")


def test_a_result_that_is_no_data_takes_nothing_away_and_is_counted_until_there_is_one(database, sink):
    sink.apply(
        batch(job(1, "Invalid JSON response", "j"), job(2, '{"weather": "fine"}', "k"), job(3, "```json\n{", "l"))
    )
    sink.apply(batch(job(4, organization(), "j")))
    sink.apply(batch(job(5, "Invalid JSON response", "j"), job(6, "", "m"), job(7, "x", "n", type_="job.failed")))

    assert [
        ("j", "organizations", 1),
        ("k", "not about an organization", 0),
        ("l", "text", 0),
        ("m", "empty", 0),
    ] == query(database, "SELECT job_id, outcome, organizations FROM organization_results ORDER BY 1")
    assert [("Elm Street Pantry",)] == query(database, "SELECT name FROM organizations")


def test_values_come_from_the_newest_result_and_each_row_says_which(database, sink):
    sink.apply(
        batch(
            job(2, organization(email="new@x.example", phones=PHONES[:1], addresses=[place()]), scraper="b"),
            job(1, organization(email="old@x.example", website="https://x.example", phones=PHONES[:1]), scraper="a"),
        )
    )

    assert [("new@x.example", "https://x.example", "j2", "b")] == query(
        database, "SELECT email, website, job_id, scraper_id FROM organizations"
    )
    assert [("j1", "a"), ("j2", "b")] == query(database, "SELECT job_id, scraper_id FROM sources ORDER BY 1")
    assert [("Ashford", "j2")] == query(database, "SELECT city, job_id FROM locations")


@pytest.mark.parametrize("size", [1, 3])
def test_redelivery_changes_nothing(database, sink, size):
    events = day()[:20]
    sink.apply(batch(*events))
    expected = tables(database)

    for start in range(0, len(events), size):
        part = events[start : start + size]
        assert "already applied" == sink.apply(batch(*part))
        assert "applied" == sink.apply(batch(*part, source=REPLAY))

    assert expected == tables(database)


def test_a_replay_restores_derived_tables_that_were_emptied(database, sink):
    events = day()[:20]
    sink.apply(batch(*events))
    expected = tables(database)
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE organizations, locations, services, phones, schedules")

    sink.apply(batch(*events, source=REPLAY))

    assert expected == tables(database)


def test_a_batch_that_fails_leaves_neither_rows_nor_checkpoint(database, sink, monkeypatch):
    monkeypatch.setattr(
        reconciliation,
        "_ASSIGN",
        b"SELECT 1 / cardinality(array_remove(%s::text[] || %s::text[] || %s::text[], NULL)) - 1 / 0",
    )

    with pytest.raises(psycopg.DataError):
        sink.apply(batch(job(1, organization())))

    assert [(0,)] == query(database, "SELECT count(*) FROM sources")
    assert Position(0, 0) == sink.open(PARTITION, 1)


@pytest.mark.parametrize("source", [LIVE, REPLAY])
def test_a_fenced_owner_writes_nothing(database, sink, source):
    successor = Organizations(place_of("organizations", database))
    successor.open(PARTITION, 2)
    successor.close()

    assert "fenced" == sink.apply(batch(job(1, organization()), source=source))
    assert [(0,)] == query(database, "SELECT count(*) FROM organization_results")


def test_partitions_take_turns_so_that_two_processes_make_one_organization(database, sink):
    other = Organizations(place_of("organizations", database))
    partition = Partition("jobs", 1)
    other.open(partition, 1)
    with psycopg.connect(database) as held, ThreadPoolExecutor() as pool:
        held.execute("SELECT pg_advisory_xact_lock(%s)", (0x4F524753,))
        outcomes = [
            pool.submit(sink.apply, batch(job(1, organization(phones=PHONES[:1])))),
            pool.submit(other.apply, batch(job(2, organization(phones=PHONES[:1])), source=Source(partition))),
        ]
        wait_until_blocked(database, 2)
        held.commit()

        assert ["applied", "applied"] == [outcome.result(timeout=60) for outcome in outcomes]
    other.close()
    assert [(1,)] == query(database, "SELECT count(*) FROM organizations")


def wait_until_blocked(database, count):
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    deadline = time.monotonic() + 20
    while query(database, waiting) != [(count,)]:
        assert time.monotonic() < deadline


HOSTILE = [
    pytest.param('{"organization":{"name":"A\\u0000\\ud800","description":"\\u0000"}}', id="NUL and lone surrogate"),
    pytest.param('{"organization":{"name":"A","latitude":NaN,"longitude":1e999,"year_incorporated":1e400}}', id="NaN"),
    pytest.param(json.dumps(organization("N" * 1_000_000)), id="1 MB name"),
    pytest.param(json.dumps(organization("\u202e\u0007 \\N\t")), id="control characters"),
    pytest.param(json.dumps(organization(locations=[place(latitude=91, longitude=181)])), id="off the globe"),
    pytest.param(
        json.dumps(organization() | {"services": "Tuesdays", "schedules": "Tuesdays 9-5"}), id="text for parts"
    ),
    pytest.param(
        json.dumps(organization() | {"schedules": [{"valid_from": "0000-00-00", "opens_at": "99:99"}]}), id="times"
    ),
    pytest.param(json.dumps(organization() | {"schedules": [{"interval": 10**30, "byday": ["XX"]}]}), id="numbers"),
    pytest.param(
        json.dumps({"organizations": [{"name": f"n{number}"} for number in range(3000)]}), id="3,000 organizations"
    ),
    pytest.param('{"organization":' * 900 + "1" + "}" * 900, id="deep"),
]


@pytest.mark.parametrize("result", HOSTILE)
@pytest.mark.parametrize("plain", [True, False], ids=["data", "text"])
def test_a_hostile_result_neither_fails_nor_stays(database, sink, result, plain):
    data = f'{{"job_id":"j","job":{{"metadata":{{"scraper_id":"\\u0000"}}}},"result":{result}}}'
    recorded = job(1, result, "j") if not plain else job(1, "", "j")
    if plain:
        event = Event(
            **{name: getattr(recorded.event, name) for name in recorded.event.__struct_fields__}
            | {"data": data.encode()}
        )
        recorded = Recorded(event, recorded.position)

    assert "applied" == sink.apply(batch(recorded))
    assert [(1,)] == query(database, "SELECT count(*) FROM organization_results")


def test_the_documented_query_finds_what_is_near_and_open_on_tuesday(database, sink):
    def site(street, latitude, days):
        services = [{"name": "Pantry", "schedules": [{"byday": days, "opens_at": "09:00"}]}]
        return organization(
            f"{street} Pantry", addresses=[place(f"1 {street} St", latitude=latitude, longitude=-81.52)]
        ) | {"services": services}

    sites = [("Near", 41.09, "MO,TU"), ("Far", 41.18, "TU"), ("Shut", 41.08, "WE"), ("Nearest", 41.081, "TU")]
    sink.apply(batch(*(job(number, site(*one)) for number, one in enumerate(sites))))
    page = (Path(__file__).parents[2] / "docs" / "organizations.md").read_text()

    found = query(database, page.split("```sql\n")[1].split("```")[0])

    assert ["Nearest Pantry", "Near Pantry"] == [name for name, *_ in found]


@pytest.mark.parametrize("job_id", ["\0", "\ud800"])
def test_an_event_whose_job_id_cannot_be_stored_is_refused_for_good(sink, job_id):
    with pytest.raises(InvalidEvent) as failure:
        sink.apply(batch(job(1, organization(), job_id)))

    assert "permanent" == classify(failure.value)


def test_the_rows_that_an_event_touches_do_not_grow_with_the_table(database, sink):
    """Every lookup is by index: what Postgres reads for one more result is the same after ten times as many."""
    events = [
        job(number, organization(f"Pantry of {number:x} lane", phones=[{"number": f"{2000000000 + number}"}]))
        for number in range(1500)
    ]
    sink.apply(batch(*events[:150]))
    sink.close()
    few = rows_read(database, sink, events[150])
    sink.apply(batch(*events[151:]))
    sink.close()
    many = rows_read(database, sink, job(4000, organization("Pantry of the last lane", phones=PHONES[:1])))

    assert many <= few + 20


def rows_read(database, sink, event):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ANALYZE")
    before = read_so_far(database)
    sink.apply(batch(event))
    sink.close()
    return read_so_far(database) - before


def read_so_far(database):
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        (read,) = connection.execute(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables"
        ).fetchone() or (0,)
    return read


@pytest.fixture
def playhead(database, monkeypatch, capsys):
    def run_command(*arguments):
        said = ""
        try:
            code = make_app()(["organizations", *arguments], result_action="return_value", exit_on_error=False) or 0
        except InvalidSetting as error:
            code, said = exit_code(error), f"{error}\n"
        printed = capsys.readouterr()
        return code, printed.out, printed.err + said

    for name in declared():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", database)
    return run_command


def test_the_commands_print_what_is_there(database, sink, playhead):
    sink.apply(
        batch(
            job(1, organization(phones=PHONES[:1], addresses=[place()])),
            job(2, organization("The Elm Street Pantry", phones=PHONES[:1]), scraper="b"),
            job(3, organization("Oak Kitchen") | {"services": [{"name": "Soup", "schedules": [{"byday": "TU"}]}]}),
            job(4, "Test response"),
        )
    )

    (found,) = json.loads(playhead("search", "street el", "--json")[1])
    shown = json.loads(playhead("show", found["id"][:8], "--json")[1])
    counted = json.loads(playhead("stat", "--json")[1])

    assert ("The Elm Street Pantry", "Ashford, OH", 2) == (found["name"], found["place"], found["sources"])
    assert ["j2", "j1"] == [source["job_id"] for source in shown["sources"]]
    assert [1, 1, 0] == [len(shown[part]) for part in ("locations", "phones", "services")]
    assert {"organizations": 0.75, "text": 0.25} == {one["outcome"]: one["share"] for one in counted["outcomes"]}
    assert [2, 1, 1] == [counted["tables"][table] for table in ("organizations", "services", "phones")]
    assert "Oak Kitchen" in playhead("search", "kitch")[1]
    assert "byday=TU" in playhead("show", query_id(database, "Oak%"))[1]
    assert "75.0" in playhead("stat")[1]
    assert [] == json.loads(playhead("search", "kitch", "--scraper", "b", "--json")[1])


def query_id(database, name):
    return str(query(database, f"SELECT id FROM organizations WHERE name LIKE '{name}'")[0][0])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("search", "nothing'); --"), 1),
        (("search", "&|!"), 1),
        (("search", "x", "--limit", "0"), 2),
        (("show", "00000000"), 1),
        (("show", "x"), 2),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(playhead, arguments, code):
    found, _, said = playhead(*arguments)

    assert (code, 1) == (found, said.count("\n"))
