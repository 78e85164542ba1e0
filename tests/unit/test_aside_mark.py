"""What the mark in Redis says of the notes of what is set aside."""

import pytest

from playhead.consumers.reading.aside_mark import Known, known_of


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        (None, Known(-1, -1)),
        (b"", Known(-1, -1)),
        (b"7", Known(7, 7)),
        (b"noting 7 9", Known(7, 9)),
        (b"restoring 7 it", Known(7, 7, is_restoring=True)),
        (b"restoring -1 it", Known(-1, -1, is_restoring=True)),
        (b"restoring it", Known(-1, -1, is_restoring=True)),
        (b"noting x 9", Known(-1, -1)),
        (b"something", Known(-1, -1)),
    ],
)
def test_only_what_it_says_is_known(raw, known):
    assert known == known_of(raw)
