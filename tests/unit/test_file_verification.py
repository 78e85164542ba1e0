"""Given the files of a projection, when the log is folded once more, then what is wrong is named and nothing else."""

import tempfile

import pytest

from playhead import FileProjection, Place
from playhead.projections.file_verification import REPLACED, FileVerification
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source
from playhead.testing import event_of
from playhead.wiring import sink_of
from tests.support.invoices import InvoicePaid, Payments, invoices

PARTITIONS = [Partition("invoices", 0), Partition("invoices", 1)]
CATALOGUE = Catalogue([invoices])


def paid(number, customer="acme", amount=None):
    event = event_of(InvoicePaid(f"n{number}", number if amount is None else amount, customer), id=f"e{number:03}")
    return Recorded(event, Position(1_754_541_721_120 + number, 0), number)


EVENTS = [paid(number) for number in range(1, 21)] + [paid(21, "below/b c")]


class Directory:
    """The files of `payments`, written from events of two partitions."""

    def __init__(self, root):
        self.root = root
        self.acme, self.other = root / "customers/acme.csv", root / "customers/below/b%20c.csv"

    def projection(self) -> FileProjection:
        return Payments(Place("payments", catalogue=CATALOGUE, location=str(self.root)))

    def apply(self, events):
        sink = sink_of(self.projection())
        for partition, some in divided(events).items():
            sink.open(partition, 1)
            for one in some:
                sink.apply(Batch(Source(partition), [one], one.position))
        sink.close()

    def judge(self, logged, due=None, *, log_is_whole=True):
        """The faults and what is undecided, with `due` as the events that took effect."""
        due = logged if due is None else due
        positions = {one.position for one in due}
        verification = FileVerification(self.projection())
        for partition, events in divided(due).items():
            verification.follow(partition, events)
        faults, undecided = [], []
        if verification.has_doubts():
            for partition, events in divided(logged).items():
                verification.follow_again(partition, events, lambda one: one.position in positions)
            faults, undecided = verification.judge(log_is_whole=log_is_whole)
        verification.close()
        return [(fault.kind, fault.key, fault.repair) for fault in faults], undecided


def divided(events):
    return {partition: [one for one in events if one.sequence % 2 == partition.number] for partition in PARTITIONS}


@pytest.fixture
def directory(tmp_path):
    directory = Directory(tmp_path / "payments")
    directory.apply(EVENTS)
    return directory


def test_files_as_their_events_give_them_are_well(directory):
    assert ([], []) == directory.judge(EVENTS)


def test_a_file_that_is_gone_is_missing_and_a_replay_brings_it_back(directory):
    directory.other.unlink()

    assert ([("missing", "customers/below/b%20c.csv", "replay")], []) == directory.judge(EVENTS)

    directory.apply(EVENTS)

    assert ([], []) == directory.judge(EVENTS)


def test_a_directory_that_is_gone_lacks_every_file(tmp_path):
    faults, _ = Directory(tmp_path / "nowhere").judge(EVENTS)

    assert ["missing", "missing"] == [kind for kind, _, _ in faults]


def test_a_file_without_some_of_its_events_lacks_them(directory):
    directory.acme.write_bytes(b"".join(directory.acme.read_bytes().splitlines(keepends=True)[3:]))

    assert ([("stale", "customers/acme.csv", "replay")], []) == directory.judge(EVENTS)


@pytest.mark.parametrize("change", [lambda line: line + b"9,n9,9,e9\n", lambda line: line.replace(b",e001", b",eX")])
def test_a_file_that_somebody_changed_is_altered(directory, change):
    directory.acme.write_bytes(change(directory.acme.read_bytes()))

    assert ([("altered", "customers/acme.csv", "replace")], []) == directory.judge(EVENTS)


def test_a_file_that_the_projection_cannot_read_is_altered(directory):
    directory.acme.write_bytes(b"\xff\xfe\0")

    assert ([("altered", "customers/acme.csv", "replace")], []) == directory.judge(EVENTS)


def test_a_file_of_no_event_is_a_stray_and_stays_and_a_hidden_one_is_somebody_elses(directory):
    (directory.root / "customers/notes.txt").write_text("mine")
    (directory.root / ".hidden").write_text("mine")
    (directory.root / "link").symlink_to(directory.acme)

    assert ([("stray", "customers/notes.txt", "none")], []) == (
        [fault for fault in directory.judge(EVENTS)[0] if fault[1] != "link"],
        [],
    )
    assert ["customers/notes.txt", "link"] == [key for _, key, _ in directory.judge(EVENTS)[0]]


def test_what_no_replay_can_write_to_is_named_and_left(directory):
    content = directory.acme.read_bytes()
    directory.acme.unlink()
    directory.acme.symlink_to(directory.other)
    directory.other.unlink()
    directory.other.parent.rmdir()
    directory.other.parent.write_bytes(content)

    assert [
        ("altered", "customers/acme.csv", "none"),
        ("stray", "customers/below", "none"),
        ("missing", "customers/below/b%20c.csv", "none"),
    ] == directory.judge(EVENTS)[0]


@pytest.mark.parametrize("due", [0, 1, 12, 20])
def test_a_file_that_is_further_than_its_consumer_was_is_well(directory, due):
    assert ([], []) == directory.judge(EVENTS, EVENTS[:due])


def test_events_that_have_not_come_are_not_lacking(tmp_path):
    directory = Directory(tmp_path / "payments")
    directory.apply(EVENTS[:12])

    assert ([], []) == directory.judge(EVENTS, EVENTS[:12])
    assert ["stale", "missing"] == [kind for kind, _, _ in directory.judge(EVENTS)[0]]


def test_what_a_log_that_is_not_whole_may_lack_is_no_fault(directory):
    directory.other.unlink()
    (directory.root / "customers/new.csv").write_text("newer\n")
    older = [*EVENTS[:10], EVENTS[-1]]

    assert (
        [("missing", "customers/below/b%20c.csv", "replay")],
        ["customers/acme.csv", "customers/new.csv"],
    ) == directory.judge(older, log_is_whole=False)


def test_what_such_a_log_has_and_a_file_lacks_is_one(directory):
    lines = directory.acme.read_bytes().splitlines(keepends=True)
    directory.acme.write_bytes(b"".join(lines[1:]))

    assert (
        [("stale", "customers/acme.csv", "replay")],
        ["customers/below/b%20c.csv"],
    ) == directory.judge(EVENTS[:10], log_is_whole=False)


def test_an_event_that_is_refused_is_noted_and_the_others_count(directory):
    verification = FileVerification(directory.projection())
    bad = paid(8, amount=-1)
    verification.follow(PARTITIONS[0], [EVENTS[1], bad, EVENTS[3]])

    assert [bad.position] == [one.position for one in verification.refused]
    assert verification.has_doubts()
    assert [] == directory.judge([*EVENTS, paid(40, amount=-1)])[0]


def test_a_wrong_file_is_taken_out_of_the_way_unless_it_has_changed_since(directory):
    directory.acme.write_bytes(b"1,2,3,4\n")
    verification = FileVerification(directory.projection())
    verification.follow(PARTITIONS[0], EVENTS)
    verification.has_doubts()
    verification.follow_again(PARTITIONS[0], EVENTS, lambda _: True)
    ((fault,), _) = verification.judge(log_is_whole=True)
    directory.acme.write_bytes(b"1,2,3,4\n5,6,7,8\n")

    assert verification.replace(fault) is None
    assert directory.acme.exists()

    directory.acme.write_bytes(b"1,2,3,4\n")
    place = verification.replace(fault)

    assert REPLACED == place.parent.name
    assert b"1,2,3,4\n" == place.read_bytes()
    assert not directory.acme.exists()

    directory.apply(EVENTS)

    assert ([], []) == directory.judge(EVENTS)


def test_scratch_files_are_removed(directory, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    directory.acme.unlink()
    faults, _ = directory.judge(EVENTS)

    assert 1 == len(faults)
    assert [] == list(scratch.iterdir())


def test_what_fold_returns_instead_of_bytes_is_refused_as_it_is_live(directory):
    class Forgetful(Payments):
        def fold(self, name, content, events):
            return None

    place = Place("payments", catalogue=CATALOGUE, location=str(directory.root))
    verification = FileVerification(Forgetful(place))
    verification.follow(PARTITIONS[0], EVENTS[:2])

    assert [("InvalidEvent", one.position) for one in EVENTS[:2]] == [
        (one.reason, one.position) for one in verification.refused
    ]
    verification.close()
