"""Given consumers that go on, when the files of one are compared with the log, then what is newer is no fault."""

import shutil
from itertools import count
from threading import Event, Thread

import pytest

from playhead.comparison import level
from playhead.comparison.files import FileComparison
from playhead.comparison.level import partitions_of
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.projections.file_verification import FileVerification
from playhead.streams.partitions import Partition
from playhead.streams.redis.stream_info import group_position
from playhead.wiring import sink_of
from tests.support.events import job
from tests.support.ledger import Ledger, ledger_lines, ledger_place


class Ledgers:
    """The log and the ledger of a pipeline."""

    def __init__(self, pipeline) -> None:
        self.pipeline = pipeline
        self.files, self.log = pipeline.directory / "ledger", pipeline.directory / "eventlog"

    def start(self, *names: str) -> None:
        makers = {"ledger": lambda: sink_of(Ledger(ledger_place(self.files))), "log": lambda: "log"}
        self.pipeline.start(*(makers[name]() for name in names))

    def append(self, numbers) -> None:
        self.pipeline.append(*(job(number, f"job/{number}") for number in numbers))

    def compare(self, *, log_is_whole: bool = True, repair: bool = False):
        partitions = partitions_of(self.log, ["jobs"], [Partition("jobs", 0)])
        reached = {one: group_position(self.pipeline.redis, one, "ledger") for one in partitions}
        verification = FileVerification(Ledger(ledger_place(self.files)))
        comparison = FileComparison(self.pipeline.redis, self.log, "ledger", partitions, verification)
        found = comparison.compare(reached, {}, log_is_whole=log_is_whole)
        if repair:
            replay = Replay(self.pipeline.redis, new_run(), {"jobs": ("ledger",)})
            replay.send(comparison.repair(found.faults))
            replay.finish()
        verification.close()
        return found

    def subjects(self) -> list[str]:
        return sorted(subject for subject, _ in ledger_lines(self.files))


@pytest.fixture
def ledgers(pipeline, monkeypatch):
    monkeypatch.setattr(level, "_LOG_SECONDS", 0.2)
    return Ledgers(pipeline)


def faults(found):
    return [(fault.kind, fault.key) for fault in found.faults]


def test_what_the_log_has_not_written_yet_is_neither_a_fault_nor_repaired(ledgers):
    ledgers.start("log", "ledger")
    ledgers.append(range(20))
    ledgers.pipeline.caught_up("log", "ledger")
    ledgers.pipeline.stop()
    ledgers.start("ledger")
    ledgers.append(range(20, 40))
    ledgers.pipeline.caught_up("ledger")
    (ledgers.files / "tenths/3.txt").unlink()

    found = ledgers.compare(repair=True)

    assert [("missing", "tenths/3.txt")] == faults(found)
    assert {f"tenths/{digit}.txt" for digit in range(10) if digit != 3} == set(found.undecided)
    assert "log writer has not written all of jobs/0" in found.reason
    assert f"job/{33}" not in ledgers.subjects()

    ledgers.start("log")
    ledgers.pipeline.caught_up("log")

    assert [("stale", "tenths/3.txt")] == faults(ledgers.compare(repair=True))
    assert ([], []) == (faults(again := ledgers.compare()), list(again.undecided))
    assert 40 == len(ledgers.subjects())


def test_an_older_log_takes_nothing_from_newer_files(ledgers):
    ledgers.start("log", "ledger")
    ledgers.append(range(20))
    ledgers.pipeline.caught_up("log", "ledger")
    ledgers.pipeline.stop()
    shutil.copytree(ledgers.log, older := ledgers.pipeline.directory / "older")
    ledgers.start("log", "ledger")
    ledgers.append(range(20, 40))
    ledgers.pipeline.caught_up("log", "ledger")
    whole = ledgers.subjects()
    ledgers.log = older

    found = ledgers.compare(repair=True)

    assert ([], 10) == (faults(found), len(found.undecided))
    assert "the log lacks events of jobs/0" in found.reason
    assert whole == ledgers.subjects()


def test_a_damaged_log_takes_nothing_from_files(ledgers):
    ledgers.start("log", "ledger")
    ledgers.append(range(20))
    ledgers.pipeline.caught_up("log", "ledger")
    (segment,) = (ledgers.log / "jobs/0").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"job/7", b"job/8"))
    whole = ledgers.subjects()

    found = ledgers.compare(log_is_whole=False, repair=True)

    assert ([], ["tenths/7.txt"]) == (faults(found), list(found.undecided))
    assert whole == ledgers.subjects()


def test_files_that_are_written_all_the_time_are_well_and_repaired_meanwhile(ledgers):
    ledgers.pipeline.partitions = 1
    ledgers.start("log", "ledger")
    ledgers.append(range(20))
    ledgers.pipeline.caught_up("log", "ledger")
    stopping, numbers = Event(), count(20)

    def append() -> None:
        while not stopping.is_set():
            ledgers.append([next(numbers)])

    appending = Thread(target=append)
    appending.start()
    try:
        compared = [faults(ledgers.compare()) for _ in range(5)]
        altered = ledgers.files / "tenths/5.txt"
        for _ in range(100):  # the live consumer may put its own file over the change
            with altered.open("ab") as file:  # never older content than that of the consumer
                file.write(b"~ by hand\n")
            if found := faults(ledgers.compare(repair=True)):
                break
    finally:
        stopping.set()
        appending.join()
    ledgers.pipeline.caught_up("log", "ledger")
    ledgers.compare(repair=True)

    assert [[]] * 5 == compared
    assert [("altered", "tenths/5.txt")] == found
    assert [] == faults(ledgers.compare())
    assert sorted(f"job/{number}" for number in range(next(numbers))) == ledgers.subjects()
