"""What each sink did with what was appended, effect by effect."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import psycopg

from streams.events import Event
from tests.faults.reports import Harm
from tests.integration.stage import Stage

EFFECTS = """
CREATE TABLE effects (number bigserial, job_id text, event_id text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO effects (job_id, event_id) VALUES (NEW.job_id, NEW.event_id); RETURN NULL; END $$;
CREATE TRIGGER effects AFTER INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note_effect();
"""


def prepare(stage: Stage) -> None:
    """Have the database note every write to `jobs`."""
    with psycopg.connect(stage.database) as connection:
        connection.execute(EFFECTS)


def audit(stage: Stage, sink: str, events: Sequence[Event], *, naive: bool = False) -> Harm:
    """Compare a sink, or the naive one in its place, with the events in the order they were appended."""
    match sink:
        case "jobs":
            with psycopg.connect(stage.database) as connection:
                effects = connection.execute("SELECT job_id, event_id FROM effects ORDER BY number").fetchall()
            final = {} if naive else stage.rows()
        case "json-files" if not naive:
            return _audit_files(stage, events)
        case "log" if not naive:
            effects = [("", event_id) for event_id in stage.logged()]
            harm = compare(effects, [("", event.id) for event in events])
            return Harm(
                harm.lost + len(events) - len({event_id for _, event_id in effects}), *(harm.duplicated, harm.wrong)
            )
        case _:
            path = stage.directory / "effects"
            lines = path.read_bytes().splitlines() if path.exists() else []
            effects = [(subject.removeprefix("job/"), event_id) for subject, event_id in map(json.loads, lines)]
            final = {}
    expected = [(event.subject.removeprefix("job/"), event.id) for event in events]
    harm = compare(effects, expected)
    last = dict(expected)
    stands = final or dict(effects)
    return harm + Harm(lost=sum(stands.get(job_id) != event_id for job_id, event_id in last.items()))


def compare(effects: Iterable[tuple[str, str]], expected: Sequence[tuple[str, str]]) -> Harm:
    """Effects that happened twice, and effects of one subject after a later one of it."""
    place = {event_id: number for number, (_, event_id) in enumerate(expected)}
    seen: Counter[str] = Counter()
    latest: defaultdict[str, int] = defaultdict(lambda: -1)
    wrong = 0
    for subject, event_id in effects:
        seen[event_id] += 1
        number = place.get(event_id, -1)
        wrong += number < latest[subject] and seen[event_id] == 1
        latest[subject] = max(latest[subject], number)
    return Harm(duplicated=sum(count - 1 for count in seen.values()), wrong=wrong)


def _audit_files(stage: Stage, events: Sequence[Event]) -> Harm:
    latest = {event.subject.removeprefix("job/"): event for event in events}
    found: Counter[str] = Counter()
    wrong = 0
    for path in stage.directory.glob("outputs/daily/*/scrapers/*/*.json"):
        content = json.loads(path.read_bytes())
        job_id = content["job_id"]
        found[job_id] += 1
        expected = latest[job_id]
        members = json.loads(expected.data) | {"event_id": expected.id}
        wrong += any(content[name] != value for name, value in members.items())
    summary = json.loads(next(stage.directory.glob("outputs/daily/*/summary.json")).read_bytes())
    wrong += summary["total_jobs"] != len(found)
    return Harm(len(latest.keys() - found.keys()), sum(found.values()) - len(found), wrong)
