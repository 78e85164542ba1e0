"""Given what was delivered, the cursors say where a reader is, and under which sequence number."""

from playhead.consumers.reading.cursors import Cursors
from playhead.streams.positions import START, Position

LIVE, REPLAY = "playhead:{jobs:0}", "playhead:{jobs:0}:replay:r"
ONE, TWO, THREE = Position(1, 0), Position(2, 0), Position(3, 0)


def started(position=START):
    cursors = Cursors(LIVE)
    cursors.start(position)
    return cursors


def test_nothing_is_known_of_the_sequence_before_an_entry_was_delivered():
    cursors = started(TWO)

    assert (TWO, None, None) == (cursors.position, cursors.sequence, cursors.sequence_here)


def test_an_entry_moves_the_position_and_the_sequence_of_its_stream():
    cursors = started()
    cursors.move(LIVE, ONE, 7)

    assert (ONE, 7, 7) == (cursors.position, cursors.sequence, cursors.sequence_here)


def test_an_entry_without_a_number_leaves_the_last_number_known_and_has_none_itself():
    cursors = started()
    cursors.move(LIVE, ONE, 7)
    cursors.move(LIVE, TWO, None)

    assert (TWO, 7, None) == (cursors.position, cursors.sequence, cursors.sequence_here)


def test_a_replay_moves_by_itself():
    cursors = started(ONE)
    cursors.number(7)
    cursors.move(REPLAY, THREE, 1)

    assert (ONE, 7) == (cursors.position, cursors.sequence_here)
    assert {REPLAY} == cursors.replays
    assert THREE == cursors.positions[REPLAY]


def test_a_reader_that_starts_again_where_it_was_knows_the_sequence_still():
    cursors = started()
    cursors.move(LIVE, ONE, 7)
    cursors.move(REPLAY, THREE, 1)
    cursors.start(ONE)

    assert (ONE, 7) == (cursors.position, cursors.sequence_here)
    assert set() == cursors.replays


def test_a_reader_that_starts_elsewhere_does_not():
    cursors = started()
    cursors.move(LIVE, ONE, 7)
    cursors.start(TWO)

    assert (TWO, None) == (cursors.position, cursors.sequence)
