"""Sessions that are left in a hurry, ids of every type, and notes that went bad: each meeting keeps its audio."""

import asyncio
import os
import shutil
from contextlib import suppress
from uuid import UUID

import msgspec
import pytest

from playhead.streams.appending.producer import Producer
from playhead.streams.recordings.errors import AudioNotWritten, MeetingOver, SessionUnreadable
from playhead.streams.recordings.files import Chunk, InvalidId, RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import content, facts, offsets, tone
from tests.support.conditions import until

QUICK = RecorderSettings(flush_seconds=0.5)


@pytest.fixture
def redis_server(valkey):
    return valkey


@pytest.fixture
def recorder(producer, tmp_path):
    return Recorder(producer, tmp_path, QUICK)


@pytest.fixture
def files(tmp_path):
    return RecordingFiles(tmp_path)


class Bug(Exception):
    pass


def record(recorder, *writes, meeting_id="m", guild_id="g", again=False, leave=None, end=False):
    async def run():
        async with recorder.session(meeting_id, guild_id, "c", "hybrid", again=again) as session:
            for user_id, pcm, at in writes:
                session.write(user_id, pcm, at=at)
            if end:
                session.end()
            if leave is not None:
                raise leave

    asyncio.run(run())


@pytest.mark.parametrize("leave", [Bug(), KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()])
def test_a_session_that_is_left_by_an_exception_goes_on_in_the_next_process(producer, redis, files, tmp_path, leave):
    with pytest.raises(type(leave)):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.7), 0), leave=leave)
    before = [type for type, _ in facts(redis)]
    record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.3), 5))

    assert ["meeting.started", "chunk.flushed", "chunk.flushed"] == before
    assert tone(0.7) + tone(0.3) == content(files)
    assert {("u", 0): 0, ("u", 1): 0.5, ("u", 2): 5} == offsets(redis)
    assert ["u"] == facts(redis, "meeting.stopped")[0][1]["user_ids"]


def test_a_session_that_is_cancelled_again_while_it_closes_has_all_of_its_audio(producer, redis, files, tmp_path):
    async def run():
        entered = asyncio.Event()

        async def speak():
            async with Recorder(producer, tmp_path, QUICK).session("m", "g", "c") as session:
                session.write("u", tone(1.2), at=0)
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(speak())
        await entered.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())

    assert tone(1.2) == content(files)
    assert (3, []) == (len(facts(redis, "chunk.flushed")), facts(redis, "meeting.stopped"))


def test_a_session_that_is_ended_on_purpose_is_over_however_it_is_left(recorder, redis):
    with pytest.raises(Bug):
        record(recorder, ("u", tone(0.1), 0), leave=Bug(), end=True)
    with pytest.raises(MeetingOver):
        record(recorder)

    assert 1 == len(facts(redis, "meeting.stopped"))


def test_audio_that_is_given_again_after_an_exception_is_whole_whatever_a_chunk_is_now(
    producer, redis, files, tmp_path
):
    with pytest.raises(Bug):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.7), 0), again=True, leave=Bug())
    longer = RecorderSettings(flush_seconds=2.0)
    record(Recorder(producer, tmp_path, longer), ("u", tone(1.2), 0), again=True)

    assert tone(1.2) == content(files)
    assert {("u", 0): 0, ("u", 1): 0.5, ("u", 2): 1} == offsets(redis)


@pytest.mark.parametrize("id_", [250348923049283584, UUID(int=5), True, "caf\udce9", "a\0b", ""])
def test_ids_of_a_library_are_text_everywhere_and_the_next_session_opens(producer, redis, files, tmp_path, id_):
    record(Recorder(producer, tmp_path, QUICK), (id_, tone(0.1), 0), meeting_id=id_, guild_id=id_)
    record(Recorder(producer, tmp_path, QUICK), ("ann", tone(0.1), 0), meeting_id="afterwards")

    (_, started), _ = facts(redis, "meeting.started")
    ((_, chunk), _) = facts(redis, "chunk.flushed")
    assert {str} == {type(started["guild_id"]), type(started["meeting_id"]), type(chunk["user_id"])}
    assert started["guild_id"] == started["meeting_id"] == chunk["user_id"] == chunk["guild_id"]
    assert tone(0.1) == content(files, chunk["user_id"], started["meeting_id"])


def test_a_speaker_who_is_not_known_is_one_and_keeps_nobody_from_being_recorded(recorder, redis, files):
    record(recorder, (None, tone(0.7), 0), ("bob", tone(1.2), 0), (None, tone(0.1), 2), guild_id=None)

    assert (tone(0.8)[: len(tone(0.7))] + tone(0.1), tone(1.2)) == (content(files, "unknown"), content(files, "bob"))
    assert ["bob", "unknown"] == facts(redis, "meeting.stopped")[0][1]["user_ids"]


def test_a_meeting_without_an_id_is_refused(recorder):
    with pytest.raises(InvalidId, match="a meeting needs an id"):
        record(recorder, meeting_id=None)


def test_a_speaker_whose_directory_takes_nothing_takes_no_others_audio(recorder, redis, files, tmp_path):
    async def run():
        async with recorder.session("m", "g", "c") as session:
            (tmp_path / "pcm" / "m" / "ann").touch()
            for n in range(40):
                with suppress(AudioNotWritten):  # of ann, once enough of hers waits
                    session.write("ann", tone(0.5), at=n * 0.5)
                session.write("bob", tone(0.5), at=n * 0.5)
                await until(lambda n=n: len(list(files.chunks("pcm", "m"))) > n)

    with pytest.raises(AudioNotWritten, match=r"chunks are lost: .*pcm/m/ann"):
        asyncio.run(run())

    assert tone(0.5) * 40 == content(files, "bob")
    assert {("bob", n) for n in range(40)} == offsets(redis).keys()
    assert ["ann", "bob"] == facts(redis, "meeting.stopped")[0][1]["user_ids"]


def test_a_directory_that_takes_audio_again_gets_what_waited(recorder, redis, files, tmp_path):
    async def run():
        async with recorder.session("m", "g", "c") as session:
            (tmp_path / "pcm" / "m" / "ann").touch()
            session.write("ann", tone(1.0), at=0)
            session.write("bob", tone(1.0), at=0)
            await until(lambda: content(files, "bob") == tone(1.0))
            (tmp_path / "pcm" / "m" / "ann").unlink()

    asyncio.run(run())

    assert tone(1.0) == content(files, "ann")


def spoil_with(content):
    return lambda path, note: path.write_bytes(content(note) if callable(content) else content)


def replace(path, make):
    path.unlink()
    make(path)


def noted(**members):
    return spoil_with(lambda note: msgspec.json.encode(msgspec.json.decode(note) | members))


SPOILED = {
    "empty": spoil_with(b""),
    "truncated": spoil_with(lambda note: note[:40]),
    "no object": spoil_with(b"[]"),
    "no members": spoil_with(b"{}"),
    "null": spoil_with(b"null"),
    "not UTF-8": spoil_with(b'{"meeting_id": "\xff\xfe"}'),
    "UTF-16": spoil_with(lambda note: note.decode().encode("utf-16")),
    "nested": spoil_with(b"[" * 100_000),
    "zeros": spoil_with(bytes(4096)),
    "a number for a list": noted(user_ids=5),
    "a rate of text": noted(rate="48k"),
    "a rate of 0": noted(rate=0),
    "no strategy": noted(strategy="all"),
    "no time": noted(started_at="yesterday"),
    "another end": noted(stopped_at="9999-99-99"),
    "another meeting": noted(meeting_id="good"),
    "a list for an id": noted(guild_id=["g"]),
    "a directory": lambda path, _: replace(path, os.mkdir),
    "a FIFO": lambda path, _: replace(path, os.mkfifo),
    "a link to itself": lambda path, _: replace(path, lambda p: p.symlink_to(p)),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_notes_that_went_bad_keep_no_other_meeting_from_being_recorded(producer, redis, files, tmp_path, spoil):
    with pytest.raises(Bug):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.1), 0), meeting_id="bad", leave=Bug())
    place = files.directory / files.session("bad")
    spoil(place, place.read_bytes())
    record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.2), 0), meeting_id="good")
    with pytest.raises((SessionUnreadable, OSError), match=r"session\.json"):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.2), 1), meeting_id="bad")

    assert (tone(0.1), tone(0.2)) == (content(files, meeting="bad"), content(files, meeting="good"))
    assert ["good"] == [stopped["meeting_id"] for _, stopped in facts(redis, "meeting.stopped")]
    assert 1 == Recorder(producer, tmp_path).adopt()


def test_notes_that_may_not_be_read_keep_no_other_meeting_from_being_recorded(
    producer, redis, files, tmp_path, monkeypatch
):
    with pytest.raises(Bug):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.1), 0), meeting_id="bad", leave=Bug())
    open_file, denied = os.open, files.directory / files.session("bad")

    def open_others(path, *arguments, **named):
        if path == denied:  # root may read whatever its mode
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **named)

    monkeypatch.setattr(os, "open", open_others)
    record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.2), 0), meeting_id="good")
    with pytest.raises(SessionUnreadable, match="Permission denied"):
        record(Recorder(producer, tmp_path, QUICK), meeting_id="bad")

    assert tone(0.2) == content(files, meeting="good")


def test_notes_with_numbers_for_ids_are_read_as_text(producer, redis, files, tmp_path):
    with pytest.raises(Bug):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.1), 0), guild_id=5, leave=Bug())
    place = files.path(files.session("m"))
    noted(guild_id=250348923049283584, channel_id=None)(place, place.read_bytes())
    record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.2), 1))

    assert tone(0.1) + tone(0.2) == content(files)
    assert {"5", "250348923049283584"} == {chunk["guild_id"] for _, chunk in facts(redis, "chunk.flushed")}


def test_a_recorder_that_starts_without_redis_writes_audio_and_says_it_later(producer, redis, files, tmp_path):
    with Producer("redis://127.0.0.1:1") as away:
        absent = Recorder(away, tmp_path, QUICK)
        with pytest.raises(Bug):
            record(absent, ("u", tone(0.7), 0), leave=Bug())
    record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.1), 2))

    assert tone(0.7) + tone(0.1) == content(files)
    assert {("u", 0): 0, ("u", 1): 0.5, ("u", 2): 2} == offsets(redis)


def test_a_chunk_goes_on_behind_those_that_are_transcoded(producer, redis, files, tmp_path):
    with pytest.raises(Bug):
        record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.7), 0), leave=Bug())
    for chunk in list(files.chunks("pcm")):
        files.path(files.mp3(chunk)).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(files.path(files.pcm(chunk)), files.path(files.mp3(chunk)))
    record(Recorder(producer, tmp_path, QUICK), ("u", tone(0.1), 2))

    assert [Chunk("m", "u", 2)] == list(files.chunks("pcm"))
