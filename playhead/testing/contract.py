"""The contract that every sink keeps: subclass `SinkContract` in a test module, and pytest runs it."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import ClassVar, Literal

import msgspec
import pytest

from playhead.streams.errors import Fenced, PlayheadError
from playhead.streams.events import Event, Recorded, new_event
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.sinks import Batch, Sink, Source
from playhead.testing.kills import apply_and_die

Fence = Literal["epoch", "lock", "none"]
_BEGIN = 1_767_225_600_000
_LONG_AGO = "2020-01-01T00:00:00.000000Z"


class SinkContract(ABC):
    """What a consumer process relies on in a sink.

    A test makes sinks of one place by `make_sink`, each as a process of its own would, applies events to them, and
    compares what `holds` says. So each test needs an empty place.
    """

    stream: ClassVar[str]
    """A stream that the sink reads."""
    fence: ClassVar[Fence] = "epoch"
    """What keeps a former owner from writing: its successor's epoch, a lock that a successor waits for, or nothing.

    A sink needs nothing if an event has the same effect whoever applies it, and an older one never overwrites a newer.
    """
    keeps_all: ClassVar[bool] = False
    """Whether every event stands; or the last of each subject does, in place of those before it."""
    keeps_foreign: ClassVar[bool] = False
    """Whether events of types that nobody declares stand too, as in the log."""
    points: ClassVar[Sequence[Point]] = ()
    """Failpoints that `apply` crosses: `FILE_POINTS` or `TABLE_POINTS` of `playhead.testing.kills`, or your own."""
    forks: ClassVar[bool] = True
    """Whether the sink works in a forked process. A client of a bucket does not, and is not killed here."""

    @abstractmethod
    def make_sink(self) -> Sink:
        """Make a sink of the place of this test, not yet opened."""

    @abstractmethod
    def event(self, number: int, subject: str) -> Event:
        """Make an event with the id `e<number>` that has an effect; `subject` is a letter that stands for a subject."""

    @abstractmethod
    def holds(self) -> Mapping[str, Sequence[str]]:
        """Read the ids of the events that stand, by the letter of their subject, in order if there is one."""

    def snapshot(self) -> object:
        """Read all that there is, to be compared: what `holds` says, unless you look closer."""
        return self.holds()

    def refused(self, number: int, subject: str) -> Event | None:  # noqa: ARG002  # for those that have one
        """Make an event that the sink can never apply; None if there is none."""
        return None

    @pytest.fixture(autouse=True)
    def close_sinks(self) -> Generator[None, None, None]:
        """Close what a test opened."""
        self._opened: list[Sink] = []
        self._epoch = 0
        yield
        for sink in self._opened:
            sink.close()

    def test_events_take_effect_in_their_order(self) -> None:
        sink = self._open()
        events = self._events("abacab")

        assert sink.apply(self._batch(events)) == "applied"
        sink.settle()
        assert self._standing() == self._expected("abacab")

    def test_events_one_by_one_take_the_effect_that_they_have_together(self) -> None:
        sink = self._open()
        events = self._events("abacab")

        for event in events:
            assert sink.apply(self._batch([event])) == "applied"

        sink.settle()
        assert self._standing() == self._expected("abacab")

    def test_a_batch_that_comes_again_changes_nothing(self) -> None:
        sink = self._open()
        batch = self._batch(self._events("abac"))
        sink.apply(batch)
        once = self._settled(sink)

        assert sink.apply(batch) in {"applied", "already applied"}
        assert self._settled(sink) == once

    def test_a_batch_that_overlaps_the_one_before_adds_what_is_new(self) -> None:
        sink = self._open()
        events = self._events("abacab")
        sink.apply(self._batch(events[:4]))

        assert sink.apply(self._batch(events[2:])) == "applied"
        sink.settle()
        assert self._standing() == self._expected("abacab")

    def test_a_replay_of_everything_changes_nothing(self) -> None:
        sink = self._open()
        events = self._events("abacab")
        sink.apply(self._batch(events))
        before = self._settled(sink)

        replayed = [msgspec.structs.replace(one, replay="run-1") for one in events]
        assert sink.apply(self._batch(replayed, replay="run-1")) in {"applied", "already applied"}
        assert self._settled(sink) == before

    def test_an_older_event_that_is_replayed_never_overwrites_a_newer(self) -> None:
        sink = self._open()
        events = self._events("aa")
        sink.apply(self._batch(events))
        before = self._settled(sink)

        sink.apply(self._batch([msgspec.structs.replace(events[0], replay="run-1")], replay="run-1"))

        assert self._settled(sink) == before

    def test_an_imported_event_never_overwrites_one_with_a_later_time(self) -> None:
        sink = self._open()
        newer = self._recorded(1, self.event(1, "a"))
        imported = msgspec.structs.replace(self.event(2, "a"), imported="run-1", time=_LONG_AGO)
        sink.apply(self._batch([newer]))

        sink.apply(self._batch([self._recorded(2, imported)]))

        sink.settle()
        assert "e1" in self.holds()["a"]
        assert self.keeps_all or len(self.holds()["a"]) == 1

    def test_a_batch_that_fails_leaves_nothing_behind(self) -> None:
        bad = self.refused(3, "c")
        if bad is None:
            pytest.skip("there is no event that it refuses")
        sink = self._open()
        events = self._events("ab")
        before = self._settled(sink)

        with pytest.raises(Exception) as failed:  # noqa: PT011  # the sink says what it means
            sink.apply(self._batch([*events, self._recorded(3, bad)]))

        assert sink.classify(failed.value) == "permanent"
        assert self._settled(sink) == before
        assert sink.apply(self._batch(events)) == "applied"
        sink.settle()
        assert self._standing() == self._expected("ab")

    def test_events_of_other_types_only_move_the_checkpoint(self) -> None:
        sink = self._open()
        events = self._events("ab")
        sink.apply(self._batch(events))
        before = self._settled(sink)
        foreign = new_event("nobody.declares", subject="s", data={}, id="foreign")

        last = self._recorded(3, foreign)
        assert sink.apply(self._batch([last])) in {"applied", "already applied"}
        if not self.keeps_foreign:
            assert self._settled(sink) == before
        sink.close()
        assert self._checkpoint(self.make_sink()) in {None, last.position}

    def test_a_successor_continues_at_the_checkpoint(self) -> None:
        events = self._events("abacab")
        former = self._open()
        former.apply(self._batch(events[:3]))
        former.close()

        successor = self.make_sink()
        checkpoint = self._checkpoint(successor)

        assert checkpoint in {None, events[2].position}
        assert successor.apply(self._batch(events[3:])) == "applied"
        successor.settle()
        assert self._standing() == self._expected("abacab")

    def test_an_empty_place_has_no_checkpoint_and_takes_everything(self) -> None:
        sink = self.make_sink()

        assert self._checkpoint(sink) in {None, START}
        assert sink.apply(self._batch(self._events("ab"))) == "applied"
        sink.settle()
        assert self._standing() == self._expected("ab")

    def test_a_process_that_opens_again_goes_on(self) -> None:
        events = self._events("abacab")
        sink = self._open()
        sink.apply(self._batch(events[:3]))

        assert self._checkpoint(sink) in {None, events[2].position}
        assert sink.apply(self._batch(events[3:])) == "applied"
        sink.settle()
        assert self._standing() == self._expected("abacab")

    def test_a_former_owner_does_no_harm(self) -> None:
        events = self._events("abab")
        former = self._open()
        former.apply(self._batch(events[:2]))
        former.settle()
        successor = self.make_sink()
        if self.fence == "lock":
            with pytest.raises(Exception) as refused:  # noqa: PT011  # the sink says what it means
                self._checkpoint(successor)
            waits = successor.classify(refused.value) == "transient" or isinstance(refused.value, PlayheadError)
            assert waits, f"{refused.value!r} would end the process that waits for the lock"
            former.close()
        self._checkpoint(successor)
        successor.apply(self._batch(events[2:]))
        before = self._settled(successor)

        if self.fence == "epoch":
            late = self._recorded(5, self.event(5, "a"))
            assert former.apply(self._batch([late])) == "fenced"
        elif self.fence == "none":
            former.apply(self._batch(events[:2]))
            former.settle()

        assert self._settled(successor) == before
        assert self._standing() == self._expected("abab")

    def test_a_lower_epoch_than_that_of_the_owner_is_fenced(self) -> None:
        if self.fence != "epoch":
            pytest.skip("its fence is no epoch")
        owner = self.make_sink()
        self._opened.append(owner)
        owner.open(self.partition, 2)
        late = self.make_sink()
        self._opened.append(late)

        with pytest.raises(Fenced) as fenced:
            late.open(self.partition, 1)

        assert fenced.value.standing == 2  # noqa: PLR2004  # as opened above
        assert owner.apply(self._batch(self._events("a"))) == "applied"

    def test_partitions_do_not_disturb_each_other(self) -> None:
        sink = self._open()
        other = Partition(self.partition.stream, 1)
        sink.open(other, self._epoch)
        events = self._events("abab")
        apart = [self._recorded(number, self.event(number, "z")) for number in (5, 6)]

        sink.apply(self._batch(events[:2]))
        sink.apply(self._batch(apart[:1], partition=other))
        sink.apply(self._batch(events[2:]))
        sink.apply(self._batch(apart[1:], partition=other))

        sink.settle()
        assert self._standing() == self._expected("ababzz")

    def test_settling_again_changes_nothing(self) -> None:
        sink = self._open()
        sink.settle()
        sink.apply(self._batch(self._events("abac")))
        before = self._settled(sink)

        assert self._settled(sink) == before
        sink.close()
        assert self.snapshot() == before

    def test_a_process_may_be_killed_at_any_point(self) -> None:
        if not self.forks:
            pytest.skip("it does not work in a forked process")
        subjects = "aba" * (len(self.points) + 1)
        events = self._events(subjects)
        acknowledged = START
        for turn, point in enumerate((*self.points, None)):
            batch = self._batch(events[3 * turn : 3 * turn + 3])
            epochs = {self.partition: self._next_epoch()}
            assert apply_and_die(self.make_sink, epochs, batch, point), f"apply never came to {point}"

            survivor = self.make_sink()
            checkpoint = self._checkpoint(survivor)
            cursor = acknowledged if checkpoint is None else checkpoint
            assert acknowledged <= cursor <= batch.last
            left = [one for one in batch.events if one.position > cursor]
            if left:
                survivor.apply(self._batch(left))
            survivor.close()
            acknowledged = batch.last

        assert self._standing() == self._expected(subjects)

    def test_errors_are_classified(self) -> None:
        sink = self.make_sink()
        self._opened.append(sink)

        assert sink.classify(ConnectionError("away")) == "transient"
        assert sink.classify(ValueError("no such thing")) == "permanent"

    @property
    def partition(self) -> Partition:
        """The partition that most tests write to."""
        return Partition(self.stream, 0)

    def _open(self) -> Sink:
        sink = self.make_sink()
        self._checkpoint(sink)
        return sink

    def _checkpoint(self, sink: Sink) -> Position | None:
        """Open a sink as the next owner."""
        self._opened.append(sink)
        return sink.open(self.partition, self._next_epoch())

    def _next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def _settled(self, sink: Sink) -> object:
        sink.settle()
        return self.snapshot()

    def _events(self, subjects: str) -> list[Recorded]:
        return [self._recorded(number, self.event(number, subject)) for number, subject in enumerate(subjects, 1)]

    def _recorded(self, number: int, event: Event) -> Recorded:
        return Recorded(event, Position(_BEGIN + number, 0), number)

    def _batch(
        self, events: Sequence[Recorded], *, replay: str | None = None, partition: Partition | None = None
    ) -> Batch:
        return Batch(Source(partition or self.partition, replay), events, events[-1].position)

    def _expected(self, subjects: str) -> dict[str, list[str]]:
        """What `holds` says after events of these subjects, by their letters."""
        found: dict[str, list[str]] = {}
        for number, subject in enumerate(subjects, 1):
            found[subject] = [*found.get(subject, []), f"e{number}"] if self.keeps_all else [f"e{number}"]
        return found

    def _standing(self) -> dict[str, list[str]]:
        return {subject: list(ids) for subject, ids in self.holds().items()}
