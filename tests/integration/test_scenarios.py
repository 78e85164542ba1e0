"""Scenarios: what a projection or a worker of one's own makes of events, however they come."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from playhead import Batch, Domain, InvalidEvent, Partition, Place, Position, Recorded
from playhead.consumers.errors import Retry
from playhead.projections.failures import classify
from playhead.projections.file_projection import FileProjection
from playhead.streams.events import new_event
from playhead.streams.sinks import Failure, Outcome
from playhead.testing import DELIVERIES, Timeline, WorkerScenario
from tests.support.invoices import InvoicePaid, ReceiptSent, invoices, stream
from tests.support.workers import Enrich

NEWEST = "SELECT number, amount FROM revenue ORDER BY number"
broken = Domain("broken")
broken.stream(stream)


@broken.projection("counter", reads=[InvoicePaid])
class Counter(FileProjection):
    """Counts in place of folding what is there, so an event that comes again counts twice."""

    def file_of(self, event: Recorded[InvoicePaid]) -> str:
        return "count"

    def fold(self, name: str, content: bytes | None, events: Sequence[Recorded[InvoicePaid]]) -> bytes:
        return str(int(content or 0) + len(events)).encode()


@broken.projection("arrivals", reads=[InvoicePaid])
class Arrivals(FileProjection):
    """Keeps what came last, whatever its order."""

    def file_of(self, event: Recorded[InvoicePaid]) -> str:
        return "last"

    def fold(self, name: str, content: bytes | None, events: Sequence[Recorded[InvoicePaid]]) -> bytes:
        return events[-1].data.number.encode()


@broken.projection("processes", reads=[InvoicePaid])
class Processes:
    """A sink of one's own, without a checkpoint: the process that applied each batch."""

    name, streams, exclusive = "processes", ("invoices",), False
    only: int | None = None

    def __init__(self, place: Place) -> None:
        self._file = Path(place.location, "processes")

    def open(self, partition: Partition, epoch: int) -> Position | None:
        self._file.parent.mkdir(parents=True, exist_ok=True)

    def apply(self, batch: Batch) -> Outcome:
        if self.only not in {None, os.getpid()}:
            raise OSError("not in this process")
        with self._file.open("a") as file:
            file.write(f"{os.getpid()} {batch.events[0].event.id}\n")
        return "applied"

    def settle(self) -> None: ...

    def close(self) -> None: ...

    def classify(self, error: Exception) -> Failure:
        return classify(error)


def test_rows_are_the_same_however_events_come(playhead_scenarios, playhead_delivery):
    revenue = playhead_scenarios.projection(invoices, "revenue")

    revenue.given(InvoicePaid("1", 10), InvoicePaid("2", 20))
    revenue.when(InvoicePaid("1", 11), InvoicePaid("3", 30), InvoicePaid("1", 12), delivery=playhead_delivery, seed=3)

    assert [("1", 12), ("2", 20), ("3", 30)] == revenue.rows(NEWEST)


def test_files_are_the_same_however_events_come(playhead_scenarios, playhead_delivery):
    payments = playhead_scenarios.projection(invoices, "payments")

    payments.given(InvoicePaid("1", 10))
    payments.when(*(InvoicePaid(str(n), n, f"c{n % 3}") for n in range(2, 9)), delivery=playhead_delivery)

    ids = {
        name: {line.rpartition(",")[2] for line in content.decode().splitlines()}
        for name, content in payments.files().items()
    }
    assert {
        "customers/acme.csv": {"event-1"},
        "customers/c0.csv": {"event-3", "event-6"},
        "customers/c1.csv": {"event-4", "event-7"},
        "customers/c2.csv": {"event-2", "event-5", "event-8"},
    } == ids


@pytest.mark.parametrize("delivery", ["twice", "killed", "replayed"])
def test_a_projection_that_counts_is_found_out(playhead_scenarios, delivery):
    counter = playhead_scenarios.projection(broken, "counter")

    counter.when(InvoicePaid("1", 10), InvoicePaid("2", 20), delivery=delivery)

    assert {"count": b"2"} != counter.files()


def test_a_sink_of_ones_own_is_killed_after_its_effect(playhead_scenarios):
    processes = playhead_scenarios.projection(broken, "processes")

    processes.when(InvoicePaid("1", 10), delivery="killed")

    pids, ids = zip(*(line.split() for line in processes.files()["processes"].decode().splitlines()), strict=True)
    assert {"event-1"} == set(ids)
    assert [2, 3] == [len(set(pids)), len(pids)], "one that was killed, and two that live in this process"


def test_a_sink_that_no_process_can_be_killed_of_fails_the_test(playhead_scenarios, monkeypatch):
    monkeypatch.setattr(Processes, "only", os.getpid())
    processes = playhead_scenarios.projection(broken, "processes")

    with pytest.raises(AssertionError, match="no process of processes was killed"):
        processes.when(InvoicePaid("1", 10), delivery="killed")


def test_a_batch_that_a_projection_refuses_raises_its_error_from_the_process_that_lives(playhead_scenarios):
    payments = playhead_scenarios.projection(invoices, "payments")

    with pytest.raises(ValueError, match="never negative"):
        payments.when(InvoicePaid("1", -1), delivery="killed")


def test_a_projection_that_keeps_what_came_last_is_found_out_by_another_order(playhead_scenarios):
    last = set()
    for seed in range(5):
        arrivals = playhead_scenarios.projection(broken, "arrivals")
        arrivals.when(*(InvoicePaid(str(n), n) for n in range(5)), delivery="reordered", seed=seed)
        last.add(arrivals.files()["last"])

    assert len(last) > 1


def test_an_event_that_a_projection_refuses_raises_its_error_and_changes_nothing(playhead_scenarios):
    revenue = playhead_scenarios.projection(invoices, "revenue")
    revenue.given(InvoicePaid("1", 10))

    with pytest.raises(ValueError, match="never negative"):
        revenue.when(InvoicePaid("2", 20), InvoicePaid("3", -1))

    assert [("1", 10)] == revenue.rows(NEWEST)


def test_events_of_other_types_are_passed_over(playhead_scenarios):
    payments = playhead_scenarios.projection(invoices, "payments")

    payments.when(new_event("nobody.declares", subject="s", data={}), ReceiptSent("1"), InvoicePaid("1", 10))

    assert ["customers/acme.csv"] == list(payments.files())


def test_ids_and_times_of_events_follow_from_their_number():
    timeline = Timeline()

    made = [timeline.event(InvoicePaid("1", 10)), timeline.event(ReceiptSent("1"))]

    assert [
        ("event-1", "2026-01-01T00:00:00.000000Z", "invoice.paid", "invoice/1", "invoice.paid/1"),
        ("event-2", "2026-01-01T00:00:01.000000Z", "receipt.sent", "invoice/1", "receipt.sent/1"),
    ] == [(one.id, one.time, one.type, one.subject, one.dataschema) for one in made]


@pytest.mark.parametrize("delivery", ["once", "killed"])
def test_a_worker_appends_its_steps_and_its_outcome_once(playhead_scenarios, delivery):
    receipt = playhead_scenarios.worker(invoices, "receipt")

    worked = receipt.when(InvoicePaid("1", 10), delivery=delivery)

    assert "done" == worked.ending
    assert ["receipt.sent"] == [event.type for event in worked.outcome]
    assert [ReceiptSent("draft"), ReceiptSent("1")] == receipt.outcomes
    assert {"event-1"} == {event.causationid for event in receipt.appended}


def test_a_worker_that_asks_for_another_attempt_gets_it(playhead_scenarios):
    receipt = playhead_scenarios.worker(invoices, "receipt")

    worked = receipt.when(InvoicePaid("1", 10, "busy"))
    again = receipt.when(InvoicePaid("1", 10, "busy"), attempt=2)

    assert ("retry", 60, True) == (worked.ending, worked.after, worked.counts)
    assert isinstance(worked.error, Retry)
    assert "done" == again.ending


@pytest.mark.parametrize(
    ("customer", "attempt", "ending"),
    [("away", 1, "retry"), ("away", 5, "gave up"), ("unknown", 1, "gave up"), ("acme", 6, "gave up")],
)
def test_a_worker_gives_up_as_its_process_would(playhead_scenarios, customer, attempt, ending):
    receipt = playhead_scenarios.worker(invoices, "receipt")

    assert ending == receipt.when(InvoicePaid("1", 10, customer), attempt=attempt).ending


def test_a_handler_says_how_it_gave_up():
    async def refuse(task):
        await task.listen("disk")
        await task.wake("others")
        raise ValueError("no")

    enrich = WorkerScenario(Enrich(refuse))
    note = new_event("note.submitted", subject="note/1", data={}, id="n1")

    worked = enrich.when(note)

    assert "gave up" == worked.ending
    assert (["disk"], ["others"]) == (worked.listened, worked.woken)
    assert ["note.enrichment_failed"] == [event.type for event in enrich.appended]


@pytest.mark.parametrize(
    ("type", "data", "said"),
    [("nobody.declares", {}, "no domain declares"), ("note.enriched", {"note_id": 7}, "is not a valid NoteEnriched")],
)
def test_what_append_refuses_is_refused(type, data, said):
    class Careless(Enrich):
        async def handle(self, task):
            return [*await super().handle(task), task.event(type, data, step="other")]

    enrich = WorkerScenario(Careless())

    worked = enrich.when(new_event("note.submitted", subject="note/1", data={}))

    assert ("gave up", ()) == (worked.ending, tuple(worked.steps))
    assert isinstance(worked.error, InvalidEvent) and said in str(worked.error)
    assert ["note.enrichment_failed"] == [event.type for event in enrich.appended]


def test_a_worker_that_makes_ids_of_its_own_is_found_out():
    class Careless(Enrich):
        async def handle(self, task):
            return [new_event("note.enriched", subject="note/1", data={})]

    enrich = WorkerScenario(Careless())

    enrich.when(new_event("note.submitted", subject="note/1", data={}), delivery="killed")

    assert 2 == len(enrich.appended)


def test_an_event_that_a_worker_does_not_take_is_the_fault_of_the_test(playhead_scenarios):
    receipt = playhead_scenarios.worker(invoices, "receipt")

    with pytest.raises(AssertionError, match="receipt does not work on"):
        receipt.when(ReceiptSent("1"))


def test_every_delivery_is_a_parameter():
    assert ("once", "one by one", "twice", "reordered", "killed", "replayed") == DELIVERIES
