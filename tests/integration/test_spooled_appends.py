"""Appending while Redis is away: nothing is lost, doubled or out of order."""

import json
import logging
import os
import subprocess
import sys

import pytest

from playhead.streams.appending.producer import Producer
from playhead.streams.appending.spool import Spool
from playhead.streams.errors import InvalidEvent, RedisUnavailable, SpoolFailed
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition, partition_of
from tests.support.servers import plain_client

JOBS = Partition("jobs", 0)
APPENDER = """
import os
import sys
from playhead.streams.appending.producer import Producer

url, spool, name, count, fork = sys.argv[1:]
producer = Producer(url, spool=spool)
if fork == "fork":
    producer.append("job.completed", subject="job/parent", data={})
    pid = os.fork()
    if pid:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
for number in range(int(count)):
    producer.append("job.completed", subject=f"job/{name}", data={}, id=f"{name}-{number}")
    print(number, flush=True)
producer.close()
"""


@pytest.fixture
def away(valkey):
    """The address of a server that is not there, until the test starts it."""
    valkey.kill()
    yield valkey
    valkey.start()


def ids(valkey):
    with plain_client(valkey.url) as client:
        return [fields[b"ce_id"].decode() for _, fields in client.xrange(JOBS.key)]


def append(producer, number, subject="job/1"):
    return producer.append("job.completed", subject=subject, data={"n": number}, id=f"id-{number}")


def test_events_wait_while_redis_is_away_and_go_in_order_when_it_is_back(away, tmp_path, wait_until):
    with Producer(away.url, spool=tmp_path) as producer:
        positions = [append(producer, n) for n in range(30)]
        away.start()
        wait_until(lambda: not Spool(tmp_path).pending)
        after = append(producer, 30)

    assert [None] * 30 == positions
    assert after is not None
    assert [f"id-{n}" for n in range(31)] == ids(away)


def test_without_a_spool_the_caller_is_told(away):
    with Producer(plain_client(away.url)) as producer, pytest.raises(RedisUnavailable):
        append(producer, 1)


def test_a_later_event_goes_behind_what_waits_even_when_redis_is_there(valkey, tmp_path, wait_until):
    spool = Spool(tmp_path)
    with Producer(valkey.url, spool=tmp_path) as producer:
        with spool.sending():
            spool.add([new_event("job.completed", subject="job/1", data={}, id="id-0")])
            position = append(producer, 1)
        wait_until(lambda: not spool.pending)

    assert position is None
    assert ["id-0", "id-1"] == ids(valkey)


def test_another_program_sends_what_one_left_behind(away, tmp_path, wait_until):
    with Producer(away.url, spool=tmp_path) as producer:
        append(producer, 1)
        producer.close(flush_seconds=0.2)
    away.start()

    with Producer(away.url, spool=tmp_path):
        wait_until(lambda: not Spool(tmp_path).pending)

    assert ["id-1"] == ids(away)


def test_closing_sends_what_waits(away, tmp_path):
    producer = Producer(away.url, spool=tmp_path)
    append(producer, 1)
    away.start()
    producer.close(flush_seconds=30)

    assert ["id-1"] == ids(away)


def test_kill_9_of_the_program_while_redis_is_away_loses_nothing(away, tmp_path, wait_until):
    program = subprocess.Popen(
        [sys.executable, "-c", APPENDER, away.url, str(tmp_path), "a", "100000", "-"], stdout=subprocess.PIPE
    )
    acknowledged = 0
    for _ in range(20):
        acknowledged = int(program.stdout.readline())
    program.kill()
    program.communicate()
    away.start()
    with Producer(away.url, spool=tmp_path) as producer:
        wait_until(lambda: not Spool(tmp_path).pending)
        producer.append("job.completed", subject="job/a", data={}, id="last")

    found = ids(away)
    assert [*(f"a-{n}" for n in range(len(found) - 1)), "last"] == found
    assert len(found) > acknowledged + 1


def test_a_forked_child_spools_and_sends_with_its_parents_producer(valkey, tmp_path, wait_until):
    def run():
        return subprocess.run(
            [sys.executable, "-c", APPENDER, valkey.url, str(tmp_path), "child", "20", "fork"], check=False
        ).returncode

    assert run() == 0
    assert ["child-0", "child-19"] == [id for id in ids(valkey) if id.startswith("child")][::19]

    with plain_client(valkey.url) as client:
        client.flushall()
    valkey.kill()
    try:
        assert run() == 0
    finally:
        valkey.start()
    with Producer(valkey.url, spool=tmp_path):
        wait_until(lambda: not Spool(tmp_path).pending)

    assert [f"child-{n}" for n in range(20)] == ids(valkey)[1:]


def test_a_batch_of_which_redis_took_a_part_is_completed_from_the_spool(valkey, tmp_path, wait_until):
    with plain_client(valkey.url) as client, Producer(valkey.url, spool=tmp_path) as producer:
        append(producer, -1)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 4_000_000)
        events = [
            new_event("job.completed", subject=f"job/{n % 7}", data={"x": "x" * 2000}, id=f"id-{n}")
            for n in range(5000)
        ]
        positions = producer.append_events(events)
        client.config_set("maxmemory", 0)
        wait_until(lambda: not Spool(tmp_path).pending)

    assert None not in positions[:500]
    assert positions[-1] is None
    assert [f"id-{n}" for n in range(-1, 5000)] == ids(valkey)


def test_what_redis_refuses_for_good_is_said_and_kept_until_the_cause_is_mended(valkey, tmp_path, wait_until, caplog):
    subject = next(f"job/{n}" for n in range(99) if partition_of("jobs", f"job/{n}", 4) == JOBS)
    with Producer(valkey.url, partitions=1) as producer:
        append(producer, 0, subject=subject)
    spool = Spool(tmp_path)
    with Producer(valkey.url, partitions=4, spool=tmp_path) as wrong:
        spool.add([new_event("job.completed", subject=subject, data={}, id="id-1")])
        wait_until(lambda: "PLAYHEAD_PARTITIONS" in caplog.text)
        assert append(wrong, 2, subject=subject) is None
    assert {logging.ERROR, logging.WARNING} == {record.levelno for record in caplog.records}
    assert 2 == spool.content().events

    with Producer(valkey.url, partitions=1, spool=tmp_path):
        wait_until(lambda: not spool.pending)

    assert ["id-0", "id-1", "id-2"] == ids(valkey)


def test_an_invalid_event_is_refused_before_it_reaches_the_spool(away, tmp_path):
    with Producer(away.url, spool=tmp_path) as producer, pytest.raises(InvalidEvent):
        producer.append("job.completed", subject="", data={})

    assert not Spool(tmp_path).pending


def test_a_spool_that_fails_while_redis_is_away_is_an_error(away, tmp_path):
    with Producer(away.url, spool=tmp_path / "spool") as producer:
        (tmp_path / "spool").rename(tmp_path / "elsewhere")
        (tmp_path / "spool").write_text("")
        with pytest.raises(SpoolFailed, match="they are not stored"):
            append(producer, 1)
        (tmp_path / "spool").unlink()


def test_the_command_line_spools_shows_what_waits_and_sends_it(away, tmp_path):
    def playhead(*arguments):
        environment = os.environ | {
            "REDIS_URL": away.url,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "PLAYHEAD_SPOOL_DIR": "spool",
        }
        done = subprocess.run(
            [sys.executable, "-m", "playhead", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
        )
        return done.returncode, done.stdout.decode().strip()

    assert (0, "spooled") == playhead("append", "job.completed", "--subject", "job/1", "--id", "id-1")
    code, found = playhead("spool", "--json")
    assert (0, 1) == (code, json.loads(found)["events"])
    assert (3, "") == playhead("spool", "--flush")

    away.start()
    code, shown = playhead("spool", "--flush")

    assert code == 0
    assert shown.startswith("0 events")
    assert ["id-1"] == ids(away)
    assert (2, "") == playhead("spool", str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert (2, "") == playhead("spool", str(tmp_path / "empty"), "--flush")
    assert [] == list((tmp_path / "empty").iterdir())
