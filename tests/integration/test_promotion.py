"""Whole meetings: recorded, transcoded and promoted by real workers with a real ffmpeg, at their true times."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import psycopg
import pytest

from playhead.consumers.processes.clock import ClockService
from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.recordings.ffmpeg import Ffmpeg, find_ffmpeg
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.promote import Promote, PromoteSettings, lock
from playhead.consumers.recordings.promotion import Promoter
from playhead.consumers.recordings.sweep import Sweep
from playhead.consumers.recordings.transcode import Transcode
from playhead.consumers.work.worker import WorkerSettings
from playhead.projections.recordings.overview import list_files, overview
from playhead.projections.recordings.projection import Recordings
from playhead.projections.recordings.rows import chunks_of, find_meetings, recordings_of
from playhead.recordings.domain import RECORDINGS_DIR, SWEEP_SECONDS
from playhead.recordings.sweeping import sweep
from playhead.streams.appending.producer import Producer
from playhead.streams.events import format_time, new_event, parse_time
from playhead.streams.recordings.events import Cut, stopped_event
from playhead.streams.recordings.files import Chunk, RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import RECORDINGS, decoded, facts, flush, open_session, samples, sha256, tone
from tests.support.conditions import until
from tests.support.databases import make_database
from tests.support.pipeline import Consumer, fields
from tests.support.places import place_of
from tests.support.workers import working

QUICK = WorkerSettings(concurrency=2, hold=2.0, max_attempts=20, first_delay=0.05, grace=5)
SHORT = RecorderSettings(flush_seconds=0.5)


@pytest.fixture
def redis_server(valkey):
    return valkey


@pytest.fixture
def sessions(valkey, redis, postgres, tmp_path):
    sessions = Sessions(valkey, redis, make_database(postgres), RecordingFiles(tmp_path / "recordings"))
    yield sessions
    sessions.close()


class Sessions:
    """One directory, one Redis, one database, the projection, and workers while a test wants them."""

    def __init__(self, valkey, redis, database, files):
        self.url, self.redis, self.database, self.files = valkey.url, redis, database, files
        self.producer = Producer(valkey.url)
        self.project()
        self.ffmpeg = Ffmpeg(find_ffmpeg(None), 60)

    def project(self):
        """Start the projection again."""
        settings = ProcessSettings(redis_url=self.url, reader=ReaderSettings(lease=1.0))
        self.projection = Consumer(Recordings(place_of("recordings", self.database)), settings)
        self.projection.start()

    def close(self):
        self.projection.stop()
        self.producer.close()

    def record(self, *writes, meeting="m", strategy="hybrid"):
        async def run():
            recorder = Recorder(self.producer, self.files.directory, SHORT)
            async with recorder.session(meeting, "g", "c", strategy) as session:
                for user_id, pcm, at in writes:
                    session.write(user_id, pcm, at=at)

        asyncio.run(run())

    def work(self, *names, done, attempts=QUICK.max_attempts, **settings):
        quick = msgspec.structs.replace(QUICK, max_attempts=attempts)

        async def run():
            async with AsyncExitStack() as stack:
                for name in names:
                    handler = self.transcode() if name == "transcode" else self.promote(**settings)
                    await stack.enter_async_context(working(self.url, handler, quick, partition=RECORDINGS))
                await until(done, 60)

        asyncio.run(run())

    def transcode(self):
        return Transcode(self.files, self.ffmpeg)

    def promote(self, **settings):
        promoter = Promoter(self.files, self.ffmpeg)
        return Promote(self.files, promoter, self.database, Progress(self.redis), PromoteSettings(**settings))

    def sweep(self, older=0.0, patience=10.0):
        append, age = self.producer.append_events, timedelta(seconds=older)
        with psycopg.connect(self.database) as connection:
            return Sweep(self.files, Progress(self.redis), append, older=age, patience=patience).run(connection)

    def abandon(self, pcm=b"", meeting="m"):
        """What a recorder leaves that died behind its first chunk, and the projection knows."""
        note = open_session(Recorder(self.producer, self.files.directory, SHORT), meeting)
        os.utime(self.files.path(self.files.session(meeting)), (0, 0))
        self.producer.append_events([note.started()])
        flush(self.producer, self.files, pcm, Chunk(meeting, "u", 0), started_at=note.started_at)
        asyncio.run(until(lambda: self.status(meeting) and self.rows(meeting)[1]))

    def rows(self, meeting="m"):
        with psycopg.connect(self.database) as connection:
            connection.execute("SET timezone = 'UTC'")
            (found,) = find_meetings(connection, [meeting]) or [None]
            return found, chunks_of(connection, meeting), recordings_of(connection, meeting)

    def status(self, meeting="m"):
        found, _, _ = self.rows(meeting)
        return found and found.status

    def promoted(self, meeting="m"):
        return self.status(meeting) == "PROMOTED"


def speech(seconds, seed):
    """Noise in bursts, as unlike itself at any other time as speech is."""
    random = np.random.default_rng(seed)
    frames = round(seconds * 48000)
    loudness = np.repeat(random.uniform(0, 1, frames // 4800 + 1) ** 2, 4800)[:frames]
    smooth = np.convolve(random.normal(0, 6000, frames), np.ones(16) / 4, "same")
    wave = np.clip(smooth * loudness, -16000, 16000).astype("<i2")
    return np.repeat(wave[:, None], 2, axis=1).tobytes()


def shift(heard, source):
    """By how many seconds one is later than the other."""
    size = 1 << (len(heard) + len(source)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(source, size)), size)
    at = int(np.argmax(product))
    return (at if at < size // 2 else at - size) / 48000


def test_a_meeting_becomes_recordings_of_each_and_of_all_at_their_true_times(sessions):
    ours, theirs = speech(3.3, 1), speech(2.2, 2)
    sessions.record(("us", ours, 0), ("them", theirs, 1.7))
    sessions.work("transcode", "promote", done=sessions.promoted)
    meeting, _, recordings = sessions.rows()
    found = {one.user_id: one for one in recordings}
    heard = {user: decoded(sessions.files.path(one.filename)) for user, one in found.items()}
    mixed = np.zeros(round(3.9 * 48000), int)
    mixed[: round(3.3 * 48000)] += samples(ours)
    mixed[round(1.7 * 48000) :] += samples(theirs)

    assert {"us": 3300, "them": 3900, None: 3900} == {user: one.duration_in_ms for user, one in found.items()}
    assert {3.3, 3.9} == {len(each) / 48000 for each in heard.values()}
    assert (0, 1.7, 0) == (
        shift(heard["us"], samples(ours)),
        shift(heard["them"], samples(theirs)),
        shift(heard[None], mixed),
    )
    assert np.corrcoef(heard[None], mixed)[0, 1] > 0.95
    for one in recordings:
        assert (one.sha256, "hybrid", []) == (
            sha256(sessions.files.path(one.filename)),
            one.strategy,
            one.missing_chunk_ids,
        )
    assert ["them", "us"] == meeting.user_ids


def test_silence_of_years_is_cut_and_said_with_its_length(sessions):
    years = 70 * 365 * 86400
    note = open_session(Recorder(sessions.producer, sessions.files.directory, SHORT), "m")
    sessions.producer.append_events([note.started()])
    for user, sequence, later in (("u", 0, 0), ("v", 0, 0.2), ("u", 1, years), ("v", 1, years + 0.3)):
        started_at = format_time(parse_time(note.started_at) + timedelta(seconds=later))
        chunk = Chunk("m", user, sequence)
        flush(sessions.producer, sessions.files, tone(0.4), chunk, started_at=started_at)
    sessions.producer.append_events([stopped_event("m", ["u", "v"], "a test", reason="over")])
    sessions.work("transcode", "promote", done=sessions.promoted)
    (recording,) = sessions.rows()[2]
    ((_, promoted),) = facts(sessions.redis, "recording.promoted")
    cut = Cut(at_ms=1600, length_ms=years * 1000 - 1600)

    assert (2300, [cut]) == (recording.duration_in_ms, recording.cuts)
    assert [{"at_ms": cut.at_ms, "length_ms": cut.length_ms}] == promoted["cuts"]


def test_a_meeting_whose_recordings_are_gone_is_not_called_promoted(sessions):
    sessions.record(("u", tone(0.2), 0), meeting="whole")
    sessions.record(("u", tone(0.2), 0), ("", tone(0.2), 0), meeting="m")
    sessions.work("transcode", "promote", done=lambda: sessions.promoted() and sessions.promoted("whole"))

    def listed():
        with psycopg.connect(sessions.database) as connection:
            return {one.id: one for one in list_files(connection, sessions.files)}

    before = listed()
    (of_all, *others) = sessions.rows()[2]
    sessions.files.path(of_all.filename).unlink()
    for one in others:
        sessions.files.path(one.filename).write_bytes(b"")
    after = listed()

    assert {"m": "PROMOTED", "whole": "PROMOTED"} == {id_: one.status for id_, one in before.items()}
    assert {"m": "FILES_MISSING", "whole": "PROMOTED"} == {id_: one.status for id_, one in after.items()}
    assert after["m"].problem.startswith("3 of 3 recordings are not there: recordings/m/")
    assert after["m"].problem == after["m"].stuck(datetime.now(UTC), timedelta())
    assert {"PROMOTED"} == {sessions.status("m"), sessions.status("whole")}


def test_the_end_of_a_meeting_waits_no_longer_than_its_chunks(sessions):
    sessions.record(("u", tone(0.6), 0), ("v", tone(0.2), 0))

    def put_off():
        return sessions.redis.zcount(f"{RECORDINGS.key}:due:promote", (time.time() + 100) * 1000, "+inf")

    def done():
        return sessions.promoted() and not sessions.redis.xpending(RECORDINGS.key, "promote")["pending"]

    sessions.work("promote", done=lambda: put_off() == 1)
    sessions.work("transcode", "promote", done=done)

    assert 3 == len(facts(sessions.redis, "recording.promoted"))


def test_a_meeting_waits_for_an_upgrade_of_the_database_and_is_not_given_up(sessions):
    def postponed():
        return sessions.redis.zcard(f"{RECORDINGS.key}:due:promote")

    def move(old, new):
        with psycopg.connect(sessions.database) as connection:
            connection.execute(f"ALTER SCHEMA {old} RENAME TO {new}")

    sessions.record(("u", tone(0.2), 0))
    sessions.work("transcode", done=lambda: [one.transcode_status for one in sessions.rows()[1]] == ["DONE"])
    move("playhead", "elsewhere")
    sessions.work("promote", attempts=1, done=postponed)
    move("elsewhere", "playhead")
    sessions.work("promote", done=sessions.promoted)

    assert [] == facts(sessions.redis, "recording.promotion_failed")


def test_nothing_but_recordings_is_left(sessions):
    sessions.record(("u", tone(1.2), 0))
    sessions.work("transcode", "promote", done=lambda: sessions.promoted() and not sessions.rows()[1])
    sessions.work("promote", done=lambda: not list(sessions.files.directory.glob("*p*3/*")))

    assert [] == list(sessions.files.directory.glob("pcm/*")) + list(sessions.files.directory.glob("mp3/*"))
    assert 3 == len(facts(sessions.redis, "transcode.finished"))
    assert 2 == len(facts(sessions.redis, "recording.promoted"))


def test_pcm_of_which_no_event_speaks_outlives_the_promotion(sessions):
    sessions.record(("u", tone(0.2), 0))
    unsaid = Chunk("m", "u", 1)
    sessions.files.write(sessions.files.pcm(unsaid), tone(0.1))
    sessions.work("transcode", "promote", done=sessions.promoted)
    sessions.work("promote", done=lambda: not list(sessions.files.chunks("mp3")))

    assert [unsaid] == list(sessions.files.chunks("pcm"))
    assert sessions.files.path(sessions.files.session("m")).exists()


def test_where_chunks_meet_there_is_no_gap_click_or_drift(sessions):
    sessions.record(("u", tone(5, 441.7), 0), strategy="meeting")
    sessions.work("transcode", "promote", done=sessions.promoted)
    (one,) = sessions.rows()[2]
    error = decoded(sessions.files.path(one.filename)) - samples(tone(5, 441.7))
    steps = np.abs(np.diff(error))
    near_joins = np.zeros(len(steps), bool)
    for at in range(24000, 240000, 24000):
        near_joins[at - 2400 : at + 2400] = True
    elsewhere = ~near_joins
    elsewhere[:4800] = elsewhere[-4800:] = False

    assert 240000 == len(error)
    assert steps[near_joins].max() < 5 * steps[elsewhere].max(), "a click"
    assert np.abs(error[-24000:]).mean() < 1.2 * np.abs(error[:24000]).mean(), "drift"


def test_each_chunk_is_decoded_once_and_a_meeting_encoded_by_one_ffmpeg(sessions, tmp_path):
    sessions.record(("u", tone(1.2), 0), ("v", tone(0.6), 0))
    sessions.work("transcode", done=lambda: 5 == len(facts(sessions.redis, "chunk.cleaned")))
    starts, program = tmp_path / "starts", tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$*" >>{starts}\nexec {find_ffmpeg(None)} "$@"\n')
    program.chmod(0o700)
    sessions.ffmpeg = Ffmpeg(program, 60)
    sessions.work("promote", done=sessions.promoted)
    decodes, encodes = [], []
    for line in starts.read_text().splitlines():
        (encodes if "libmp3lame" in line else decodes).append(line)

    assert 3 == len(sessions.rows()[2])
    assert (2, 1) == (len(decodes), len(encodes))


def test_a_spoiled_chunk_moves_no_other(sessions):
    source = speech(2.5, 3)
    sessions.record(("u", source, 0), strategy="meeting")
    sessions.work("transcode", done=lambda: 5 == len(facts(sessions.redis, "chunk.cleaned")))
    path = sessions.files.path(sessions.files.mp3(Chunk("m", "u", 1)))
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(2000) + content[4000:])
    sessions.work("promote", done=sessions.promoted)
    (one,) = sessions.rows()[2]
    heard = decoded(sessions.files.path(one.filename))

    assert len(heard) == len(samples(source))
    for start in (0, 48000, 72000, 96000):
        assert 0 == shift(heard[start : start + 24000], samples(source)[start : start + 24000])


@pytest.mark.parametrize(("strategy", "users"), [("per-user", {"u", "v"}), ("meeting", {None})])
def test_strategies_other_than_both(sessions, strategy, users):
    sessions.record(("u", tone(0.2), 0), ("v", tone(0.2), 0), strategy=strategy)
    sessions.work("transcode", "promote", done=lambda: users == {one.user_id for one in sessions.rows()[2]})

    assert {strategy} == {one.strategy for one in sessions.rows()[2]}


def test_chunks_that_failed_are_named_and_kept(sessions):
    sessions.record(("u", tone(1.2), 0))
    sessions.files.write(sessions.files.pcm(Chunk("m", "u", 1)), b"abc")
    sessions.work("transcode", "promote", done=sessions.promoted)
    _, chunks, recordings = sessions.rows()
    (failed,) = [chunk.id for chunk in chunks if chunk.transcode_status == "FAILED"]

    assert [[failed], [failed]] == [one.missing_chunk_ids for one in recordings]
    assert {1200} == {one.duration_in_ms for one in recordings}
    assert [1] == [chunk.sequence for chunk in sessions.files.chunks("pcm")]
    assert [0, 2] == [chunk.sequence for chunk in sessions.files.chunks("mp3")]


def test_chunks_that_do_not_finish_are_waited_for_then_named_and_added_once_they_are_there(sessions):
    sessions.record(("u", tone(0.4), 0), ("v", tone(0.4), 0))
    v = sessions.files.path(sessions.files.pcm(Chunk("m", "v", 0)))
    first = sessions.transcode()
    handle = first.handle

    async def only_u(task):
        if b'"user_id":"u"' not in task.cause.event.data:
            await asyncio.Event().wait()
        return await handle(task)

    first.handle = only_u

    async def run():
        async with working(sessions.url, first, QUICK, partition=RECORDINGS):
            await until(lambda: "DONE" in {chunk.transcode_status for chunk in sessions.rows()[1]}, 60)
            async with working(sessions.url, sessions.promote(wait_seconds=1.0), QUICK, partition=RECORDINGS):
                await until(sessions.promoted, 60)

    asyncio.run(run())

    assert {1} == {len(one.missing_chunk_ids) for one in sessions.rows()[2]}
    assert v.exists()

    sessions.work("transcode", "promote", done=lambda: not any(one.missing_chunk_ids for one in sessions.rows()[2]))
    assert {"u", "v", None} == {one.user_id for one in sessions.rows()[2]}
    assert [] == [type for type, _ in facts(sessions.redis, "transcode.failed")]


def test_a_promotion_that_failed_for_good_is_said_with_the_strategy_that_was_asked_for(sessions, tmp_path):
    sessions.record(("u", tone(0.2), 0), strategy="per-user")
    sessions.work("transcode", done=lambda: facts(sessions.redis, "chunk.cleaned"))
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    sessions.ffmpeg = Ffmpeg(broken, 60)
    sessions.work("promote", done=lambda: sessions.status() == "PROMOTION_FAILED", attempts=2)

    assert "per-user" == facts(sessions.redis, "recording.promotion_failed")[0][1]["strategy"]
    assert not sessions.files.has_recording("m")


def test_a_meeting_without_a_finished_chunk_is_not_promoted_and_can_be_later(sessions):
    sessions.record(("u", tone(0.2), 0))
    pcm = sessions.files.path(sessions.files.pcm(Chunk("m", "u", 0)))
    content = pcm.read_bytes()
    pcm.write_bytes(b"")
    sessions.work("transcode", "promote", done=lambda: sessions.status() == "PROMOTION_FAILED")
    problem = sessions.rows()[0].problem
    pcm.write_bytes(content)
    sessions.redis.sadd(
        f"{RECORDINGS.key}:retry:transcode",
        *(b"=" + entry_id for entry_id, _ in sessions.redis.xrange(f"{RECORDINGS.key}:parked:transcode")),
    )
    sessions.work("transcode", "promote", done=sessions.promoted)

    assert "none of 1 chunks is finished" == problem
    assert 200 == sessions.rows()[2][0].duration_in_ms


def test_a_promotion_waits_for_a_projection_that_stands_still_however_often_it_looks(sessions, monkeypatch):
    monkeypatch.setattr("playhead.consumers.recordings.promote._AGAIN_SECONDS", 0.01)
    sessions.projection.stop()
    sessions.record(("u", tone(0.2), 0))
    sessions.work("transcode", done=lambda: facts(sessions.redis, "chunk.cleaned"))
    looks = []

    class Counted(Progress):
        def reached(self, connection, partition):
            looks.append(partition)
            return super().reached(connection, partition)

    monkeypatch.setattr("tests.integration.test_promotion.Progress", Counted)
    sessions.work("promote", done=lambda: len(looks) > 20, attempts=2, patience=0)
    sessions.project()
    sessions.work("promote", done=sessions.promoted, attempts=2)

    assert [] == facts(sessions.redis, "recording.promotion_failed")


def test_a_promotion_waits_for_another_one_however_often_it_looks(sessions, monkeypatch):
    monkeypatch.setattr("playhead.consumers.recordings.promote._AGAIN_SECONDS", 0.01)
    sessions.record(("u", tone(0.2), 0))
    sessions.work("transcode", done=lambda: facts(sessions.redis, "chunk.cleaned"))
    refused = []

    def counted(connection, meeting_id):
        if not lock(connection, meeting_id):
            refused.append(meeting_id)
            return False
        return True

    monkeypatch.setattr("playhead.consumers.recordings.promote.lock", counted)
    with psycopg.connect(sessions.database) as other:
        assert lock(other, "m")
        sessions.work("promote", done=lambda: len(refused) > 5, attempts=2)
    sessions.work("promote", done=sessions.promoted, attempts=2)

    assert [] == facts(sessions.redis, "recording.promotion_failed")


def test_promoters_that_compete_make_one_recording_each(sessions):
    for number in range(4):
        sessions.record(("u", tone(0.6), 0), ("v", tone(0.6), 0.1), meeting=f"m{number}")
    meetings = [f"m{number}" for number in range(4)]
    sessions.work(
        "transcode",
        "promote",
        "promote",
        "promote",
        done=lambda: all(sessions.promoted(meeting) for meeting in meetings),
    )
    promoted = [payload["recording_id"] for _, payload in facts(sessions.redis, "recording.promoted")]

    assert 12 == len(promoted) == len(set(promoted))


def test_a_replay_into_an_empty_database_gives_the_same_rows_and_starts_no_ffmpeg(sessions, postgres):
    sessions.record(("u", tone(0.6), 0))
    sessions.work("transcode", "promote", done=lambda: sessions.promoted() and not sessions.rows()[1])
    files = {path: path.stat() for path in sessions.files.directory.rglob("*.mp3")}
    before, events = sessions.rows(), len(facts(sessions.redis))
    sessions.projection.stop()
    with psycopg.connect(sessions.database) as connection:
        connection.execute("TRUNCATE meetings, temp_recordings, recordings, playhead_checkpoints")
    sessions.redis.xgroup_setid(RECORDINGS.key, "recordings", "0")
    sessions.project()
    sessions.work("transcode", "promote", done=sessions.promoted)

    assert before == sessions.rows()
    assert events == len(facts(sessions.redis))
    assert files == {path: path.stat() for path in sessions.files.directory.rglob("*.mp3")}


def test_the_sweep_ends_what_was_left_says_what_nobody_said_and_touches_nothing_live(sessions):
    def abandon(meeting, said=b"", unsaid=None, seen=0.0):
        """A recorder that died behind its first chunk."""
        recorder = Recorder(sessions.producer, sessions.files.directory, SHORT)
        note = open_session(recorder, meeting)
        if unsaid is not None:
            sessions.files.write(sessions.files.pcm(Chunk(meeting, "u", 1)), unsaid)
        if said is not None:
            sessions.producer.append_events([note.started()])
            flush(sessions.producer, sessions.files, said, Chunk(meeting, "u", 0), started_at=note.started_at)
        os.utime(sessions.files.path(sessions.files.session(meeting)), (seen, seen))

    abandon("done", tone(0.2))
    abandon("nothing")
    abandon("unsaid", unsaid=tone(0.3))
    abandon("live", tone(0.2), seen=time.time() + 3600)
    ended = {"done": "PROMOTED", "nothing": "PROMOTION_FAILED", "unsaid": "PROMOTED", "live": "ACTIVE"}

    def chunk(meeting):
        found, chunks, _ = sessions.rows(meeting)
        return found and chunks and chunks[0].transcode_status

    async def run():
        async with working(sessions.url, sessions.transcode(), QUICK, partition=RECORDINGS):
            expected = {"done": "DONE", "nothing": "FAILED", "unsaid": "FAILED", "live": "DONE"}
            await until(lambda: expected == {meeting: chunk(meeting) for meeting in ended})
            settings = {SWEEP_SECONDS.name: 1.2, RECORDINGS_DIR.name: sessions.files.directory}
            where = place_of("sweep", sessions.database, sessions.url, settings=settings)
            clocks = [ClockService("sweep", sweep(where), 3600) for _ in range(2)]
            sweeping = [asyncio.create_task(clock.run()) for clock in clocks]
            async with working(sessions.url, sessions.promote(), QUICK, partition=RECORDINGS):
                await until(lambda: ended == {each: sessions.status(each) for each in ended}, 60)
            for clock in clocks:
                clock.stop()
            await asyncio.gather(*sweeping)
            assert [[], []] == [clock.problems() for clock in clocks]

    asyncio.run(run())

    assert 1 == len(facts(sessions.redis, "chunk.expired"))
    assert 3 == len(facts(sessions.redis, "meeting.stopped"))
    assert [1] == [len(one.missing_chunk_ids) for one in sessions.rows("unsaid")[2]]
    assert ["DONE"] == [one.transcode_status for one in sessions.rows("live")[1]]
    assert {"live", "unsaid"} == {path.parent.name for path in sessions.files.directory.glob("pcm/*/*.json")}


def put_behind(redis):
    redis.xadd(RECORDINGS.key, {"ce_type": "transcode.finished"})


def set_back(redis):
    redis.delete(RECORDINGS.key)


def refill(redis):
    redis.hset(f"{RECORDINGS.key}:restarts", "1", "0-0 0-0 0")


def replay(redis):
    redis.hset(f"{RECORDINGS.key}:replays", "run", "jobs,recordings")


def park(redis):
    redis.hset(f"{RECORDINGS.key}:parked-subjects:recordings", "meeting/m", "1")


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (put_behind, "the projection recordings is behind"),
        (set_back, "does not go on where the projection recordings is"),
        (refill, "has not read from the log"),
        (replay, "a replay into the projection recordings has not ended"),
        (park, "has parked events of it"),
    ],
)
def test_the_sweep_leaves_alone_what_the_tables_may_not_show(sessions, happens, said):
    sessions.abandon()
    sessions.projection.stop()
    happens(sessions.redis)
    before = sessions.redis.xlen(RECORDINGS.key)
    swept, left = sessions.sweep(patience=0)

    assert [] == swept
    assert ["m"] == [one.meeting_id for one in left]
    assert said in left[0].reason
    assert sessions.files.path(sessions.files.pcm(Chunk("m", "u", 0))).exists()
    assert before == sessions.redis.xlen(RECORDINGS.key)


def test_the_sweep_removes_no_mp3_that_no_event_mentions(sessions):
    sessions.abandon()
    mp3 = sessions.files.mp3(Chunk("m", "u", 0))
    sessions.files.write(mp3, b"audio")
    swept, left = sessions.sweep()

    assert ([("m", 0)], []) == ([(one.meeting_id, one.expired) for one in swept], left)
    assert sessions.files.path(mp3).exists()
    assert ["meeting.stopped"] == [type for type, _ in facts(sessions.redis)][2:]


def test_the_sweep_leaves_alone_what_the_transcoder_has_not_come_to(sessions):
    sessions.redis.xgroup_create(RECORDINGS.key, "transcode", "0", mkstream=True)
    sessions.abandon()
    before = sessions.sweep()
    sessions.redis.xgroup_setid(RECORDINGS.key, "transcode", "$")
    swept, left = sessions.sweep()

    assert ([], ["m"]) == (before[0], [one.meeting_id for one in before[1]])
    assert ([("m", 1)], []) == ([(one.meeting_id, one.expired) for one in swept], left)


def test_a_sweep_removes_no_audio_that_another_one_said_since_it_looked(sessions):
    sessions.redis.xgroup_create(RECORDINGS.key, "transcode", "0", mkstream=True)  # it has not come to the chunk
    sessions.abandon()
    with psycopg.connect(sessions.database) as connection:
        (meeting,) = overview(connection)
        before = msgspec.structs.replace(meeting, unfinished=0)  # as it was before the chunk was said
        append = sessions.producer.append_events
        sweep = Sweep(sessions.files, Progress(sessions.redis), append, older=timedelta(0))
        left = sweep._end(connection, before)  # noqa: SLF001  # the rest of a sweep that another one overtook

    assert "the worker transcode has not come to its chunks: see that it runs" == left
    assert sessions.files.path(sessions.files.pcm(Chunk("m", "u", 0))).exists()
    assert [] == facts(sessions.redis, "chunk.expired")


def test_a_session_that_its_recorder_ended_unheard_is_ended_as_it_said(sessions):
    sessions.abandon(b"abc")
    place = sessions.files.path(sessions.files.session("m"))
    note = msgspec.json.decode(place.read_bytes())
    place.write_bytes(msgspec.json.encode(note | {"stopped_at": "2026-01-31T12:00:00.000000Z", "user_ids": ["u"]}))
    os.utime(place, (0, 0))
    sessions.sweep()
    (stopped,) = [payload for _, payload in facts(sessions.redis, "meeting.stopped")]

    assert "2026-01-31T12:00:00.000000Z" == stopped["stopped_at"]
    assert [] == facts(sessions.redis, "chunk.expired")


def test_the_sweep_says_what_is_on_disk_alone(sessions):
    recorder = Recorder(sessions.producer, sessions.files.directory, SHORT)
    open_session(recorder, "m")
    os.utime(sessions.files.path(sessions.files.session("m")), (0, 0))
    sessions.files.write(sessions.files.pcm(Chunk("m", "u", 0)), tone(0.2))
    sessions.files.write(sessions.files.session("other"), b"{}")
    os.utime(sessions.files.path(sessions.files.session("other")), (0, 0))
    swept = [sessions.sweep(older=86400) for _ in range(2)]

    assert [([], []), ([], [])] == swept
    assert ["meeting.started", "chunk.flushed"] == [type for type, _ in facts(sessions.redis)]


@pytest.mark.parametrize("place", ["known", "on disk alone"])
def test_the_sweep_removes_no_audio_of_which_only_damaged_notes_speak(sessions, place):
    if place == "known":
        sessions.abandon(b"abc")
    unsaid = Chunk("m", "u", 1)
    sessions.files.write(sessions.files.pcm(unsaid), tone(0.2))
    sessions.files.write(sessions.files.session("m"), b"{")
    os.utime(sessions.files.path(sessions.files.session("m")), (0, 0))
    swept, left = sessions.sweep()

    assert ([], ["m"]) == (swept, [one.meeting_id for one in left])
    assert "session.json" in left[0].reason
    assert unsaid in list(sessions.files.chunks("pcm"))


def test_what_the_projection_sets_aside_holds_no_other_meeting_up(sessions):
    sessions.record(("u", tone(0.2), 0))
    broken = new_event("transcode.finished", subject="meeting/other", data={"meeting_id": "other"})
    sessions.redis.xadd(RECORDINGS.key, fields(broken))
    sessions.work("transcode", "promote", done=sessions.promoted)
