"""Entries with ids that no clock gives: they get usable ones, and nothing is lost, doubled or parked."""

import pytest

from playhead import subscribe
from playhead.checks.status import read_status
from playhead.streams.errors import RedisUnavailable
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from tests.support.events import job
from tests.support.pipeline import fields

JOBS = Partition("jobs", 0)
IDS = ["9223372036854775808-0", "10000000000000000000-0", "253402300800000-0", f"{2**64 - 1}-{2**64 - 1}"]


def far(pipeline, entry_id):
    return pipeline.redis.xadd(JOBS.key, fields(job(0, "job/far", id="far")), id=entry_id)


def last(pipeline):
    return Position.parse(pipeline.redis.xinfo_stream(JOBS.key)["last-generated-id"])


@pytest.mark.parametrize("entry_id", IDS)
def test_an_id_that_no_clock_gives_stops_nobody(pipeline, entry_id):
    pipeline.append(*map(job, range(1, 11)))
    pipeline.start()
    pipeline.caught_up()
    far(pipeline, entry_id)
    pipeline.wait_until(lambda: last(pipeline).is_usable)
    pipeline.append(*map(job, range(11, 21)))
    pipeline.caught_up()

    expected = [f"e{number}" for number in range(1, 11)] + ["far"] + [f"e{number}" for number in range(11, 21)]
    assert expected == pipeline.logged()
    assert set(expected) == set(pipeline.rows().values()) == set(pipeline.files().values())
    assert [] == [pipeline.parked(name) for name in ("log", "jobs", "json-files") if pipeline.parked(name)]
    positions = [Position.parse(entry_id) for entry_id, _ in pipeline.redis.xrange(JOBS.key)]
    assert all(position.is_usable for position in positions)


def test_what_was_appended_behind_such_an_id_before_anybody_ran_is_in_order(pipeline):
    pipeline.append(*map(job, range(1, 4)))
    far(pipeline, "9223372036854775808-0")
    behind = pipeline.append(*map(job, range(4, 7)))
    pipeline.start()
    pipeline.caught_up()
    again = pipeline.append(job(4))

    assert behind[0] == Position(9223372036854775808, 1)
    assert ["e1", "e2", "e3", "far", "e4", "e5", "e6"] == pipeline.logged()
    assert {"e1", "e2", "e3", "far", "e4", "e5", "e6"} == set(pipeline.rows().values())
    assert again[0].is_usable
    assert 7 == pipeline.redis.xlen(JOBS.key)


def test_a_counter_that_no_server_comes_to_stops_nobody(pipeline):
    (first,) = pipeline.append(job(1))
    far(pipeline, f"{first.milliseconds}-18446744073709551615")
    pipeline.append(*map(job, range(2, 5)))
    pipeline.start()
    pipeline.caught_up()

    assert ["e1", "far", "e2", "e3", "e4"] == pipeline.logged()
    assert 5 == len(pipeline.rows())


def test_a_stream_without_ids_left_refuses_events_until_the_log_runs(pipeline):
    pipeline.append(job(1))
    far(pipeline, IDS[-1])
    with pytest.raises(RedisUnavailable, match="no ids left"):
        pipeline.append(job(2))

    pipeline.start("log")
    pipeline.wait_until(lambda: last(pipeline).is_usable)
    pipeline.append(job(2))
    pipeline.start("jobs")
    pipeline.caught_up("log", "jobs")

    assert ["e1", "far", "e2"] == pipeline.logged()
    assert 3 == len(pipeline.rows())


def test_a_stream_whose_last_id_is_gone_goes_on_with_usable_ones(pipeline):
    pipeline.append(job(1))
    pipeline.redis.xdel(JOBS.key, far(pipeline, IDS[-1]))
    pipeline.start()
    pipeline.wait_until(lambda: last(pipeline).is_usable)
    pipeline.append(job(2))
    pipeline.caught_up()

    assert ["e1", "e2"] == pipeline.logged()
    assert 2 == len(pipeline.rows())


def test_a_projection_waits_for_the_log_and_says_so(pipeline):
    pipeline.append(job(1))
    far(pipeline, IDS[0])
    (jobs,) = pipeline.start("jobs")
    pipeline.wait_until(lambda: jobs.serving is not None and "playhead run log" in str(jobs.serving.problems()))
    (shown,) = (one for one in read_status(pipeline.redis, 1).consumers if one.name == "jobs")

    assert ("1", False) == (str(len(pipeline.rows())), read_status(pipeline.redis, 1).caught_up)
    assert f"the entry {IDS[0]} has an id that no clock gives" in (shown.problem or "")


def test_a_group_with_work_in_hand_keeps_it_and_gets_what_has_a_new_id_again(pipeline):
    (first,) = pipeline.append(job(1))
    pipeline.redis.xgroup_create(JOBS.key, "w", "0")
    far(pipeline, IDS[1])
    pipeline.append(job(2))
    taken = pipeline.redis.xreadgroup("w", "c", {JOBS.key: ">"}, count=2)[0][1]
    pipeline.redis.zadd(f"{JOBS.key}:due:w", {entry_id: 1 for entry_id, _ in taken})
    pipeline.start("log")
    pipeline.caught_up("log")
    (pending,) = pipeline.redis.xpending_range(JOBS.key, "w", "-", "+", 10)
    given = pipeline.redis.xreadgroup("w", "c", {JOBS.key: ">"})[0][1]

    assert (str(first).encode(), b"c", 1) == (pending["message_id"], pending["consumer"], pending["times_delivered"])
    assert [b"far", b"e2"] == [entry[b"ce_id"] for _, entry in given]
    assert [str(first).encode()] == pipeline.redis.zrange(f"{JOBS.key}:due:w", 0, -1)
    assert 0 == pipeline.redis.exists(f"{JOBS.key}:new")


def test_a_subscription_waits_until_the_entry_has_a_usable_id(pipeline):
    pipeline.append(job(1))
    far(pipeline, IDS[-1])
    with subscribe(pipeline.server.url, log=pipeline.directory / "eventlog", stream="jobs") as events:
        got = [next(events).event.id]
        pipeline.start("log")
        got.append(next(events).event.id)
        pipeline.wait_until(lambda: last(pipeline).is_usable)
        pipeline.append(job(2))
        got.append(next(events).event.id)

    assert ["e1", "far", "e2"] == got
