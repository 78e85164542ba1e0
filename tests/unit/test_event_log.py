import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.eventlog.errors import BadLine, BehindTail, LogCorrupt, LogInUse, LogWriteFailed
from playhead.eventlog.lines import decode_line, encode_line, position_of
from playhead.eventlog.reader import read, read_ordered, stat, verify
from playhead.eventlog.writer import LogWriter
from playhead.streams.errors import InvalidSetting
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Source

JOBS, OTHER = Partition("jobs", 0), Partition("content", 0)
START = datetime(2025, 8, 9, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def recorded(number: int, *, subject: str = "job-1", data: bytes = b'{"a":1}', **attributes: object) -> Recorded:
    time = (START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    event = Event(
        id=f"id-{number}", source="test", type="job.completed", time=time, subject=subject, data=data, **attributes
    )
    return Recorded(event, Position(1_754_541_721_000 + number, 0), number)


def batch(*numbers: int, partition: Partition = JOBS, replay: str | None = None) -> Batch:
    events = [recorded(number) for number in numbers]
    return Batch(Source(partition, replay), events, events[-1].position)


def write(root: Path, *batches: Batch, segment_bytes: int = 1 << 30) -> None:
    log = LogWriter(root, segment_bytes=segment_bytes, clock=lambda: 1_754_541_721)
    try:
        for each in batches:
            log.open(each.source.partition, 1)
            log.apply(each)
    finally:
        log.close()


def numbers(root: Path, **selection: object) -> list[int | None]:
    return [item.sequence for _, item in read(root, **selection)]


def files(root: Path, pattern: str) -> list[Path]:
    return sorted((root / "jobs" / "0").glob(pattern))


@given(
    extensions=st.dictionaries(
        TEXT | st.sampled_from(["data", "id", "sequence", "ext_data", "ext_ext_id", "specversion", "imported"]), TEXT
    ),
    subject=TEXT,
    correlation=st.none() | TEXT,
    sequence=st.none() | st.integers(0, 10**16 - 1),
    data=st.sampled_from([b'"\\ud800"', b"null", b'{"x":1,"data":{"a":2}}', b" [1, 2.50]  ", '"ü\u2028"'.encode()]),
)
def test_a_line_keeps_every_byte(extensions, subject, correlation, sequence, data):
    event = Event(
        id="i",
        source="s",
        type="t",
        time="2025-08-09T00:00:00Z",
        subject=subject,
        data=data,
        correlationid=correlation,
        extensions=extensions,
    )
    expected = Recorded(event, Position(5, 7), sequence)

    line = encode_line(expected)

    assert expected == decode_line(line)
    assert line.count(b"\n") == 1
    assert Position(5, 7) == position_of(line)


def test_every_flipped_bit_of_a_line_is_noticed():
    line = encode_line(recorded(1, extensions={"data": "x"}, traceparent="00-ab"))

    for bit in range(len(line) * 8):
        with pytest.raises(BadLine):
            decode_line(_flipped(line, bit))


def test_what_is_written_is_read_back(tmp_path):
    write(tmp_path, batch(1, 2), batch(3))

    assert numbers(tmp_path) == [1, 2, 3]
    assert verify(tmp_path).faults == []
    assert stat(tmp_path).events == 3


def test_redelivery_adds_nothing(tmp_path):
    log = LogWriter(tmp_path)
    log.open(JOBS, 1)

    outcomes = [log.apply(each) for each in (batch(1, 2), batch(1, 2), batch(2, 3), batch(9, replay="run"))]

    log.close()
    assert outcomes == ["applied", "already applied", "applied", "already applied"]
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_parked_event_is_logged_behind_the_tail_or_refused(tmp_path):
    log = LogWriter(tmp_path)
    log.open(JOBS, 1)
    log.apply(batch(1, 3))

    with pytest.raises(BehindTail, match="append the event again"):
        log.apply(batch(2, replay="parked"))
    outcome = log.apply(batch(4, replay="parked"))

    log.close()
    assert outcome == "applied"
    assert numbers(tmp_path) == [1, 3, 4]


def test_a_restarted_writer_goes_on_after_the_tail(tmp_path):
    write(tmp_path, batch(1, 2))
    log = LogWriter(tmp_path)

    tail = log.open(JOBS, 2)

    log.close()
    assert recorded(2).position == tail


def test_a_last_line_torn_anywhere_is_cut_and_the_rest_kept(tmp_path):
    write(tmp_path, batch(1, 2, 3))
    (active,) = files(tmp_path, "*.jsonl")
    whole = active.read_bytes()
    last = len(encode_line(recorded(3)))

    for length in range(len(whole) - last, len(whole)):
        active.write_bytes(whole[:length])
        assert numbers(tmp_path) == [1, 2]
        write(tmp_path, batch(3))
        assert whole == active.read_bytes()
        torn = active.with_name(active.name + ".torn")
        assert whole[len(whole) - last : length] == (torn.read_bytes() if torn.exists() else b"")
        torn.unlink(missing_ok=True)


@pytest.mark.parametrize("segment_bytes", [1, 1 << 30], ids=["sealed", "active"])
def test_every_flipped_bit_is_found_or_cut_as_torn(tmp_path, segment_bytes):
    write(tmp_path, batch(1), batch(2), segment_bytes=segment_bytes)
    missed = []

    for path in [*files(tmp_path, "*.jsonl"), *files(tmp_path, "*.zst"), *files(tmp_path, "*.json")]:
        whole = path.read_bytes()
        for bit in range(len(whole) * 8):
            path.write_bytes(_flipped(whole, bit))
            if not verify(tmp_path).faults:
                missed.append((path.suffix, bit // 8 - len(whole)))
        path.write_bytes(whole)

    assert {(".jsonl", -1)} >= set(missed)


def test_a_flipped_bit_never_makes_the_writer_cut_a_line_but_the_last(tmp_path):
    write(tmp_path, batch(1, 2))
    (active,) = files(tmp_path, "*.jsonl")
    whole = active.read_bytes()
    first = encode_line(recorded(1))

    for bit in range(len(whole) * 8):
        active.write_bytes(_flipped(whole, bit))
        log = LogWriter(tmp_path)
        try:
            log.open(JOBS, 1)
            assert bit // 8 >= len(first)
            assert first == active.read_bytes()
        except LogCorrupt:
            assert _flipped(whole, bit) == active.read_bytes()
        finally:
            log.close()


def test_damage_before_good_lines_is_reported_and_kept(tmp_path):
    write(tmp_path, batch(1, 2, 3))
    (active,) = files(tmp_path, "*.jsonl")
    damaged = active.read_bytes().replace(b'"id-2"', b'"id-7"')
    active.write_bytes(damaged)

    with pytest.raises(LogCorrupt) as caught:
        LogWriter(tmp_path).open(JOBS, 1)
    with pytest.raises(LogCorrupt):
        numbers(tmp_path)

    assert (active, 2) == (caught.value.file, caught.value.line)
    assert damaged == active.read_bytes()
    assert numbers(tmp_path, strict=False) == [1, 3]
    assert [fault.kind for fault in verify(tmp_path).faults] == ["line", "gap"]


def test_a_second_writer_is_refused(tmp_path):
    first, second = LogWriter(tmp_path), LogWriter(tmp_path)
    first.open(JOBS, 1)

    with pytest.raises(LogInUse):
        second.open(JOBS, 2)

    first.close()
    assert second.open(JOBS, 2) == Position(0, 0)
    second.close()


def test_sealed_segments_are_read_and_gone_on_after(tmp_path):
    write(tmp_path, batch(1), batch(2, 3), batch(4), segment_bytes=1)

    assert files(tmp_path, "*.jsonl") == []
    assert (len(files(tmp_path, "*.zst")), len(files(tmp_path, "*.json"))) == (3, 3)
    assert numbers(tmp_path) == [1, 2, 3, 4]
    assert numbers(tmp_path, after={JOBS: recorded(2).position}) == [3, 4]
    assert numbers(tmp_path, since=START + timedelta(seconds=2), until=START + timedelta(seconds=4)) == [2, 3]
    assert numbers(tmp_path, types=["job.failed"]) == []
    assert verify(tmp_path).faults == []


def test_a_segment_is_sealed_by_age_when_nothing_comes(tmp_path):
    now = 1_754_541_721.0
    log = LogWriter(tmp_path, segment_seconds=60, clock=lambda: now)
    log.open(JOBS, 1)
    log.apply(batch(1))
    now += 61

    log.settle()

    log.close()
    assert files(tmp_path, "*.jsonl") == []


@pytest.mark.parametrize("left", [[".jsonl", ".zst"], [".jsonl", ".zst", ".json"], [".jsonl", ".json"]])
def test_a_seal_cut_short_is_done_again(tmp_path, left):
    write(tmp_path, batch(1, 2))
    (active,) = files(tmp_path, "*.jsonl")
    plain = active.read_bytes()
    write(tmp_path, batch(3), segment_bytes=1)
    for path in files(tmp_path, "*.*"):
        if path.suffix not in left and path.name != ".lock":
            path.unlink()
    active.write_bytes(plain + encode_line(recorded(3)))
    (active.parent / (active.name + ".zst.tmp")).touch()

    write(tmp_path, batch(4))

    assert numbers(tmp_path) == [1, 2, 3, 4]
    assert verify(tmp_path).faults == []


def test_a_removed_or_swapped_segment_is_found(tmp_path):
    for number in (1, 2, 3):
        write(tmp_path, batch(number), segment_bytes=1)
    write(tmp_path, batch(4))
    middle = files(tmp_path, "*.zst")[1]
    manifest = files(tmp_path, "*.json")[1]
    aside = tmp_path / "aside"
    aside.mkdir()

    shutil.copy(middle, aside)
    middle.unlink()
    assert "missing" in [fault.kind for fault in verify(tmp_path).faults]
    shutil.move(manifest, aside)
    assert {"missing", "gap"} == {fault.kind for fault in verify(tmp_path).faults}
    shutil.copy(aside / manifest.name, manifest)
    shutil.copy(files(tmp_path, "*.zst")[0], middle)
    assert "manifest" in [fault.kind for fault in verify(tmp_path).faults]


def test_partitions_are_merged_by_time(tmp_path):
    notes = Partition("notes", 1)
    write(tmp_path, batch(1, 4), batch(2, 3, partition=notes))

    assert [item.sequence for _, item in read_ordered(tmp_path)] == [1, 2, 3, 4]
    assert numbers(tmp_path, streams=["notes"]) == [2, 3]


@pytest.mark.parametrize("stream", ["../x", "", "A", "a/b", "jobs\n"])
def test_a_stream_name_never_chooses_a_path(tmp_path, stream):
    with pytest.raises(InvalidSetting):
        LogWriter(tmp_path).open(Partition(stream, 0), 1)

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    log = LogWriter(tmp_path)
    log.open(JOBS, 1)
    log.apply(batch(1))
    real = os.write

    def full(descriptor, content):
        if len(content) < 100:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[: max(1, len(content) // 2)])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(os, "writev", lambda descriptor, lines: full(descriptor, b"".join(lines)))
        with pytest.raises(OSError, match="space"):
            log.apply(batch(2, 3))
    assert numbers(tmp_path) == [1]

    log.apply(batch(2, 3))
    log.close()
    assert numbers(tmp_path) == [1, 2, 3]


def test_nothing_is_accepted_after_a_failed_fsync(tmp_path, monkeypatch):
    log = LogWriter(tmp_path)
    log.open(JOBS, 1)

    def broken(_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(LogWriteFailed):
            log.apply(batch(1))

    with pytest.raises(LogWriteFailed):
        log.apply(batch(2))
    log.close()


@pytest.mark.parametrize("was_sealed", [False, True])
@pytest.mark.parametrize("end", [shutil.rmtree, lambda root: root.rename(root.with_name("elsewhere"))])
def test_nothing_is_accepted_into_a_log_that_was_deleted_or_moved(tmp_path, end, was_sealed):
    root = tmp_path / "eventlog"
    log = LogWriter(root, segment_bytes=1 if was_sealed else 1 << 30)
    log.open(JOBS, 1)
    log.apply(batch(1))
    end(root)

    with pytest.raises(LogWriteFailed, match=r"while this process writes it|not as this process left it"):
        log.apply(batch(2))
    log.close()
    write(root, batch(2))
    assert numbers(root) == [2]


def test_a_damaged_segment_that_is_due_to_seal_ends_writing_until_it_is_mended(tmp_path):
    log = LogWriter(tmp_path, segment_bytes=900)
    log.open(JOBS, 1)
    log.open(OTHER, 1)
    log.apply(batch(1, 2))
    (segment,) = files(tmp_path, "*.jsonl")
    good = segment.read_bytes()
    damaged = _flipped(good, 100)
    with segment.open("r+b") as file:
        file.write(damaged)

    with pytest.raises(LogCorrupt):
        log.apply(batch(3, 4))
    with pytest.raises(LogCorrupt):
        log.apply(batch(5))
    log.settle()
    log.apply(batch(1, partition=OTHER))
    with pytest.raises(LogCorrupt):
        log.open(JOBS, 2)

    whole = good + segment.read_bytes().removeprefix(damaged)
    segment.unlink()
    segment.write_bytes(whole)
    assert log.open(JOBS, 3) == recorded(4).position
    log.apply(batch(5))
    log.close()
    assert numbers(tmp_path, streams={"jobs"}) == [1, 2, 3, 4, 5]


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
