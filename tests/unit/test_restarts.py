"""When a consumer that ended is started again."""

from playhead.embedded.restarts import Restarts


def test_one_that_keeps_ending_waits_twice_as_long_each_time_up_to_a_minute():
    restarts, now, waits = Restarts(), 0.0, []
    for _ in range(10):
        restarts.started(now)
        waits.append(restarts.ended(now + 1))
        now += 1 + waits[-1]

    assert [0, 1, 2, 4, 8, 16, 32, 60, 60, 60] == waits


def test_one_that_ran_for_a_minute_is_started_at_once():
    restarts = Restarts()
    for _ in range(10):
        restarts.started(0)
        restarts.ended(1)
    restarts.started(100)
    first = restarts.ended(160)
    restarts.started(160)

    assert [0, 1] == [first, restarts.ended(161)]
