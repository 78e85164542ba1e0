"""Answers that list organizations, as events, and the rows that they became."""

import json
import random

import psycopg

from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

PARTITION = Partition("jobs", 0)
LIVE = Source(PARTITION)
REPLAY = Source(PARTITION, "run-1")
DERIVED = ("organizations", "locations", "services", "phones", "schedules", "sources", "organization_matches")
PHONES = [{"number": f"330-555-01{number:02}"} for number in range(10)]


def job(number, result, job_id=None, scraper="a", created=None, at=None, type_="job.completed"):
    payload = {
        "job_id": job_id or f"j{number}",
        "job": {"metadata": {"scraper_id": scraper}, "created_at": created or f"2025-08-09 06:00:{number % 60:02}"},
        "result": result if isinstance(result, str) else json.dumps(result),
    }
    event = Event(
        id=f"e{number}",
        source="test",
        type=type_,
        time="2025-08-09T07:00:00Z",
        subject=payload["job_id"],
        data=json.dumps(payload).encode(),
    )
    return Recorded(event, Position(1754800000000 + (number if at is None else at), 0))


def batch(*events, source=LIVE):
    return Batch(source, events, max(event.position for event in events))


def place(street="12 Elm St", city="Ashford", **more):
    return {"address_1": street, "city": city, "state_province": "OH", "postal_code": "44999", **more}


def organization(name="Elm Street Pantry", **members):
    return {"organization": {"name": name, "description": "-", **members}}


def query(database, statement):
    with psycopg.connect(database) as connection:
        return connection.execute(statement).fetchall()


def tables(database):
    return {table: sorted(map(repr, query(database, f"SELECT * FROM {table}"))) for table in DERIVED} | {
        "results": query(database, "SELECT job_id, outcome, organizations FROM organization_results ORDER BY 1")
    }


def day():
    """Results that join, bridge, correct and contradict each other."""
    random_ = random.Random(5)
    events = []
    for number in range(90):
        name = random_.choice(["Elm Street Pantry", "The Elm Street Food Pantry", "Grace UMC", "Hope", "Hope Inc."])
        members = {
            "phones": random_.sample(PHONES, random_.choice([0, 1, 1, 2])),
            "addresses": [
                place(f"{random_.randrange(1, 6)} Oak St", random_.choice(["Ashford", "Bell"]))
                for _ in range(random_.choice([0, 1, 1, 2]))
            ],
            "email": random_.choice([None, f"{number}@x.example"]),
        }
        if random_.random() < 0.3:
            members["latitude"], members["longitude"] = 41 + random_.randrange(40) / 1000, -81.5
        result = organization(name, **members) | {"services": [{"name": "S", "schedules": [{"byday": "TU"}]}]}
        if random_.random() < 0.1:
            result = "no data"
        scraper = random_.choice("ab")
        events.append(job(number, result, job_id=f"j{random_.randrange(70)}", scraper=scraper))
    return events
