"""The recording client: audio is on disk at its true time before anything is said of it, and stays there."""

import asyncio
import json
import subprocess
import sys

import pytest

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting, RedisUnavailable
from playhead.streams.recordings.errors import AudioNotWritten, InvalidPcm, MeetingOver
from playhead.streams.recordings.files import Chunk, InvalidId, RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import content, facts, offsets, open_session, tone
from tests.support.conditions import until

QUICK = RecorderSettings(flush_seconds=0.5)


@pytest.fixture
def redis_server(valkey):
    return valkey


@pytest.fixture
def recorder(valkey, redis, tmp_path):
    with Producer(valkey.url) as producer:
        yield Recorder(producer, tmp_path, QUICK)


@pytest.fixture
def files(tmp_path):
    return RecordingFiles(tmp_path)


def record(recorder, *writes, meeting_id="m", again=False):
    async def run():
        async with recorder.session(meeting_id, "g", "c", "hybrid", again=again) as session:
            for user_id, pcm, at in writes:
                session.write(user_id, pcm, at=at)

    asyncio.run(run())


def test_audio_is_cut_into_chunks_that_follow_one_another_to_the_sample(recorder, redis, files):
    pcm = tone(1.2)
    record(recorder, ("u", pcm[:80_000], 0), ("u", pcm[80_000:], 80_000 / 4 / 48000), ("v", tone(0.3), 2))

    assert pcm == content(files)
    assert {("u", 0): 0, ("u", 1): 0.5, ("u", 2): 1, ("v", 0): 2} == offsets(redis)
    assert ["meeting.started", "meeting.stopped"] == [facts(redis)[0][0], facts(redis)[-1][0]]
    assert ["u", "v"] == facts(redis)[-1][1]["user_ids"]
    assert {16} == {len(chunk["temp_recording_id"]) for _, chunk in facts(redis, "chunk.flushed")}


def test_silence_between_words_is_kept_and_longer_silence_costs_nothing(recorder, redis, files):
    record(recorder, ("u", tone(0.1), 0), ("u", tone(0.1), 0.3), ("u", tone(0.1), 3600))

    assert tone(0.1) + bytes(9600 * 4) + tone(0.1) + tone(0.1) == content(files)
    assert {("u", 0): 0, ("u", 1): 3600} == offsets(redis)


def test_live_audio_stands_where_it_comes_and_is_flushed_without_more_of_it(recorder, redis, files, wait_until):
    async def run():
        async with recorder.session("m", "g", "c") as session:
            session.write("u", tone(0.1))
            session.write("u", tone(0.1))
            await until(lambda: facts(redis, "chunk.flushed"))
            session.write("u", tone(0.1))

    asyncio.run(run())

    found = offsets(redis)
    assert tone(0.1) + tone(0.1) == files.path(files.pcm(Chunk("m", "u", 0))).read_bytes()
    assert found["u", 1] - found["u", 0] >= QUICK.flush_seconds


def test_chunks_that_are_known_are_adopted_without_a_second_event(recorder, redis):
    record(recorder, ("u", tone(1.2), 0), ("v", tone(0.7), 0.1))
    before = facts(redis)

    assert 5 == recorder.adopt()
    assert before == facts(redis)


def test_a_session_that_ended_does_not_begin_again(recorder, redis):
    record(recorder, ("u", tone(0.1), 0))

    with pytest.raises(MeetingOver, match="with a new meeting_id"):
        record(recorder, ("u", tone(0.1), 0))


@pytest.mark.parametrize(
    ("writes", "error", "said"),
    [
        ([("u", b"abc", 0)], InvalidPcm, "3 bytes are no whole frames of 4 bytes"),
        ([("u", tone(1), 0), ("u", tone(1), 0.5)], InvalidPcm, "lies before the end"),
        ([("u" * 201, tone(0.1), 0)], InvalidId, "too long"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_the_rest_kept(recorder, redis, writes, error, said):
    with pytest.raises(error, match=said):
        record(recorder, ("other", tone(0.1), 0), *writes)

    record(recorder, ("other", tone(0.1), 3))

    assert {("other", 0), ("other", 1)} <= offsets(redis).keys()
    assert 1 == len(facts(redis, "meeting.stopped"))


def test_a_meeting_goes_on_in_the_form_in_which_it_began(redis, valkey, tmp_path):
    with Producer(valkey.url) as producer:
        open_session(Recorder(producer, tmp_path), "m")
        other = Recorder(producer, tmp_path, RecorderSettings(rate=16000))
        with pytest.raises(InvalidSetting, match="48000 Hz"):
            record(other)


def test_no_id_leads_out_of_the_directory(recorder, redis, files, tmp_path):
    record(recorder, ("../..", tone(0.1), 0), ("", tone(0.1), 0), meeting_id="../../etc")

    assert [tmp_path / "pcm"] == list(tmp_path.iterdir())
    assert {("../../etc", ""), ("../../etc", "../..")} == {
        (chunk.meeting_id, chunk.user_id) for chunk in files.chunks("pcm")
    }


def test_without_redis_audio_is_kept_and_adopted_later(valkey, redis, tmp_path, files):
    with Producer("redis://127.0.0.1:1") as away:
        absent = Recorder(away, tmp_path, QUICK)
        absent._adopted = True  # noqa: SLF001  # it started while Redis was there
        with pytest.raises(RedisUnavailable):
            record(absent, ("u", tone(1.2), 0))
    before = facts(redis)
    with Producer(valkey.url) as producer:
        assert 3 == Recorder(producer, tmp_path, QUICK).adopt()

    assert [] == before
    assert tone(1.2) == content(files)
    assert {("u", 0): 0, ("u", 1): 0.5, ("u", 2): 1} == offsets(redis)
    assert "meeting.stopped" == facts(redis)[-1][0]


def test_what_there_was_no_room_to_remember_while_redis_was_away_is_said_at_the_end(
    recorder, redis, files, monkeypatch
):
    monkeypatch.setattr("playhead.streams.recordings.chunk_writer._UNSAID", 2)
    append, is_away = Producer.append_events, True

    def append_events(producer, events):
        if is_away and any(event.type == "chunk.flushed" for event in events):
            raise RedisUnavailable("away")
        return append(producer, events)

    monkeypatch.setattr(Producer, "append_events", append_events)

    async def run():
        nonlocal is_away
        async with recorder.session("m", "g", "c") as session:
            session.write("u", tone(2), at=0)
            await until(lambda: 4 == len(list(files.chunks("pcm"))))
            is_away = False

    asyncio.run(run())

    assert {("u", 0): 0, ("u", 1): 0.5, ("u", 2): 1, ("u", 3): 1.5} == offsets(redis)
    assert "meeting.stopped" == facts(redis)[-1][0]
    assert 6 == len(facts(redis))


def test_a_directory_that_takes_nothing_is_named(recorder, redis, tmp_path):
    async def run():
        async with recorder.session("m", "g", "c") as session:
            (tmp_path / "pcm" / "m" / "u").touch()
            session.write("u", tone(0.1), at=0)

    with pytest.raises(AudioNotWritten, match=r"1 chunks are lost: .*pcm/m/u"):
        asyncio.run(run())


CHILD = """
import asyncio, sys
from playhead.streams.appending.producer import Producer
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import tone

async def main():
    with Producer(sys.argv[1]) as producer:
        recorder = Recorder(producer, sys.argv[2], RecorderSettings(flush_seconds=0.05))
        async with recorder.session("m", "g", "c", again=True) as session:
            for n in range(100):
                session.write("u", tone(0.02, start=n * 0.02), at=n * 0.02)
                await asyncio.sleep(0.005)
asyncio.run(main())
"""


def test_a_recorder_killed_again_and_again_ends_with_what_an_undisturbed_one_has(
    valkey, redis, tmp_path, files, wait_until
):
    def start():
        return subprocess.Popen([sys.executable, "-c", CHILD, valkey.url, str(tmp_path)], stderr=subprocess.PIPE)

    for wanted in (3, 12, 25):
        child = start()
        wait_until(lambda wanted=wanted: len(facts(redis, "chunk.flushed")) >= wanted)
        child.kill()
        child.communicate()
    last = start()
    _, said = last.communicate()

    assert 0 == last.returncode, said
    assert content(files) == b"".join(tone(0.02, start=n * 0.02) for n in range(100))
    assert list(range(40)) == [chunk["sequence"] for _, chunk in facts(redis, "chunk.flushed")]
    assert json.loads(files.path(files.session("m")).read_bytes())["stopped_at"]
