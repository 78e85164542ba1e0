"""What each sink did with what was appended, effect by effect."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from playhead.streams.events import Event
from tests.faults.effects import archived, effects_in, kind_of, paid_in, rows_in, subject_of
from tests.faults.reports import Harm
from tests.support.ledger import ledger_lines
from tests.support.pipeline import Pipeline

Effect = tuple[str, str]
"""Subject and event id."""


def audit(pipeline: Pipeline, sink: str, events: Sequence[Event], *, naive: bool = False) -> Harm:
    """Compare a sink, or the naive one in its place, with the events in the order they were appended."""
    kind = kind_of(sink)
    expected = [(subject_of(event), event.id) for event in events]
    if kind.table:
        effects = effects_in(pipeline.database)
        standing = effects if naive else rows_in(pipeline.database, kind)
        return compare(effects, expected) + _missing(standing, expected, every=kind.every)
    if naive:
        path = pipeline.directory / "effects"
        lines = path.read_bytes().splitlines() if path.exists() else []
        whole = [line for line in lines if line.startswith(b"[") and line.endswith(b"]") and line.count(b"[") == 1]
        effects = [(subject, event_id) for subject, event_id in map(json.loads, whole)]
        return (
            Harm(wrong=len(lines) - len(whole)) + compare(effects, expected) + _missing(effects, expected, every=False)
        )
    if sink == "json-files":
        return _audit_files(pipeline, events)
    if sink in {"ledger", "daily-payments"}:
        effects = _lines(pipeline, sink)
        return compare(effects, expected) + _missing(effects, expected, every=True)
    if sink == "archives":
        effects = [("", event_id) for event_id in archived(pipeline.directory / "archives")]
    else:
        # Several partitions are in no order among one another, but each subject is within its own.
        subjects = {event_id: subject for subject, event_id in expected} if pipeline.partitions > 1 else {}
        effects = [(subjects.get(event_id, ""), event_id) for event_id in pipeline.logged()]
        if subjects:
            return compare(effects, expected) + _missing(effects, expected, every=True)
    whole = [("", event_id) for _, event_id in expected]
    return compare(effects, whole) + _missing(effects, whole, every=True)


def _lines(pipeline: Pipeline, sink: str) -> list[Effect]:
    if sink == "daily-payments":
        return paid_in(pipeline.directory / sink)
    return [(subject.removeprefix("job/"), event_id) for subject, event_id in ledger_lines(pipeline.directory / sink)]


def _missing(standing: Sequence[Effect], expected: Sequence[Effect], *, every: bool) -> Harm:
    """Events of which nothing stands: all of them, or the last of each subject, which alone has to."""
    if every:
        return Harm(lost=len({event_id for _, event_id in expected} - {event_id for _, event_id in standing}))
    found = dict(standing)
    return Harm(lost=sum(found.get(subject) != event_id for subject, event_id in dict(expected).items()))


def compare(effects: Iterable[Effect], expected: Sequence[Effect]) -> Harm:
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


def _audit_files(pipeline: Pipeline, events: Sequence[Event]) -> Harm:
    latest = {event.subject.removeprefix("job/"): event for event in events}
    found: Counter[str] = Counter()
    wrong = 0
    for path in pipeline.directory.glob("outputs/daily/*/scrapers/*/*.json"):
        content = json.loads(path.read_bytes())
        job_id = content["job_id"]
        found[job_id] += 1
        expected = latest[job_id]
        members = json.loads(expected.data) | {"event_id": expected.id}
        wrong += any(content[name] != value for name, value in members.items())
    totals = [
        json.loads(path.read_bytes())["total_jobs"] for path in pipeline.directory.glob("outputs/daily/*/summary.json")
    ]
    wrong += totals != [len(found)]
    return Harm(len(latest.keys() - found.keys()), sum(found.values()) - len(found), wrong)
