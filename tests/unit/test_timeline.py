"""Where chunks stand in recordings, whatever clocks said."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from playhead.consumers.recordings.timeline import Timeline
from playhead.projections.recordings.rows import TempRecording
from playhead.streams.recordings.events import Cut

ZERO = datetime(2026, 1, 31, tzinfo=UTC)
RATE = 1000
YEARS = 70 * 365 * 86400.0


def chunk(user, sequence, at, seconds=1.0):
    moment = ZERO + timedelta(seconds=at)
    return TempRecording(
        id=f"{user}{sequence}",
        meeting_id="m",
        user_id=user,
        guild_id="g",
        sequence=sequence,
        rate=RATE,
        channels=1,
        started_at=moment,
        created_at=moment,
        pcm_path="",
        samples=round(seconds * RATE),
    )


def placed(*chunks, longest_gap=60.0):
    timeline = Timeline(chunks, RATE, longest_gap)
    return {id_: start / RATE for id_, start in timeline.starts.items()}, timeline.cuts


def test_silence_that_is_not_too_long_is_kept_to_the_sample():
    starts, cuts = placed(chunk("u", 0, 0), chunk("u", 1, 61), chunk("v", 0, 3.125))

    assert ({"u0": 0, "v0": 3.125, "u1": 61}, []) == (starts, cuts)


def test_silence_that_is_too_long_is_a_second_and_all_behind_it_moves_alike():
    starts, cuts = placed(chunk("u", 0, 0), chunk("v", 0, 0.5), chunk("u", 1, 100), chunk("v", 1, 100.25))

    assert {"u0": 0, "v0": 0.5, "u1": 2.5, "v1": 2.75} == starts
    assert [Cut(at_ms=2500, length_ms=97500)] == cuts


def test_the_silence_of_one_while_others_speak_is_kept():
    speakers = [chunk("v", number, number * 50) for number in range(5)]
    starts, cuts = placed(chunk("u", 0, 0), *speakers, chunk("u", 1, 220))

    assert (220, []) == (starts["u1"], cuts)


@pytest.mark.parametrize("away", [YEARS, -50 * 365 * 86400.0])
def test_a_clock_that_was_years_off_costs_a_second(away):
    starts, cuts = placed(chunk("u", 0, 0), chunk("u", 1, away), chunk("u", 2, 1))

    assert 3 == max(starts.values())
    assert 1 == len(cuts)
    assert abs(away) * 1000 == pytest.approx(cuts[0].length_ms, abs=4000)


def test_a_clock_that_was_set_back_and_forth_loses_no_chunk():
    chunks = [chunk("u", 0, 0, 10), chunk("u", 1, YEARS, 10), chunk("u", 2, 5, 10), chunk("u", 3, 20, 10)]
    starts, _ = placed(*chunks)
    spans = sorted((starts[one.id], starts[one.id] + 10) for one in chunks)

    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert 10 == starts["u2"]


def test_many_gaps_are_many_cuts():
    starts, cuts = placed(*(chunk("u", number, number * 1000) for number in range(4)))

    assert [0, 2, 4, 6] == list(starts.values())
    assert [(2000, 998000), (4000, 998000), (6000, 998000)] == [(cut.at_ms, cut.length_ms) for cut in cuts]
