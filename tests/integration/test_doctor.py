"""What `playhead doctor` finds on real servers and directories."""

import errno
import json
import os
from pathlib import Path

import msgspec
import psycopg
import pytest

from playhead.checks.consumer_status import ConsumerStatus
from playhead.checks.consumers import check_consumers
from playhead.checks.directories import check_directory
from playhead.checks.postgres import check_postgres
from playhead.checks.redis import check_redis
from playhead.embedded.servers import embedded_servers
from playhead.projections.migrations import upgrade
from playhead.recordings.checks import check_ffmpeg
from playhead.recordings.domain import FFMPEG
from playhead.settings.urls import as_user
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.settings import GivenValues
from tests.support.addresses import superuser_url


def results(checks) -> dict[str, str]:
    return {check.name: check.result for check in checks}


def advice(checks, name: str) -> str:
    return next(check.advice for check in checks if check.name == name)


@pytest.fixture
def weak(redis, wait_until):
    before = redis.config_get("maxmemory-policy") | redis.config_get("append*")
    yield redis
    for name in ("maxmemory-policy", "appendonly", "appendfsync"):
        redis.config_set(name, before[name])
    rewriting = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    wait_until(lambda: not any(redis.info("persistence")[name] for name in rewriting))  # or it refuses to stop


def test_a_durable_redis_has_nothing_to_mend(redis_server):
    found = results(check_redis(redis_server.url, "here", 5, 1))

    assert set(found.values()) == {"ok"}
    assert {"redis version", "redis appendfsync", "redis role", "redis clock"} <= found.keys()


def test_a_redis_that_may_lose_events_is_told_how_to_keep_them(redis_server, weak):
    weak.config_set("maxmemory-policy", "allkeys-lru")
    weak.config_set("appendfsync", "everysec")
    weak.config_set("appendonly", "no")
    found = list(check_redis(redis_server.url, "here", 5, 1))

    assert {
        "redis maxmemory-policy": "fail",
        "redis appendonly": "warn",
        "redis appendfsync": "warn",
    }.items() <= results(found).items()
    assert "noeviction" in advice(found, "redis maxmemory-policy")


def test_a_setting_that_a_managed_server_hides_is_unknown(redis_server, redis):
    redis.acl_setuser("guest", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"])
    found = list(check_redis(as_user(redis_server.url, "guest", "any"), "here", 5, 1))
    redis.acl_deluser("guest")

    assert results(found)["redis appendfsync"] == "warn"
    assert "unknown" in next(check.found for check in found if check.name == "redis appendfsync")


def test_another_number_of_partitions_than_recorded_is_found(redis_server):
    with Producer(redis_server.url, partitions=2) as producer:
        producer.append("job.failed", subject="job/1", data={})
        producer.append("job.failed", subject="job/4", data={})
    found = list(check_redis(redis_server.url, "here", 5, 1))

    assert results(found)["partitions of jobs"] == "fail"
    assert "PLAYHEAD_PARTITIONS to 2" in advice(found, "partitions of jobs")


def test_a_server_that_is_away_is_one_failure_without_its_password():
    redis = list(check_redis("redis://:hunter2@127.0.0.1:1", "shown", 1, 1))
    postgres = list(check_postgres("postgresql://me:hunter2@127.0.0.1:1/x", "shown"))

    assert [results(redis), results(postgres)] == [{"redis reachable": "fail"}, {"postgres reachable": "fail"}]
    assert "hunter2" not in str([redis, postgres])


def test_a_database_is_checked_for_migrations_and_rights(tmp_path):
    with embedded_servers(tmp_path / "data", redis=False) as servers:
        before = list(check_postgres(servers.database_url, "here"))
        upgrade(servers.database_url)
        after = results(check_postgres(servers.database_url, "here"))
        with psycopg.connect(superuser_url(tmp_path / "data"), autocommit=True) as connection:
            connection.execute("ALTER TABLE playhead.jobs RENAME TO renamed")
            without = list(check_postgres(servers.database_url, "here"))
            connection.execute("ALTER TABLE playhead.renamed RENAME TO jobs")
            connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
            connection.execute("GRANT USAGE ON SCHEMA playhead TO guest")
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA playhead TO guest")
        guest = results(check_postgres(as_user(servers.database_url, "guest", "guest"), "here"))

    assert "playhead db upgrade" in advice(before, "postgres migrations")
    assert set(after.values()) == {"ok"}
    assert "docs/recovery.md" in advice(without, "postgres tables")
    assert ["missing: jobs"] == [check.found for check in without if check.result == "fail"]
    assert guest["postgres right to create tables"] == "warn"


def test_a_directory_that_is_to_be_made_is_checked_where_it_will_be(tmp_path):
    found = list(check_directory("output directory", "OUTPUT_DIR", tmp_path / "a" / "b"))

    assert "fail" not in results(found).values()
    assert str(tmp_path) in found[0].found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "/proc/nothing"])
def test_a_directory_that_cannot_be_written_fails_with_the_setting(tmp_path, place):
    (tmp_path / "file").write_text("")
    (found,) = check_directory("output directory", "OUTPUT_DIR", tmp_path / place)

    assert found.result == "fail"
    assert "OUTPUT_DIR" in found.advice


def test_a_full_directory_fails_with_advice_to_free_space(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (found,) = check_directory("output directory", "OUTPUT_DIR", tmp_path)

    assert ("fail", "free space, or set OUTPUT_DIR") == (found.result, found.advice)


@pytest.mark.parametrize("answer", ["exit 1", "echo ' A..... aac'", "exec sleep"])
def test_an_ffmpeg_that_cannot_encode_is_found(tmp_path, answer):
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    (bad,) = check_ffmpeg(GivenValues({FFMPEG.name: program}))
    (good,) = check_ffmpeg(GivenValues())

    assert ("warn", "ok") == (bad.result, good.result)
    assert "libmp3lame" in bad.advice


def test_what_holds_a_consumer_up_comes_before_its_parked_events():
    retrying = ConsumerStatus("jobs", "projection", "jobs/0", "retrying", "1-1", 1, 2.0, 0, 3, 4, "no such table", 0)
    (found,) = check_consumers([retrying])

    assert ("warn", "retrying, 1 behind, 3 parked: no such table") == (found.result, found.found)


def test_a_part_on_another_file_system_is_found(tmp_path):
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs two file systems")
    (tmp_path / "daily").symlink_to("/dev/shm")
    found = results(check_directory("output directory", "OUTPUT_DIR", tmp_path))

    assert found["output directory file system"] == "fail"


def test_json_of_a_check_is_plain(redis_server):
    (first, *_) = json.loads(msgspec.json.encode(list(check_redis(redis_server.url, "here", 5, 1))))

    assert first == {"name": "redis reachable", "result": "ok", "found": "here", "advice": None}
