"""The contract has teeth: each of these sinks breaks it in one way, and one of its tests says so."""

import json

import pytest

from playhead.projections.failures import classify
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import new_event
from playhead.streams.failpoints import Point
from playhead.testing import FILE_POINTS
from playhead.testing.contract import SinkContract


class Naive:
    """The newest event of each subject in one file, with the position of the last one."""

    name, streams, exclusive = "naive", ("notes",), True

    def __init__(self, path, fault):
        self._path, self._fault = path, fault
        self._epoch = 0

    def open(self, partition, epoch):
        state = self._state()
        if self._fault != "forgets its epoch":
            state["epoch"] = self._epoch = epoch
        self._write(state)

    def apply(self, batch):
        state = self._state()
        if self._fault == "loses its first batch" and not state["notes"] and state["count"] == 0:
            state["count"] = 1
            self._write(state)
            return "applied"
        if self._fault != "forgets its epoch" and state["epoch"] != self._epoch:
            return "fenced"
        for recorded in batch.events:
            if recorded.event.type != "note.submitted":
                continue
            if json.loads(recorded.event.data) is None:
                raise InvalidEvent("data", "is nothing")
            subject, new = recorded.event.subject, [str(recorded.order), recorded.event.id]
            old = state["notes"].get(subject)
            if self._fault == "counts":
                state["count"] += 1
            if old is None or new > old or self._fault == "takes what comes last":
                state["notes"][subject] = new
            if self._fault == "writes event by event":
                self._write(state)
        self._write(state)
        return "applied"

    def settle(self): ...
    def close(self): ...

    def classify(self, error):
        return "permanent" if self._fault == "blames every event" else classify(error)

    def _state(self):
        empty = {"epoch": 0, "notes": {}, "count": 0}
        return json.loads(self._path.read_text()) if self._path.exists() else empty

    def _write(self, state):
        self._path.write_text(json.dumps(state))


class OfNaive(SinkContract):
    stream = "notes"
    fence = "epoch"
    fault = "none"

    def __init__(self, path, fault):
        self.path, self.fault = path, fault
        self._opened, self._epoch = [], 0

    def make_sink(self):
        return Naive(self.path, self.fault)

    def event(self, number, subject):
        return new_event("note.submitted", subject=subject, data={}, id=f"e{number}")

    def refused(self, number, subject):
        return new_event("note.submitted", subject=subject, data=None, id=f"e{number}")

    def snapshot(self):
        state = json.loads(self.path.read_text())
        return state["notes"], state["count"]

    def holds(self):
        return {subject: [event_id] for subject, (_, event_id) in self.snapshot()[0].items()}


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("counts", "test_a_batch_that_comes_again_changes_nothing"),
        ("loses its first batch", "test_an_empty_place_has_no_checkpoint_and_takes_everything"),
        ("counts", "test_a_replay_of_everything_changes_nothing"),
        ("takes what comes last", "test_an_older_event_that_is_replayed_never_overwrites_a_newer"),
        ("takes what comes last", "test_an_imported_event_never_overwrites_one_with_a_later_time"),
        ("forgets its epoch", "test_a_former_owner_does_no_harm"),
        ("writes event by event", "test_a_batch_that_fails_leaves_nothing_behind"),
        ("blames every event", "test_errors_are_classified"),
    ],
)
def test_a_sink_that_breaks_the_contract_fails(tmp_path, fault, test):
    with pytest.raises(AssertionError):
        getattr(OfNaive(tmp_path / "naive", fault), test)()

    getattr(OfNaive(tmp_path / "right", "none"), test)()


@pytest.mark.parametrize("point", [None, *FILE_POINTS])
def test_a_point_that_a_sink_never_crosses_is_noticed(tmp_path, point):
    contract = OfNaive(tmp_path / "naive", "none")
    contract.points = [] if point is None else [Point(point)]

    if point is None:
        contract.test_a_process_may_be_killed_at_any_point()
    else:
        with pytest.raises(AssertionError, match=f"never came to {point}"):
            contract.test_a_process_may_be_killed_at_any_point()
