"""What a reader of the log does where something is missing."""

from pathlib import Path

import msgspec
import pytest

from playhead.eventlog.ends import LogEnd, end_of
from playhead.eventlog.errors import EventsMissing, LogWriteFailed
from playhead.eventlog.gaps import GAPS
from playhead.eventlog.history import History
from playhead.eventlog.lines import encode_line
from playhead.eventlog.log import EventLog
from playhead.eventlog.reader import Holes, read, read_last, read_ordered, read_partition, verify
from playhead.eventlog.segments import MANIFEST, PLAIN, SEALED, Manifest, encode_manifest, file_sha256
from playhead.eventlog.writer import LogWriter
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

JOBS = Partition("jobs", 0)


def recorded(number: int, sequence: int | None = -1) -> Recorded:
    event = Event(
        id=f"id-{number}",
        source="test",
        type=f"job.{'even' if number % 2 == 0 else 'odd'}",
        time=f"2025-08-09T00:00:{number:02d}Z",
        subject="job/1",
        data=b"{}",
    )
    return Recorded(event, Position(1_754_541_721_000 + number, 0), number if sequence == -1 else sequence)


def write(root: Path, *events: Recorded, segment_bytes: int = 1 << 30) -> None:
    log = LogWriter(root, segment_bytes=segment_bytes, clock=lambda: 1_754_541_721)
    log.open(JOBS, 1)
    log.apply(Batch(Source(JOBS), events, events[-1].position))
    log.close()


@pytest.fixture
def log(tmp_path):
    """Events 1 to 8: six sealed, two a segment, and two that are not."""
    for number in (1, 3, 5):
        write(tmp_path, recorded(number), recorded(number + 1), segment_bytes=1)
    write(tmp_path, recorded(7), recorded(8))
    return tmp_path


def files(log: Path, suffix: str) -> list[Path]:
    return sorted(path for path in (log / "jobs/0").iterdir() if path.name.endswith(suffix))


def without_a_segment(log: Path) -> None:
    for suffix in (SEALED, MANIFEST):
        files(log, suffix)[1].unlink()


def without_the_first_segment(log: Path) -> None:
    for suffix in (SEALED, MANIFEST):
        files(log, suffix)[0].unlink()


def without_the_last_sealed_segment(log: Path) -> None:
    for suffix in (SEALED, MANIFEST):
        files(log, suffix)[2].unlink()


def without_a_sealed_file(log: Path) -> None:
    files(log, SEALED)[1].unlink()


def without_a_line_of_the_active_segment(log: Path) -> None:
    (active,) = files(log, PLAIN)
    active.write_bytes(encode_line(recorded(8)))
    active.rename(active.with_name(f"{recorded(8).position.milliseconds:020d}-00000{PLAIN}"))


HOLES = [
    (without_a_segment, 2),
    (without_the_first_segment, 2),
    (without_the_last_sealed_segment, 2),
    (without_a_sealed_file, 2),
    (without_a_line_of_the_active_segment, 1),
]
READERS = [
    read,
    lambda log: read(log, types=["job.odd"]),
    lambda log: read(log, wanted=lambda event_id: event_id == "id-1"),
    read_ordered,
    lambda log: read_last(log, 8),
    lambda log: read_partition(log, JOBS, None),
    lambda log: History(log).between(JOBS, None, None),
    lambda log: EventLog.open(log).read(),
]


def holes_of(log: Path, **selection: object) -> tuple[list[int | None], int]:
    holes = Holes()
    found = [one.sequence for _, one in read(log, holes=holes, **selection)]
    return found, holes.missing


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("tear", "count"), HOLES)
def test_every_strict_reader_says_what_is_missing_and_where(log, tear, count, reader):
    tear(log)

    with pytest.raises(EventsMissing) as caught:
        list(reader(log))

    assert count == caught.value.count
    assert str(caught.value.position) in str(caught.value)
    assert log / "jobs/0" == caught.value.file.parent


@pytest.mark.parametrize("reader", READERS)
def test_a_whole_log_is_read_by_every_one(log, reader):
    list(reader(log))


@pytest.mark.parametrize(("tear", "count"), HOLES)
def test_a_reader_that_is_let_goes_on_and_counts(log, tear, count):
    tear(log)

    found, missing = holes_of(log)

    assert (8 - count, count) == (len(found), missing)


@pytest.mark.parametrize(("tear", "count"), HOLES)
def test_segments_that_a_filter_passes_over_are_missed_all_the_same(log, tear, count):
    tear(log)

    assert count == holes_of(log, types=["job.none"])[1]


def test_a_missing_segment_is_found_before_anything_is_given(log):
    without_the_last_sealed_segment(log)
    with pytest.raises(EventsMissing):
        next(read(log))


def test_a_missing_manifest_is_a_hole_in_which_no_event_is_missing(log):
    files(log, MANIFEST)[1].unlink()

    with pytest.raises(EventsMissing, match="its manifest is missing"):
        list(read(log))
    assert (list(range(1, 9)), 0) == holes_of(log)


def test_behind_the_hole_the_log_is_read(log):
    without_a_segment(log)

    assert [6, 7, 8] == [one.sequence for _, one in read(log, after={JOBS: recorded(5).position})]
    with pytest.raises(EventsMissing):
        list(read(log, after={JOBS: recorded(2).position}))


def test_a_gap_that_the_writer_met_is_no_hole(tmp_path):
    write(tmp_path, recorded(3), recorded(4), segment_bytes=1)
    write(tmp_path, recorded(7), recorded(8))

    assert ([3, 4, 7, 8], 0) == holes_of(tmp_path)
    assert [3, 4, 7, 8] == [one.sequence for _, one in read(tmp_path)]
    assert ["gap", "gap"] == [fault.kind for fault in verify(tmp_path).faults]


def test_a_hole_beside_such_a_gap_is_counted_without_it(tmp_path):
    write(tmp_path, recorded(1), segment_bytes=1)
    write(tmp_path, recorded(4), segment_bytes=1)
    write(tmp_path, recorded(5))
    for suffix in (SEALED, MANIFEST):
        files(tmp_path, suffix)[1].unlink()

    assert ([1, 5], 1) == holes_of(tmp_path)


def test_a_torn_note_is_noted_again(tmp_path):
    write(tmp_path, recorded(1))
    (tmp_path / "jobs/0" / GAPS).write_bytes(b'{"after":"17545')
    write(tmp_path, recorded(4))

    assert ([1, 4], 0) == holes_of(tmp_path)


def test_numbers_that_start_over_and_events_without_one_are_no_hole(tmp_path):
    write(tmp_path, recorded(1, None), recorded(2, 1), recorded(3, None), recorded(4, 2), recorded(5, 1))

    assert [None, 1, None, 2, 1] == [one.sequence for _, one in read(tmp_path)]


def as_an_earlier_version_sealed_it(log: Path) -> None:
    previous = None
    for path in files(log, MANIFEST):
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        path.write_bytes(
            encode_manifest(
                msgspec.structs.replace(manifest, previous=previous, first_sequence=None, last_sequence=None)
            )
        )
        previous = file_sha256(path)


@pytest.mark.parametrize(("tear", "count"), HOLES)
def test_holes_are_counted_in_a_log_whose_manifests_name_no_numbers(log, tear, count):
    as_an_earlier_version_sealed_it(log)
    assert b"sequence" not in files(log, MANIFEST)[0].read_bytes()
    assert [] == verify(log).faults
    assert list(range(1, 9)) == [one.sequence for _, one in read(log)]
    tear(log)

    with pytest.raises(EventsMissing) as caught:
        list(read(log))
    assert count == caught.value.count
    assert count == holes_of(log)[1]


def test_a_segment_that_is_cut_while_it_is_written_takes_nothing_more(tmp_path):
    log = LogWriter(tmp_path)
    log.open(JOBS, 1)
    log.apply(Batch(Source(JOBS), [recorded(1), recorded(2)], recorded(2).position))
    (active,) = files(tmp_path, PLAIN)
    active.write_bytes(encode_line(recorded(1)))

    with pytest.raises(LogWriteFailed, match="it was cut"):
        log.apply(Batch(Source(JOBS), [recorded(3)], recorded(3).position))
    log.close()
    assert [1] == [one.sequence for _, one in read(tmp_path)]


@pytest.mark.parametrize("segment_bytes", [1, 1 << 30])
def test_the_end_is_found_without_reading_the_log(tmp_path, segment_bytes):
    assert LogEnd() == end_of(tmp_path, JOBS)
    for number in (1, 2, 3):
        write(tmp_path, recorded(number), segment_bytes=segment_bytes)
        assert LogEnd(recorded(number).position, number) == end_of(tmp_path, JOBS)


def test_the_end_of_a_log_with_a_torn_or_an_unnumbered_last_line_is_found(tmp_path):
    write(tmp_path, recorded(1), recorded(2), recorded(3, None))
    assert LogEnd(recorded(3).position, 2) == end_of(tmp_path, JOBS)
    (active,) = files(tmp_path, PLAIN)
    active.write_bytes(active.read_bytes()[:-5])
    assert LogEnd(recorded(2).position, 2) == end_of(tmp_path, JOBS)
