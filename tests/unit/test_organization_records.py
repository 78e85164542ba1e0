"""What is read of results in every shape, and which records the rule holds to be one organization."""

import itertools
import json
import random

import pytest
from json_repair import repair_json

from playhead.projections.organizations import answers, extraction
from playhead.projections.organizations.answers import REPAIR_LIMIT, read_answer, read_text
from playhead.projections.organizations.budget import Budget, BudgetSpent, MeteredText
from playhead.projections.organizations.extraction import PARTS, organizations
from playhead.projections.organizations.matching import Groups, name_key, phone_key, profile, same
from playhead.projections.organizations.places import address_keys, distance, place
from playhead.projections.organizations.rows import Source, rows
from playhead.projections.organizations.schedules import schedules

ADDRESS = {"address_1": "12 N Elm St", "city": "Ashford", "state_province": "OH", "postal_code": "44999"}
POINT = {"latitude": 41.1, "longitude": -81.5}
PHONE = {"number": "330-555-0142", "type": "voice"}
TUESDAY = {"freq": "WEEKLY", "byday": "TU", "opens_at": "09:00", "closes_at": "12:00"}
ORGANIZATION = {
    "id": "org_1",
    "name": "Elm Street Pantry",
    "addresses": [{"id": "loc_1", **ADDRESS, "coordinates": POINT}],
}
SERVICE = {
    "id": "svc_1",
    "organization_id": "org_1",
    "name": "Groceries",
    "location_id": "loc_1",
    "schedule": [TUESDAY],
}


def read(value):
    answer = read_answer(json.dumps(value).encode())
    return [] if answer.value is None else organizations(answer.value)


BUNDLE = {"organization": ORGANIZATION, "services": [SERVICE], "phones": [PHONE]}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(BUNDLE, id="an organization and its parts"),
        pytest.param(json.dumps(BUNDLE), id="text"),
        pytest.param([BUNDLE], id="a list"),
        pytest.param({"organizations": [ORGANIZATION], "services": [SERVICE], "phones": [PHONE]}, id="organizations"),
        pytest.param({"organizations": [ORGANIZATION | {"services": [SERVICE], "phones": [PHONE]}]}, id="parts inside"),
        pytest.param(ORGANIZATION | {"services": [SERVICE], "phones": [PHONE]}, id="a bare organization"),
        pytest.param([ORGANIZATION | {"services": [SERVICE], "phone": PHONE}], id="a list of bare ones"),
        pytest.param({"data": [BUNDLE]}, id="data"),
        pytest.param(
            {"payload": {"organizations": [ORGANIZATION], "services": [SERVICE], "phones": [PHONE]}}, id="payload"
        ),
        pytest.param(f"```json\n{json.dumps(BUNDLE, indent=1)}\n```", id="fenced"),
        pytest.param(f"Here it is:\n```\n{json.dumps(BUNDLE)}\n```\nAnything else?", id="fenced in prose"),
        pytest.param(f"Sure! {json.dumps(BUNDLE)} That is all.", id="in prose"),
        pytest.param(json.dumps(BUNDLE)[:-2] + ",", id="cut off"),
        pytest.param(json.dumps(BUNDLE).replace('"', "'"), id="single quotes"),
        pytest.param({"text": json.dumps(BUNDLE), "model": "m", "usage": {}}, id="a provider's answer"),
        pytest.param(
            {
                "organization": {"name": "Elm Street Pantry", "contacts": [{"phone": [PHONE]}]},
                "locations": [{"id": "loc_1", "address": ADDRESS, "coordinates": [41.1, -81.5]}],
                "service": [{"name": "Groceries", "locations": [{"location_id": "loc_1", "schedules": TUESDAY}]}],
            },
            id="parts beside",
        ),
    ],
)
def test_every_shape_gives_the_same_record(value):
    (record,) = read(value)

    assert "Elm Street Pantry" == record.name
    (location,) = record.locations
    assert ("12 N Elm St", "Ashford", 41.1, -81.5) == (
        location.address_1,
        location.city,
        location.latitude,
        location.longitude,
    )
    assert [("Groceries", (0,))] == [(service.name, service.locations) for service in record.services]
    assert ["330-555-0142"] == [phone.number for phone in record.phones]
    (hours,) = record.hours
    assert (0, 0) == (hours.location, hours.service)
    assert ["TU"] == [schedule.byday for schedule in hours.schedules]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("null", "empty"),
        ('""', "empty"),
        ('"Invalid JSON response"', "text"),
        ("12", "text"),
        ("[" * 5000 + "]" * 5000, "not readable"),
        (json.dumps("{" + "x" * REPAIR_LIMIT), "too costly to repair"),
        (json.dumps("{" * 40_000), "not readable"),
        (json.dumps(("{" * 9 + "]" * 9) * 2_000), "too costly to repair"),
    ],
)
def test_a_result_that_is_no_data_has_a_reason(result, reason):
    answer = read_answer(result.encode())

    assert (None, reason) == (answer.value, answer.reason)


HOSTILE = ("[" + '""a":' * 9_999, '{"a": [' + '\\*/("' * 9_999, '[{"a": ' + '"a": "b""\u201c:' * 9_999)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_repair_of_hostile_text_ends_after_a_bounded_number_of_reads(text):
    text, budget = text[:4_000], Budget(100_000)
    answer = read_text(text, budget)
    without = Budget(400_000)
    with pytest.raises(BudgetSpent):
        repair_json(MeteredText(text, without), return_objects=True, skip_json_loads=True)

    assert "too costly to repair" == answer.reason
    assert budget.spent <= budget.limit + len(text)
    assert without.spent > 100 * len(text), "unbounded, it goes on and on"


def test_all_texts_of_a_result_share_one_budget(monkeypatch):
    budgets = []

    class Watched(Budget):
        def __init__(self, limit):
            super().__init__(100_000)
            budgets.append(self)

    monkeypatch.setattr(extraction, "Budget", Watched)
    monkeypatch.setattr(answers, "Budget", Watched)
    fences = "\n".join(f"```{HOSTILE[0][:3_000]}```" for _ in range(50))
    found = read_answer(json.dumps(fences).encode())
    nested = organizations([{"text": HOSTILE[0][:3_000]} for _ in range(50)])

    assert "too costly to repair" == found.reason
    assert [] == nested
    assert 2 == len(budgets)
    assert all(100_000 < budget.spent < 120_000 for budget in budgets)


@pytest.mark.parametrize("broken", ['{"organization": {"name": "X", "phones": [', "{'name': 'X', 'email': None}"])
def test_what_people_break_is_repaired_with_few_reads(broken):
    budget = Budget(50 * len(broken))

    assert repair_json(broken, return_objects=True) == read_text(broken, budget).value


@pytest.mark.parametrize(
    "value", [{}, [], {"weather": "fine"}, {"services": [SERVICE]}, [1, None, "x"], {"organization": {}}]
)
def test_data_about_something_else_gives_no_organization(value):
    assert [] == read(value)


@pytest.mark.parametrize(
    "value",
    [
        '{"organization":{"name":"A\\u0000B","phones":[{"number":"\\ud800 330 555 0142"}]}}',
        '{"organization":{"name":"A B","locations":[{"city":"X","latitude":NaN,"longitude":1e999}]}}',
        '{"organization":{"name":"A B","locations":"none","services":[1,null],"phones":{"number":["1"]},"schedule":7}}',
        '{"organization":{"name":"A B","services":{"name":"S","schedules":[["TU"],{"days":[[{"day":{}}]]}]}}}',
        '{"organization":{"name":"A B","addresses":[{"address_1":5,"coordinates":{"latitude":"x","longitude":[]}}]}}',
    ],
)
def test_malformed_values_are_left_out_and_the_rest_is_kept(value):
    (record,) = organizations(read_answer(value.encode()).value)

    assert "A B" == record.name
    assert all(location.latitude is None for location in record.locations)


def test_a_name_of_a_megabyte_is_cut_and_parts_without_end_are_limited():
    (record,) = read({"name": "é" * 1_000_000, "phones": [{"number": f"{n:010}"} for n in range(5000)]})

    assert 10_000 == len(record.name)
    assert PARTS == len(record.phones)


def test_services_beside_several_organizations_go_to_their_own():
    first, second = read(
        {
            "organizations": [{"id": "o1", "name": "One"}, {"id": "o2", "name": "Two"}],
            "services": [{"organization_id": "o2", "name": "S", "location_id": "l"}, {"name": "whose?"}],
            "locations": [{"id": "l", **ADDRESS}],
        }
    )

    assert ((), ()) == (first.services, first.locations)
    assert (["S"], [(0,)]) == ([s.name for s in second.services], [s.locations for s in second.services])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"days": ["TU", "TH"], "opens": "1:30 PM", "closes": "16:00:00"}, [("TU,TH", "13:30", "16:00")]),
        ({"day_of_week": "Tuesday", "time": [{"start_time": "9:00", "end": "10:00"}]}, [("TU", "09:00", "10:00")]),
        ("Tuesdays and Fridays 9-5", [("TU,FR", None, None)]),
        ("Mon-Wed, closed on holidays", [(None, None, None)]),
        ({"description": "Monday through Thursday"}, [("MO,TU,WE,TH", None, None)]),
        ({"rrule": "FREQ=MONTHLY;BYDAY=2TU"}, [("2TU", None, None)]),
        ({"freq": "WEEKLY", "date": "2025-08-12", "start_time": "10:00"}, [("TU", "10:00", None)]),
        ({"dates": ["2025-08-12", "2025-08-13"]}, [("TU", None, None), ("WE", None, None)]),
        ({"days": [{"day": "MO", "times": [{"open": "08:00"}, {"open": "14:00"}]}]},
         [("MO", "08:00", None), ("MO", "14:00", None)]),
        ({"opens_at": {"date": "2025-08-12", "time": "25:99"}, "byday": "TU"}, [("TU", None, None)]),
        ([None, 7, {"freq": {}}, {"valid_from": "2025-99-99"}], []),
    ],
)  # fmt: skip
def test_opening_hours_are_read(value, expected):
    found = [(one.byday, one.opens_at, one.closes_at) for one in schedules(value) if one.description != "7"]

    assert expected == found


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("The Elm Street Food Pantry, Inc.", "Elm Street Pantry", True),
        ("St. Mark's Church", "Saint Marks Church", True),
        ("Grace United Methodist Church", "Grace UMC", True),
        ("Iglesia Ni\u00f1o", "IGLESIA NINO", True),
        ("Food Pantry", "Pantry", False),
        ("First Baptist Church", "First Lutheran Church", False),
        ("\u98df\u7269\u94f6\u884c", "\u6559\u5802", False),
    ],
)
def test_names_are_normalised(one, other, equal):
    assert equal == (name_key(one) == name_key(other))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("12 N Elm St", "12 North Elm Street, Suite 4", True),
        ("Community Hall 13183 OH-13", "13183 State Route 13", True),
        ("12 Elm St", "14 Elm St", False),
        ("12 Elm St", "12 Oak St", False),
        ("P.O. Box 12", "PO Box 12", True),
    ],
)
def test_addresses_are_normalised(one, other, equal):
    keys = [set(address_keys(place({**ADDRESS, "address_1": street}))) for street in (one, other)]

    assert equal == bool(keys[0] & keys[1])


def test_a_telephone_number_is_no_street():
    assert () == address_keys(place({**ADDRESS, "address_1": "330-555-0142"}))
    assert "3305550142" == phone_key("+1 (330) 555-0142 ext. 12")


def known(name="Elm Pantry", scraper="a", **members):
    (record,) = read({"name": name, "description": "-", **members})
    return profile(record, scraper)


def at(north, **address):
    """A place some meters north of the others."""
    return {"locations": [{**address, "latitude": 41.1 + north / 111_195, "longitude": -81.5}]}


OTHER_PHONE = {"number": "330-555-0199"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(known(phones=[PHONE]), known(scraper="b", phones=[PHONE, OTHER_PHONE]), True, id="a phone"),
        pytest.param(known("Elm", phones=[PHONE]), known("Oak", phones=[PHONE]), False, id="a phone, other names"),
        pytest.param(known(addresses=[ADDRESS]), known(scraper="b", addresses=[ADDRESS]), True, id="an address"),
        pytest.param(
            known("Elm (Ash)", phones=[PHONE]), known("Elm", phones=[PHONE]), True, id="a phone, with brackets"
        ),
        pytest.param(known("Elm (Ash)", phones=[PHONE]), known("Elm Ash", phones=[PHONE]), True, id="brackets or none"),
        pytest.param(known("Elm (Ash)"), known("Elm (Oak)"), False, id="nothing but names with brackets"),
        pytest.param(known(**at(0)), known(scraper="b", **at(240)), True, id="240 m"),
        pytest.param(known(**at(0)), known(scraper="b", **at(260)), False, id="260 m"),
        pytest.param(
            known(**at(0), phones=[PHONE]),
            known(scraper="b", **at(0), phones=[OTHER_PHONE]),
            False,
            id="phones contradict",
        ),
        pytest.param(
            known(**at(0, address_1="1 Elm St", city="X"), phones=[PHONE]),
            known(scraper="b", **at(90, address_1="Elm Sq 1", city="Y"), phones=[OTHER_PHONE]),
            True,
            id="near, with streets",
        ),
        pytest.param(
            known(addresses=[ADDRESS]), known(addresses=[{"city": "Ashford", "state": "NY"}]), False, id="states differ"
        ),
        pytest.param(
            known(addresses=[ADDRESS]), known(addresses=[ADDRESS | {"address_1": "99 Oak"}]), True, id="a town"
        ),
        pytest.param(
            known(addresses=[ADDRESS]),
            known(scraper="b", addresses=[ADDRESS | {"address_1": "9 Oak"}]),
            False,
            id="a town only",
        ),
        pytest.param(known(), known(), True, id="nothing but a name"),
        pytest.param(known(), known(scraper="b"), False, id="nothing but a name, other scraper"),
        pytest.param(known(phones=[PHONE]), known(phones=[OTHER_PHONE]), True, id="no street known of either"),
        pytest.param(known(city="Ashford"), known(city="Bell"), False, id="no street known, other towns"),
        pytest.param(known(phones=[PHONE]), known(addresses=[ADDRESS]), False, id="no street known of one"),
    ],
)
def test_the_rule(one, other, expected):
    assert [expected, expected] == [same(one, other), same(other, one)]
    if expected:
        assert set(one.lookups()) & set(other.own_keys())
        assert set(other.lookups()) & set(one.own_keys())


def test_whatever_is_near_shares_a_square_of_the_grid():
    random_ = random.Random(7)
    for _ in range(2000):
        latitude, longitude = random_.uniform(-60, 60), random_.uniform(-179, 179)
        here = (latitude, longitude)
        there = (latitude + random_.uniform(-0.003, 0.003), longitude + random_.uniform(-0.004, 0.004))
        one, other = (known(latitude=point[0], longitude=point[1]) for point in (here, there))
        if distance(*[one.points[0][:2], other.points[0][:2]]) <= 250:
            assert same(one, other) == bool(set(one.lookups()) & set(other.own_keys()))


def test_groups_do_not_depend_on_the_order_of_joins():
    joins = [("a", "b"), ("c", "d"), ("b", "d"), ("e", "f")]
    expected = [["a", "b", "c", "d"], ["e", "f"], ["g"]]

    for order in itertools.permutations(joins):
        groups = Groups()
        for one, other in order:
            groups.join(one, other)
        assert expected == groups.sets("gfedcba")


def source(number, **members):
    (record,) = read({"name": "Elm Pantry", "description": None, **members})
    return Source(record, f"j{number}", "s", f"2025-08-0{number}T00:00:00.000000Z")


def test_the_newest_value_that_is_not_empty_stands_and_its_row_says_whence():
    older = source(1, description="old", email="a@b.example", addresses=[ADDRESS], phones=[PHONE])
    newer = source(
        2, description="new", email=None, addresses=[ADDRESS | {"city": "Ashford Falls"}], phones=[OTHER_PHONE]
    )

    found = rows("7d9f0c1e-0000-5000-8000-000000000000", [newer, older])

    (organization,) = found.organizations
    assert ("new", "a@b.example", "j2") == tuple(organization[one] for one in ("description", "email", "job_id"))
    assert [("Ashford Falls", "j2")] == [(row["city"], row["job_id"]) for row in found.locations]
    assert {("330-555-0142", "j1"), ("330-555-0199", "j2")} == {(row["number"], row["job_id"]) for row in found.phones}


def test_the_hours_of_a_service_at_a_location_are_replaced_as_a_whole():
    older = source(1, addresses=[ADDRESS], services=[{"name": "S", "schedules": [{"byday": "MO"}, {"byday": "TU"}]}])
    newer = source(2, addresses=[ADDRESS], services=[{"name": "S services", "schedules": [{"byday": "WE"}]}])

    found = rows("7d9f0c1e-0000-5000-8000-000000000000", [newer, older])

    assert ["WE"] == [row["byday"] for row in found.schedules]
    assert [row["id"] for row in found.services] == [row["service_id"] for row in found.schedules]
    assert [row["id"] for row in found.locations] == [row["location_id"] for row in found.schedules]
