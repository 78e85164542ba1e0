"""What commands print."""

from playhead.terminal.output import counted


def test_one_is_singular_and_any_other_number_plural():
    assert ["0 faults", "1 fault", "2 faults"] == [counted(number, "fault") for number in range(3)]
