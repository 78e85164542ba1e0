"""The notes of what is parked or dropped, beside the segments of the log."""

import pytest

from playhead.commands.log import log_verify
from playhead.eventlog.asides import ASIDES, AsideNote, note_asides, read_asides
from playhead.eventlog.segments import partition_directory
from playhead.streams.partitions import Partition

NOTES = [AsideNote(number, "jobs", f"{number}-0", "parked", "a reason", "refused") for number in (1, 2, 3)]
LINES = "asides.ndjson, line {}: it is no note of what is parked or dropped"


@pytest.fixture
def directory(tmp_path):
    directory = partition_directory(tmp_path / "eventlog", Partition("jobs", 0))
    note_asides(directory, NOTES[:2])
    note_asides(directory, NOTES[2:])
    return directory


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_last_line_torn_anywhere_is_left_out_and_written_again(directory, tmp_path, capfd, cut):
    whole = (directory / ASIDES).read_bytes()
    (directory / ASIDES).write_bytes(whole[:-cut])

    torn = read_asides(directory)
    verified = log_verify(data_dir=tmp_path)
    note_asides(directory, NOTES[2:])

    assert (NOTES[:2], [], 2) == (torn.notes, torn.unreadable, torn.number)
    assert (0, "0 events, 0 faults\n") == (verified, capfd.readouterr().out)
    assert whole == (directory / ASIDES).read_bytes()


@pytest.mark.parametrize("damage", [b"{}", b"\0", b'"number', b"\xff", b'"position":"2'])
def test_a_line_that_is_no_note_is_counted_and_a_fault_of_the_log(directory, tmp_path, capfd, damage):
    lines = (directory / ASIDES).read_bytes().splitlines(keepends=True)
    lines[1] = damage + b"\n" if damage[:1] != b'"' else lines[1].replace(damage, damage + b"x")
    (directory / ASIDES).write_bytes(b"".join(lines))

    found = read_asides(directory)
    verified = log_verify(data_dir=tmp_path)

    assert ([NOTES[0], NOTES[2]], [2], 3) == (found.notes, found.unreadable, found.number)
    assert 4 == verified
    assert LINES.format(2) in capfd.readouterr().out


def test_a_last_line_that_is_no_note_has_a_number_all_the_same(directory):
    with (directory / ASIDES).open("ab") as file:
        file.write(b"{\n{\n")

    assert ([4, 5], 5) == (read_asides(directory).unreadable, read_asides(directory).number)
