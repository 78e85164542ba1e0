"""Given what the log holds, when Redis has lost its state, then these events are still to be worked on."""

import pytest

from playhead.consumers.work.recovery import unfinished
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.history import History
from playhead.eventlog.writer import LogWriter
from playhead.streams.events import Recorded, new_event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

HERE, BESIDE, ANOTHER = Partition("texts", 0), Partition("texts", 1), Partition("translations", 0)


class Translate:
    name = "translate"
    types = frozenset({"text.written"})
    ends = frozenset({"text.translated"})

    def key(self, event):
        return event.causationid if event.type in self.ends else event.id


@pytest.fixture
def write(tmp_path):
    def write(partition, at, type, **attributes):
        event = new_event(type, subject="text/1", data={}, **{"source": "playhead/translate"} | attributes)
        log = LogWriter(tmp_path, segment_bytes=1)  # each segment is sealed at once
        log.open(partition, 1)
        log.apply(Batch(Source(partition, None), [Recorded(event, Position(at, 0))], Position(at, 0)))
        log.close()

    return write


@pytest.fixture
def left(tmp_path):
    def left(rivals=()):
        found = unfinished(Translate(), HERE, History(tmp_path), rivals)
        assert Position(20, 0) == found.tail
        return [one.event.id for one in found.events]

    return left


@pytest.fixture(autouse=True)
def texts(write):
    write(HERE, 10, "text.written", id="a")
    write(HERE, 20, "text.written", id="b")


@pytest.mark.parametrize("partition", [BESIDE, ANOTHER])
@pytest.mark.parametrize("at", [5, 10, 15, 30])
def test_work_that_ended_elsewhere_is_finished_whatever_the_clock_there_said(write, left, partition, at):
    write(partition, at, "text.translated", causationid="a")
    write(partition, at + 1, "text.read", causationid="b")

    assert ["b"] == left()


def test_only_the_ends_of_rivals_count_for_nothing(write, left):
    write(ANOTHER, 30, "text.translated", causationid="a", source="playhead/rival")

    assert ["b"] == left()
    assert ["a", "b"] == left(rivals={"rival"})


@pytest.mark.parametrize("source", ["playhead/translate", "playhead", "playhead/its-former-name", "someone"])
def test_an_end_by_hand_or_of_a_former_version_counts(write, left, source):
    write(ANOTHER, 30, "text.translated", causationid="a", source=source)
    write(ANOTHER, 40, "text.translated", causationid="b", source="playhead/rival")

    assert ["b"] == left(rivals={"rival"})


def test_a_log_of_which_a_part_cannot_be_read_is_not_taken_for_one_without_ends(write, left, tmp_path):
    write(ANOTHER, 30, "text.translated", causationid="a")
    (segment,) = (tmp_path / "translations" / "0").glob("*.jsonl*")
    segment.write_bytes(b"{}\n")

    with pytest.raises(LogCorrupt, match="translations/0"):
        left()
