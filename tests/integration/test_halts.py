"""Consumers that an operator pauses, retires and resumes: nothing is lost or doubled."""

import asyncio
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any, cast

import psutil
import psycopg
import pytest
from cyclopts import App
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis as AsyncRedis

from playhead import Domain
from playhead.checks.consumers import check_consumers
from playhead.checks.status import read_status
from playhead.commands.app import choose
from playhead.commands.consumers.retirement import Resumed, remove_groups
from playhead.consumers.errors import Retry
from playhead.consumers.halts import Halt, read_halts
from playhead.consumers.processes.clock import ClockService
from playhead.consumers.processes.metrics import TrimMetrics
from playhead.consumers.processes.projection import ConsumerService, ProcessSettings
from playhead.consumers.processes.worker import WorkerProcessSettings, WorkerService
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.reading.trimming import keep_trimmed
from playhead.consumers.work.observer import WorkObserver
from playhead.eventlog.reader import read
from playhead.settings.settings import declared
from playhead.streams.domains.discovery import chosen
from playhead.streams.events import new_event
from playhead.streams.names import HALTS, REPLAYS, Metric, again_key, presence_key, restarts_key
from playhead.streams.notes.events import NoteEnriched, NoteSubmitted
from playhead.streams.positions import Position
from playhead.terminal.ending import run
from playhead.testing import ConsumerThread
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, Pipeline, Watch
from tests.support.workers import NOTES, QUICK, Enrich, causes, outcomes

CLEAN = {name: value for name, value in os.environ.items() if name not in declared()}


class Operator:
    """Types commands, against the servers and directories of a pipeline."""

    def __init__(self, pipeline: Pipeline, monkeypatch) -> None:
        self._monkeypatch, self._directory = monkeypatch, pipeline.directory
        self._started: list[psutil.Popen] = []
        self._settings = {
            "REDIS_URL": pipeline.server.url,
            "DATABASE_URL": pipeline.database,
            "PLAYHEAD_DATA_DIR": str(pipeline.directory),
            "PLAYHEAD_LEASE_SECONDS": "1",
        }

    def types(self, *arguments: str, code: int = 0) -> str:
        """What a command says on both outputs."""
        said = io.StringIO()
        with self._monkeypatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
            for name in declared():
                patch.delenv(name, raising=False)
            for name, value in self._settings.items():
                patch.setenv(name, value)
            ended = run(lambda: cast("App", partial(choose(arguments), arguments)))
        assert code == ended, said.getvalue()
        return said.getvalue()

    def starts(self, name: str) -> psutil.Popen:
        with (self._directory / f"{name}.messages").open("ab") as messages:
            process = psutil.Popen(
                [sys.executable, "-m", "playhead", "run", name],
                cwd=self._directory,
                env=CLEAN | self._settings,
                stdout=messages,
                stderr=messages,
            )
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def said(self, name: str) -> str:
        return (self._directory / f"{name}.messages").read_text()


@pytest.fixture
def pipeline(valkey, postgres, tmp_path, wait_until):
    pipeline = Pipeline(valkey, postgres, tmp_path, wait_until)
    yield pipeline
    pipeline.close()


@pytest.fixture
def operator(pipeline, monkeypatch):
    operator = Operator(pipeline, monkeypatch)
    yield operator
    operator.close()


def start(pipeline, *names):
    """Start consumers that can read the log, and give them by name."""
    log = pipeline.directory / "eventlog"
    return dict(zip(names or SINKS, pipeline.start(*names, event_log_dir=log), strict=True))


def shown(pipeline, name, stream="jobs"):
    found = read_status(pipeline.redis, 1).consumers
    return next(one for one in found if one.name == name and one.partition.partition("/")[0] in {stream, "-"})


def stands_by(pipeline, name, partition=JOBS):
    return not pipeline.redis.exists(presence_key(partition.key, name))


def groups(redis, key=JOBS.key):
    return {group["name"].decode() for group in redis.xinfo_groups(key)}


def trim_once(pipeline, *names):
    """Let the log writer look once at what can be trimmed."""

    async def trimmed():
        done = asyncio.Event()
        seen = []
        async with AsyncRedis.from_url(pipeline.server.url) as client:

            def observe(partition, floor, removed):
                seen.append(floor.held_by)
                done.set()

            trimming = asyncio.create_task(keep_trimmed(client, {JOBS: names or SINKS}, observe, lambda _: None))
            await done.wait()
            trimming.cancel()
        return seen[0]

    return asyncio.run(trimmed())


def trim_exactly(pipeline):
    """Trim what may be: `XTRIM ~` of Playhead leaves up to a node of entries, more than a test wants to append."""
    floor = min(Position.parse(group["last-delivered-id"]) for group in pipeline.redis.xinfo_groups(JOBS.key))
    pipeline.redis.xtrim(JOBS.key, minid=str(floor), approximate=False)


def test_a_paused_projection_applies_nothing_holds_trimming_and_goes_on_where_it_was(pipeline, operator, wait_until):
    consumers = start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up()
    said = operator.types("consumers", "pause", "jobs")
    wait_until(lambda: stands_by(pipeline, "jobs"))
    settled = read_status(pipeline.redis, 1)
    pipeline.append(job(2), job(3))
    pipeline.caught_up("log", "json-files")
    status, one = read_status(pipeline.redis, 1), shown(pipeline, "jobs")
    text = operator.types("status", code=5)

    assert "jobs is paused since 20" in said
    assert {"e1"} == set(pipeline.rows().values())
    assert ("paused", 2, 2) == (one.state, one.lag_events, one.holds)
    assert one.since is not None
    assert "jobs" not in status.not_running
    assert not status.caught_up
    assert "0" == str(shown(pipeline, "json-files").lag_events)
    assert all(one.lag_events == 0 for one in settled.consumers if one.name == "jobs")
    assert "holds 2 entries that could be trimmed; `playhead consumers resume jobs` continues it" in text
    assert [] == consumers["jobs"].problems
    assert "jobs" == trim_once(pipeline)
    assert ["warn"] == [check.result for check in check_consumers([one])]

    operator.types("consumers", "resume", "jobs")
    pipeline.caught_up()
    assert {"e1", "e2", "e3"} == set(pipeline.rows().values())
    pipeline.holds([job(1), job(2), job(3)])


def test_a_consumer_that_is_started_while_paused_waits_and_one_that_is_killed_loses_nothing(
    pipeline, operator, wait_until
):
    start(pipeline, "log", "json-files")
    process = operator.starts("jobs")
    pipeline.append(job(1))
    pipeline.caught_up()
    operator.types("consumers", "pause", "jobs")
    wait_until(lambda: stands_by(pipeline, "jobs"))
    pipeline.append(job(2))
    process.kill()
    process.wait()
    process = operator.starts("jobs")
    wait_until(lambda: operator.said("jobs").count("playhead consumers resume jobs") == 2)
    rows = pipeline.rows()
    operator.types("consumers", "resume", "jobs")
    pipeline.caught_up()
    process.terminate()

    assert 0 == process.wait(60)
    assert {"e1"} == set(rows.values())
    pipeline.holds([job(1), job(2)])


def test_a_retired_projection_holds_nothing_and_resumed_after_trimming_applies_every_event_once(
    pipeline, operator, wait_until
):
    consumers = start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up()
    said = operator.types("consumers", "retire", "jobs")
    pipeline.append(*(job(number) for number in range(2, 10)))
    pipeline.caught_up("log", "json-files")
    held_by = trim_once(pipeline)
    trim_exactly(pipeline)
    status, one = read_status(pipeline.redis, 1), shown(pipeline, "jobs")
    others = {each.name for each in status.consumers if each.name != "jobs" and each.partition == str(JOBS)}
    verified = json.loads(operator.types("verify", "--json", code=5))  # organizations does not run

    assert "1 consumer group removed" in said
    assert {"log", "json-files"} <= groups(pipeline.redis)
    assert "jobs" not in groups(pipeline.redis)
    assert held_by in {"log", "json-files"}
    assert 1 == pipeline.redis.xlen(JOBS.key)
    assert {"e1"} == set(pipeline.rows().values())
    assert "retired" == one.state
    assert "jobs" not in status.not_running
    assert others
    assert not any(floor.held_by == "jobs" for floor in status.held)
    assert ["jobs"] == verified["retired"]
    assert [] == verified["faults"]
    assert "jobs" not in verified["behind"]
    assert ["ok"] == [check.result for check in check_consumers([one])]
    assert [] == consumers["jobs"].problems

    operator.types("consumers", "resume", "jobs")
    wait_until(lambda: "jobs" in groups(pipeline.redis))
    pipeline.caught_up()
    assert None is consumers["jobs"].failure
    assert 0 == consumers["jobs"].watch.lost_events
    pipeline.holds([job(number) for number in range(1, 10)])


def test_status_is_content_with_a_retired_consumer_that_nobody_runs(pipeline, operator):
    pipeline.append(job(1))
    running = ("log", "json-files")
    start(pipeline, *running)
    pipeline.caught_up(*running)
    before = read_status(pipeline.redis, 1)
    for name in before.not_running:
        if name not in {"log", "json-files"}:
            operator.types("consumers", "retire", name)
    after = read_status(pipeline.redis, 1)

    assert not before.caught_up
    assert "jobs" in before.not_running
    assert (True, [], 0) == (after.caught_up, after.not_running, after.exit_code)


def test_replay_goes_past_a_retired_projection_and_refuses_one_that_is_chosen(pipeline, operator):
    start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up()
    for name in ("organizations", "recordings", "archives", "jobs"):
        operator.types("consumers", "retire", name)

    replayed = operator.types("replay", "--log")
    assert "not into jobs, organizations" in replayed
    assert "1 replayed" in replayed
    assert "jobs is retired" in operator.types("replay", "--log", "--to", "jobs", code=2)


def test_replay_and_repair_refuse_a_paused_projection_at_once_whoever_chose_it(pipeline, operator, wait_until):
    start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up()
    operator.types("consumers", "pause", "jobs")
    wait_until(lambda: stands_by(pipeline, "jobs"))
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("DELETE FROM jobs")
    refused = [
        operator.types(*command, code=2) for command in (["replay"], ["replay", "--to", "jobs"], ["verify", "--repair"])
    ]
    pipeline.redis.hset(REPLAYS, "cut-short", '{"to": ["jobs"]}')
    refused.append(operator.types("replay", "--resume", "cut-short", code=2))
    unfinished = [one.run for one in read_status(pipeline.redis, 1).replays]

    assert [True] * 4 == ["jobs is paused: `playhead consumers resume jobs` first" in said for said in refused]
    assert ["cut-short"] == unfinished


def test_a_stopped_consumer_is_said_to_be_so_since_when_and_what_it_holds(pipeline, operator):
    start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up()
    pipeline.stop()
    start(pipeline, "log", "json-files")
    pipeline.append(job(2), job(3), job(4))
    pipeline.caught_up("log", "json-files")
    one = shown(pipeline, "jobs")
    text = operator.types("status", code=5)

    assert ("stopped", 3) == (one.state, one.holds)
    assert f"jobs jobs/0: stopped, last heard of at {one.since}, holds 3 entries that could be trimmed" in text
    assert "organizations jobs/0: it never ran, holds 4 entries that could be trimmed" in text


@pytest.mark.parametrize("command", ["pause", "retire", "resume"])
def test_the_log_and_what_is_not_there_are_refused(pipeline, operator, command):
    pipeline.append(job(1))
    pipeline.redis.xgroup_create(JOBS.key, "left-over", "0")

    assert "every other consumer recovers" in operator.types("consumers", command, "log", code=2)
    said = operator.types("consumers", command, "job", code=2)
    assert "there is no projection, worker, clock or consumer group 'job'; there are json-files" in said
    assert "left-over" in said


def test_a_consumer_that_is_not_installed_any_more_can_be_retired(pipeline, operator):
    start(pipeline)
    pipeline.append(job(1), job(2))
    pipeline.caught_up()
    for name in ("organizations", "gone"):
        pipeline.redis.xgroup_create(JOBS.key, name, "$" if name == "organizations" else "0")
    pipeline.redis.xadd(f"{JOBS.key}:parked:gone", {"parked_position": "1-1"})
    before, held_by = read_status(pipeline.redis, 1), trim_once(pipeline)
    said = operator.types("status", code=5)
    retired = operator.types("consumers", "retire", "gone")
    after = read_status(pipeline.redis, 1)

    assert "gone" == held_by
    assert {"gone": 1} == before.unknown == after.unknown
    assert "gone" in {floor.held_by for floor in before.held}
    assert [("gone", 2)] == [(one.name, one.holds) for one in before.unknown_groups]
    assert "gone jobs/0: trimming waits for it, holds 2 entries that could be trimmed" in said
    assert "1 parked event kept" in retired
    assert [] == after.unknown_groups
    assert "gone" not in groups(pipeline.redis)
    assert "gone" != trim_once(pipeline)


def test_a_group_whose_name_is_not_text_holds_trimming_until_it_is_retired(pipeline, operator):
    start(pipeline)
    pipeline.append(job(1), job(2))
    pipeline.caught_up()
    pipeline.redis.xgroup_create(JOBS.key, cast("Any", b"\xff\xfe"), "0")
    before = trim_once(pipeline)
    said = operator.types("consumers", "retire", r"\xff\xfe")
    after = trim_once(pipeline)

    assert (r"\xff\xfe", True) == (before, after in SINKS)
    assert "1 consumer group removed" in said
    assert set(SINKS) == groups(pipeline.redis)


def test_a_failure_that_nobody_expects_in_what_trims_ends_the_process(pipeline, wait_until):
    class Failing(TrimMetrics):
        def halted(self, halts):
            raise ValueError("a bug")

    settings = ProcessSettings(redis_url=pipeline.server.url, reader=ReaderSettings(lease=1.0), trim={"jobs": SINKS})
    sink = pipeline.make_sink("log")
    log = ConsumerThread(
        "log",
        settings.redis_url,
        lambda client: ConsumerService(sink, settings, client, Watch("log"), Failing(CollectorRegistry())),
    )
    log.start()
    wait_until(lambda: log.failure is not None)
    log.stop()

    assert "a bug" == str(log.failure)


def test_retire_says_that_another_operator_resumed_the_consumer_meanwhile(pipeline, operator, wait_until):
    pipeline.append(job(1))
    pipeline.redis.xgroup_create(JOBS.key, "jobs", "0")
    pipeline.redis.set(presence_key(JOBS.key, "jobs"), "a process")
    pipeline.redis.hset(HALTS, "jobs", '{"state": "retired", "since": 0}')
    with ThreadPoolExecutor(1) as others:
        waiting = others.submit(remove_groups, pipeline.redis, "jobs", Halt("retired", 0.0), [JOBS])
        asked = pipeline.redis.info("commandstats")["cmdstat_evalsha"]["calls"]
        wait_until(lambda: pipeline.redis.info("commandstats")["cmdstat_evalsha"]["calls"] > asked + 1)
        operator.types("consumers", "resume", "jobs")
        pipeline.redis.delete(presence_key(JOBS.key, "jobs"))
        with pytest.raises(Resumed, match="jobs is not retired, because it was resumed"):
            waiting.result(60)

    assert "jobs" in groups(pipeline.redis)


def test_the_log_says_who_is_halted_for_the_alert(pipeline, operator):
    operator.types("consumers", "pause", "jobs")
    operator.types("consumers", "retire", "sweep")
    registry = CollectorRegistry()
    TrimMetrics(registry).halted(read_halts(pipeline.redis))

    assert 1 == registry.get_sample_value(Metric.HALTED, {"projection": "jobs", "state": "paused"})
    assert 1 == registry.get_sample_value(Metric.HALTED, {"projection": "sweep", "state": "retired"})


def test_a_flushed_redis_forgets_that_a_consumer_is_retired(pipeline, operator):
    pipeline.append(job(1))
    operator.types("consumers", "retire", "jobs")
    pipeline.redis.flushall()

    assert "stopped" == shown(pipeline, "jobs").state


@pytest.mark.parametrize("record", [b"not JSON", b'{"state": "gone", "since": 1}'])
def test_a_consumer_whose_record_cannot_be_read_waits_as_if_paused_and_is_named(pipeline, operator, record, wait_until):
    pipeline.redis.hset(HALTS, "jobs", record)
    consumers = start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up("log", "json-files")
    wait_until(lambda: "cannot be read" in str(consumers["jobs"].problems))
    rows, status, one = pipeline.rows(), read_status(pipeline.redis, 1), shown(pipeline, "jobs")
    said = operator.types("status", code=5)
    held_by = trim_once(pipeline)
    resumed = operator.types("consumers", "resume", "jobs")
    pipeline.caught_up()

    assert {} == rows
    assert "unknown" == one.state
    assert "jobs" not in status.not_running
    assert [f"jobs of {HALTS} says neither paused nor retired"] == status.damaged
    assert f"jobs of {HALTS} says neither paused nor retired; `playhead doctor` says what to do" in said
    assert "jobs" == held_by
    assert "its processes continue within seconds" in resumed
    assert {"e1"} == set(pipeline.rows().values())


def test_while_the_key_is_of_another_type_every_consumer_but_the_log_waits_and_says_so(pipeline, operator, wait_until):
    consumers = start(pipeline)
    pipeline.append(job(1))
    pipeline.caught_up()
    pipeline.redis.set(HALTS, "x")
    wait_until(lambda: all("playhead doctor" in str(consumers[name].problems) for name in ("jobs", "json-files")))
    wait_until(lambda: stands_by(pipeline, "jobs"))
    pipeline.append(job(2))
    pipeline.caught_up("log")
    rows, status = pipeline.rows(), read_status(pipeline.redis, 1)
    refused = operator.types("replay", "--log", code=1)
    pipeline.redis.delete(HALTS)
    pipeline.caught_up()

    assert {"e1"} == set(rows.values())
    assert [f"{HALTS} is a string, not a hash"] == status.damaged
    assert 5 == status.exit_code
    assert "playhead doctor" in refused
    assert {"e1", "e2"} == set(pipeline.rows().values())


def test_a_consumer_that_may_not_read_the_record_waits_and_says_which_rules_to_set(pipeline, operator, wait_until):
    acl = partial(cast("Any", pipeline.redis).execute_command, "ACL")
    acl("SETUSER", "default", "resetkeys", "~playhead:{*", "~playhead:streams", "~playhead:installation")
    try:
        consumers = start(pipeline)
        pipeline.append(job(1))
        pipeline.caught_up("log")
        wait_until(lambda: "playhead redis acl" in str(consumers["jobs"].problems))
        rows = pipeline.rows()
        said = [operator.types(command, code=1) for command in ("status", "doctor")]
    finally:
        acl("SETUSER", "default", "allkeys")
    pipeline.caught_up()

    assert {} == rows
    assert [True, True] == ["playhead redis acl" in text for text in said]
    assert {"e1"} == set(pipeline.rows().values())


def test_a_clock_whose_record_cannot_be_read_does_no_round(pipeline, operator, wait_until):
    rounds = []
    pipeline.redis.hset(HALTS, "sweep", b"not JSON")
    clock = ConsumerThread(
        "sweep", pipeline.server.url, lambda client: ClockService("sweep", lambda: rounds.append(1), 0.01, client)
    )
    clock.start()
    wait_until(lambda: "cannot be read" in str(clock.problems))
    before, state = len(rounds), shown(pipeline, "sweep").state
    operator.types("consumers", "resume", "sweep")
    wait_until(lambda: bool(rounds))
    clock.stop()

    assert (0, "unknown") == (before, state)


def test_a_clock_does_no_round_while_it_is_paused(pipeline, operator, wait_until):
    rounds = []
    services = []

    def make(client):
        services.append(ClockService("sweep", lambda: rounds.append(1), 0.01, client))
        return services[0]

    clock = ConsumerThread("sweep", pipeline.server.url, make)
    clock.start()
    wait_until(lambda: bool(rounds))
    operator.types("consumers", "pause", "sweep")
    wait_until(lambda: services[0].is_halted)
    before = len(rounds)
    state = shown(pipeline, "sweep").state
    said = operator.types("status", code=5)
    during = len(rounds)
    operator.types("consumers", "resume", "sweep")
    wait_until(lambda: len(rounds) > during)
    clock.stop()

    assert ("paused", before) == (state, during)
    assert "sweep: paused since" in said


class Notes:
    """A worker as a process runs it, and the log that it can read."""

    def __init__(self, pipeline: Pipeline, *, with_log: bool = True) -> None:
        self.handler = Enrich(self.defer)
        self.late: set[str] = set()
        self._url, self._log = pipeline.server.url, pipeline.directory / "eventlog" if with_log else None

    async def defer(self, task) -> None:
        if task.cause.event.id in self.late:
            raise Retry("later", after=3600)

    def __enter__(self) -> ConsumerThread:
        settings = WorkerProcessSettings(redis_url=self._url, work=QUICK, event_log_dir=self._log)
        self._thread = ConsumerThread(
            "enrich", self._url, lambda client: WorkerService(self.handler, settings, client, WorkObserver())
        )
        self._thread.start()
        return self._thread

    def __exit__(self, *_: object) -> None:
        self._thread.stop()


@pytest.fixture
def enriching():
    """Have the worker `enrich` installed."""
    domain = Domain("enriching", requires=["notes"])
    domain.worker("enrich", lambda _: None, on=NoteSubmitted, ends=NoteEnriched)
    with chosen([domain]):
        yield


def notes(*numbers: int):
    return [new_event("note.submitted", subject=f"note/{n}", data={}, id=f"n{n}") for n in numbers]


def test_a_paused_worker_takes_nothing_and_goes_on(enriching, pipeline, operator, wait_until):
    work = Notes(pipeline)
    with work as worker:
        pipeline.append(*notes(1, 2))
        wait_until(lambda: 2 == len(outcomes(pipeline.redis)))
        operator.types("consumers", "pause", "enrich")
        wait_until(lambda: not pipeline.redis.xinfo_consumers(NOTES.key, "enrich"))
        pipeline.append(*notes(3, 4))
        paused, problems = shown(pipeline, "enrich", "notes"), worker.problems
        seen = list(work.handler.seen)
        operator.types("consumers", "resume", "enrich")
        wait_until(lambda: 4 == len(outcomes(pipeline.redis)))
    wait_until(lambda: stands_by(pipeline, "enrich", NOTES))
    stopped = shown(pipeline, "enrich", "notes")

    assert ("paused", []) == (paused.state, problems)
    assert ["n1", "n2"] == sorted(seen)
    assert {f"n{n}": 1 for n in range(1, 5)} == causes(pipeline.redis)
    assert "stopped" == stopped.state
    assert None is not stopped.since


@pytest.mark.parametrize("trimmed", [True, False])
def test_a_retired_worker_resumes_with_what_it_had_deferred_and_what_was_trimmed_once(
    enriching, pipeline, operator, wait_until, trimmed
):
    start(pipeline, "log")
    work = Notes(pipeline)
    work.late = {"n3", "n4"}
    with work as worker:
        pipeline.append(*notes(*range(1, 5)))
        wait_until(lambda: 4 == len(work.handler.seen) and pipeline.redis.zcard(f"{NOTES.key}:due:enrich") == 2)
        wait_until(lambda: 2 == len(outcomes(pipeline.redis)))
        operator.types("consumers", "retire", "enrich")
        pipeline.append(*notes(*range(5, 9)))
        pipeline.caught_up("log", stream="notes")
        if trimmed:
            pipeline.redis.xtrim(NOTES.key, maxlen=1, approximate=False)
        status, one = read_status(pipeline.redis, 1), shown(pipeline, "enrich", "notes")
        seen = len(work.handler.seen)
        work.late = set()
        operator.types("consumers", "resume", "enrich")
        wait_until(lambda: 10 == len(work.handler.seen))
        wait_until(lambda: not pipeline.redis.xlen(again_key(NOTES.key, "enrich")))
        pipeline.caught_up("log", stream="notes")
    done = [recorded.event for _, recorded in read(pipeline.directory / "eventlog")]

    assert 4 == seen
    assert "retired" == one.state
    assert not any(floor.held_by == "enrich" for floor in status.held)
    assert None is worker.failure
    assert sorted(["n3", "n4", *(f"n{n}" for n in range(1, 9))]) == sorted(work.handler.seen)
    assert [f"n{n}" for n in range(1, 9)] == sorted(
        event.causationid for event in done if event.type == "note.enriched"
    )


def test_a_retired_worker_resumes_with_what_it_had_deferred_and_somebody_trimmed(
    enriching, pipeline, operator, wait_until
):
    start(pipeline, "log")
    work = Notes(pipeline)
    work.late = {"n1", "n2"}
    with work:
        pipeline.append(*notes(1, 2, 3))
        wait_until(lambda: 3 == len(work.handler.seen) and pipeline.redis.zcard(f"{NOTES.key}:due:enrich") == 2)
        wait_until(lambda: 1 == len(outcomes(pipeline.redis)))
        pipeline.caught_up("log", stream="notes")
        (gone, _), (kept, _) = pipeline.redis.xrange(NOTES.key, count=2)
        pipeline.redis.xtrim(NOTES.key, minid=kept, approximate=False)
        said = operator.types("consumers", "retire", "enrich")
        work.late = set()
        operator.types("consumers", "resume", "enrich")
        wait_until(lambda: 5 == len(work.handler.seen))
        wait_until(lambda: not pipeline.redis.xlen(again_key(NOTES.key, "enrich")))
        pipeline.caught_up("log", stream="notes")
    done = [recorded.event for _, recorded in read(pipeline.directory / "eventlog")]

    assert (
        f"notes/0: 1 event in hand, gone from Redis; read from the log when enrich resumes: {gone.decode()}\n" in said
    )
    assert ["n1", "n1", "n2", "n2", "n3"] == sorted(work.handler.seen)
    assert ["n1", "n2", "n3"] == sorted(event.causationid for event in done if event.type == "note.enriched")
    assert not [name for name in pipeline.redis.hkeys(restarts_key(NOTES.key)) if name.endswith(b":enrich")]


def test_a_retired_worker_without_a_log_goes_on_where_it_was(enriching, pipeline, operator, wait_until):
    work = Notes(pipeline, with_log=False)
    with work:
        pipeline.append(*notes(1, 2))
        wait_until(lambda: 2 == len(outcomes(pipeline.redis)))
        operator.types("consumers", "retire", "enrich")
        pipeline.append(*notes(3))
        operator.types("consumers", "resume", "enrich")
        wait_until(lambda: 3 == len(outcomes(pipeline.redis)))

    assert ["n1", "n2", "n3"] == sorted(work.handler.seen)
