"""What `status`, `doctor` and `verify` say of what is not as it should be: well only if all is well."""

import threading

import psycopg
import pytest

from playhead.checks.checkpoints import check_checkpoints
from playhead.checks.consumers import check_status
from playhead.checks.status import read_status
from playhead.consumers.processes.clock import ClockService
from playhead.consumers.reading.parked import parked_anywhere
from playhead.streams.errors import RedisUnavailable
from playhead.streams.names import CLOCKS, HALTS, REPLAYS, reports_key
from playhead.streams.partitions import Partition
from playhead.testing import ConsumerThread
from tests.support.events import job
from tests.support.pipeline import SINKS, Pipeline, fields

JOBS = Partition("jobs", 0)


@pytest.fixture
def pipeline(valkey, postgres, tmp_path, wait_until):
    pipeline = Pipeline(valkey, postgres, tmp_path, wait_until)
    yield pipeline
    pipeline.close()


def shown(pipeline, name):
    return next(
        one for one in read_status(pipeline.redis, 1).consumers if (one.name, one.partition[:4]) == (name, "jobs")
    )


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("", "stream"),
        (":meta", "hash"),
        (":consumers", "hash"),
        (":restarts", "hash"),
        (":replays", "hash"),
        (":parked-subjects:jobs", "hash"),
        (":lease:jobs:epoch", "string"),
    ],
)
def test_a_key_of_another_type_ends_nobody_and_is_named(pipeline, suffix, expected):
    key = JOBS.key + suffix
    pipeline.append(job(1))
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    pipeline.redis.delete(key)
    if expected == "string":
        pipeline.redis.rpush(key, "x")
    else:
        pipeline.redis.set(key, "x")
    consumers = pipeline.start()
    if suffix not in {":consumers", ":parked-subjects:jobs", ":lease:jobs:epoch"}:
        pipeline.wait_until(lambda: all("playhead doctor" in str(problems(one)) for one in consumers[1:]))
    status = read_status(pipeline.redis, 1)
    checks = [check for check in check_status(pipeline.redis, status, 1) if check.result == "fail"]

    found = "list" if expected == "string" else "string"
    assert not status.caught_up
    assert 5 == status.exit_code
    assert [f"{key} is a {found}, not a {expected}"] == status.damaged == [check.found for check in checks]
    assert [None] * 3 == [consumer.failure for consumer in consumers]
    if suffix in {"", ":meta"}:
        with pytest.raises(RedisUnavailable, match="playhead doctor"):
            pipeline.append(job(2))

    pipeline.redis.rename(key, "old")
    pipeline.append(job(2))
    pipeline.wait_until(lambda: {"e1", "e2"} == set(pipeline.rows().values()))
    pipeline.wait_until(lambda: {"e1", "e2"} == set(pipeline.files().values()))
    assert [] == read_status(pipeline.redis, 1).damaged


def problems(consumer):
    return consumer.serving.problems() if consumer.serving is not None else []


@pytest.mark.parametrize("member", ["sequence", "compared"])
def test_what_is_noted_beside_a_stream_and_cannot_be_read_ends_nobody(pipeline, member):
    pipeline.append(job(1))
    pipeline.redis.hset(f"{JOBS.key}:meta", member, b"\xff not this")
    consumers = pipeline.start()
    pipeline.wait_until(lambda: all("playhead doctor" in str(problems(one)) for one in consumers[1:]))
    pipeline.redis.hset(f"{JOBS.key}:meta", member, "1")
    pipeline.caught_up()

    assert [None] * 3 == [consumer.failure for consumer in consumers]


def test_parked_events_are_counted_also_those_of_consumers_that_are_not_installed(pipeline):
    pipeline.append(job(1, job_id="a\0b"))
    pipeline.start()
    pipeline.caught_up()
    pipeline.redis.xgroup_create(JOBS.key, "gone", "$")
    pipeline.redis.xadd(
        f"{JOBS.key}:parked:gone", fields(job(2)) | {"parked_position": "1-1", "parked_class": "refused"}
    )
    pipeline.redis.xadd("playhead:{old:3}:parked:older", {"parked_position": "1-1"})
    status = read_status(pipeline.redis, 1)

    assert (2, {"gone": 1}) == (status.parked, status.unknown)
    assert {"gone": [JOBS], "jobs": [JOBS], "older": [Partition("old", 3)]} == parked_anywhere(pipeline.redis)


def test_a_clock_that_does_not_run_is_named(pipeline):
    before = read_status(pipeline.redis, 1)
    sweep = ConsumerThread(
        "sweep", pipeline.server.url, lambda client: ClockService("sweep", lambda: None, 3600, client)
    )
    sweep.start()
    pipeline.wait_until(lambda: "sweep" not in read_status(pipeline.redis, 1).not_running)
    sweep.stop()
    after = read_status(pipeline.redis, 1)
    pipeline.redis.hset(CLOCKS, "sweep", "not JSON")

    assert {"log", "jobs", "transcode", "sweep"} <= set(before.not_running)
    assert "sweep" in after.not_running
    assert "sweep" in read_status(pipeline.redis, 1).not_running
    assert "transcode" not in read_status(pipeline.redis, 1, {"transcode"}).not_running
    assert ("clock", "stopped") == next((one.kind, one.state) for one in after.consumers if one.name == "sweep")


def test_what_holds_trimming_is_what_trimming_waits_for(pipeline):
    appended = [str(position) for position in pipeline.append(job(1), job(2), job(3))]
    pipeline.start()
    pipeline.caught_up()
    for group in ("organizations", "gone"):
        pipeline.redis.xgroup_create(JOBS.key, group, "$" if group == "organizations" else "0")
    pipeline.redis.xreadgroup("gone", "reader", {JOBS.key: ">"})
    pipeline.redis.xack(JOBS.key, "gone", appended[0])
    in_hand = read_status(pipeline.redis, 1)
    pipeline.redis.xgroup_destroy(JOBS.key, "gone")
    pipeline.stop()
    pipeline.redis.hset(reports_key(JOBS.key), "jobs", "not JSON")
    unread = read_status(pipeline.redis, 1)

    assert [(appended[1], "gone")] == [(one.position, one.held_by) for one in in_hand.held]
    assert ["?"] == [one.position for one in unread.consumers if (one.name, one.state) == ("jobs", "unknown")]
    assert [] == unread.held


def test_an_interrupted_replay_is_not_caught_up_though_everything_that_it_sent_is_applied(pipeline):
    pipeline.append(job(1))
    pipeline.start()
    pipeline.caught_up()
    for name in set(read_status(pipeline.redis, 1).not_running) - set(SINKS):
        pipeline.redis.hset(HALTS, name, '{"state": "retired", "since": 1}')
    before = read_status(pipeline.redis, 1)
    pipeline.redis.hset(REPLAYS, "cut-short", "{}")
    after = read_status(pipeline.redis, 1)

    assert (True, 0) == (before.caught_up, before.exit_code)
    assert [("cut-short", True)] == [(one.run, one.applied) for one in after.replays]
    assert (False, 5) == (after.caught_up, after.exit_code)


def test_status_and_the_process_of_a_clock_agree_on_whether_it_is_ready(pipeline):
    pipeline.start()
    pipeline.append(job(1))
    pipeline.caught_up()
    for name in set(read_status(pipeline.redis, 1).not_running) - {*SINKS, "sweep"}:
        pipeline.redis.hset(HALTS, name, '{"state": "retired", "since": 1}')
    go_on = threading.Event()

    def sweep() -> None:
        go_on.wait()

    clock = ConsumerThread("sweep", pipeline.server.url, lambda client: ClockService("sweep", sweep, 3600, client))
    clock.start()
    pipeline.wait_until(lambda: "sweep" not in read_status(pipeline.redis, 1).not_running)
    before, problems_before = read_status(pipeline.redis, 1), clock.problems
    go_on.set()
    pipeline.wait_until(lambda: not clock.problems)
    after = read_status(pipeline.redis, 1)
    clock.stop()

    assert ["not started yet"] == problems_before == [one.problem for one in before.consumers if one.name == "sweep"]
    assert (True, 5) == (before.caught_up, before.exit_code)
    assert [None] == [one.problem for one in after.consumers if one.name == "sweep"]
    assert (True, 0) == (after.caught_up, after.exit_code)


AHEAD = "UPDATE playhead_checkpoints SET position_ms = 4102444800000 WHERE projection = 'jobs'"


@pytest.mark.parametrize("running", [True, False])
def test_a_checkpoint_ahead_of_the_stream_applies_nothing_and_is_named_until_it_is_set_back(pipeline, running):
    pipeline.append(job(1))
    pipeline.start()
    pipeline.caught_up()
    if not running:
        pipeline.stop()
    with psycopg.connect(pipeline.database) as connection:
        connection.execute(AHEAD)
    pipeline.append(job(2))
    if not running:
        pipeline.start()
    pipeline.wait_until(lambda: "is ahead of jobs/0" in (shown(pipeline, "jobs").problem or ""))
    pipeline.caught_up("log", "json-files")
    with psycopg.connect(pipeline.database) as connection:
        (check,) = check_checkpoints(pipeline.redis, connection)

    assert not read_status(pipeline.redis, 1).caught_up
    assert {"e1"} == set(pipeline.rows().values())
    assert ("fail", "checkpoint jobs jobs/0") == (check.result, check.name)

    with psycopg.connect(pipeline.database) as connection:
        connection.execute(check.advice.partition("again: ")[2])
    pipeline.wait_until(lambda: {"e1", "e2"} == set(pipeline.rows().values()))
    pipeline.caught_up(*SINKS)
