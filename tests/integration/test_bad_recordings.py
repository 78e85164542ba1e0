"""What recorders and workers of recordings meet on bad disks: it is said, nothing is lost, and others go on."""

import asyncio
import shutil

import pytest

from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.recordings.ffmpeg import Ffmpeg, find_ffmpeg
from playhead.consumers.recordings.transcode import Transcode
from playhead.consumers.work.worker import WorkerSettings
from playhead.streams.recordings.errors import AudioNotWritten
from playhead.streams.recordings.files import Chunk, RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import RECORDINGS, facts, flush, sha256, tone
from tests.support.conditions import until
from tests.support.disks import small_disk
from tests.support.workers import working

PATIENT = WorkerSettings(concurrency=2, hold=1.0, max_attempts=1000, first_delay=0.01, longest_delay=0.05, grace=5)
IMPATIENT = WorkerSettings(concurrency=2, hold=1.0, max_attempts=2, first_delay=0.01, grace=5)


@pytest.fixture
def redis_server(valkey):
    return valkey


@pytest.fixture
def small(tmp_path):
    """A directory on a disk of a megabyte."""
    with small_disk(tmp_path / "disk", 1):
        yield tmp_path / "disk"


def fill(disk):
    """Take all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                if not file.write(bytes(4096)):
                    return filler
            except OSError:
                return filler


def parked(redis):
    return list(ParkedEvents(redis, "transcode", RECORDINGS))


def transcode(files, program=None):
    return Transcode(files, Ffmpeg(program or find_ffmpeg(None), 60))


def test_a_recorder_on_a_full_disk_keeps_what_it_took_and_writes_it_when_there_is_room(producer, redis, small):
    files = RecordingFiles(small)
    taken = 0

    async def speak(session):
        nonlocal taken
        while True:
            session.write("u", tone(0.05, start=taken * 0.05), at=taken * 0.05)
            taken += 1
            await asyncio.sleep(0)

    async def run():
        recorder = Recorder(producer, small, RecorderSettings(flush_seconds=0.05))
        async with recorder.session("m", "g", "c") as session:
            filler = fill(small)
            with pytest.raises(AudioNotWritten, match="No space left"):
                await speak(session)
            assert [] == facts(redis, "chunk.flushed")
            filler.unlink()
            await until(lambda: len(facts(redis, "chunk.flushed")) == taken)

    asyncio.run(run())

    assert taken >= 32
    assert b"".join(tone(0.05, start=n * 0.05) for n in range(taken)) == b"".join(
        files.path(files.pcm(chunk)).read_bytes() for chunk in files.chunks("pcm")
    )


def test_a_transcoder_on_a_full_disk_goes_on_when_there_is_room(valkey, producer, redis, small):
    files = RecordingFiles(small)
    flush(producer, files, tone(1.0), Chunk("m", "u", 0))
    filler = fill(small)

    async def run():
        async with working(valkey.url, transcode(files), PATIENT, partition=RECORDINGS):
            await until(lambda: len(facts(redis, "transcode.started")) > 2)
            assert files.path(files.pcm(Chunk("m", "u", 0))).exists()
            filler.unlink()
            await until(lambda: facts(redis, "chunk.cleaned"))

    asyncio.run(run())

    ((_, finished),) = facts(redis, "transcode.finished")
    assert (1000, sha256(files.path(finished["mp3_path"]))) == (finished["duration_ms"], finished["sha256"])
    assert [] == parked(redis) == list(files.directory.glob("mp3/**/.*"))


@pytest.mark.parametrize("place", ["directory", "link", "link above"])
def test_a_path_that_cannot_be_read_fails_by_itself(valkey, producer, redis, tmp_path, place):
    files = RecordingFiles(tmp_path / "recordings")
    bad, good = Chunk("bad", "u", 0), Chunk("good", "u", 0)
    path = files.path(files.pcm(bad))
    flush(producer, files, tone(0.1), bad)
    flush(producer, files, tone(0.1), good)
    elsewhere = tmp_path / "elsewhere"
    if place == "link above":
        shutil.move(path.parent, elsewhere)
        path.parent.symlink_to(elsewhere)
    else:
        shutil.move(path, elsewhere)
        path.mkdir() if place == "directory" else path.symlink_to(elsewhere)

    async def run():
        async with working(valkey.url, transcode(files), IMPATIENT, partition=RECORDINGS):
            await until(lambda: parked(redis) and facts(redis, "chunk.cleaned"))

    asyncio.run(run())

    ((_, failed),) = facts(redis, "transcode.failed")
    assert ("bad", True) == (failed["meeting_id"], elsewhere.exists())
    assert ["meeting/bad"] == [one.subject for one in parked(redis)]
    assert [good] == list(files.chunks("mp3"))


def test_a_disk_that_is_not_mounted_fails_no_chunk(valkey, producer, redis, tmp_path, monkeypatch):
    monkeypatch.setattr("playhead.consumers.recordings.errors._MOUNTED_SECONDS", 0.01)
    files = RecordingFiles(tmp_path / "recordings")
    flush(producer, files, tone(0.1), Chunk("m", "u", 0))
    shutil.move(files.directory, tmp_path / "disk")
    files.directory.mkdir()
    handler, tries = transcode(files), []
    handle = handler.handle

    async def counted(task):
        tries.append(task.attempt)
        return await handle(task)

    handler.handle = counted

    async def run():
        async with working(valkey.url, handler, IMPATIENT, partition=RECORDINGS):
            await until(lambda: len(tries) > 2 * IMPATIENT.max_attempts)
            files.directory.rmdir()
            shutil.move(tmp_path / "disk", files.directory)
            await until(lambda: facts(redis, "chunk.cleaned"))

    asyncio.run(run())

    assert [] == parked(redis) == facts(redis, "transcode.failed")
    assert 1 == len(facts(redis, "transcode.started"))


def test_an_ffmpeg_that_goes_missing_is_named_and_the_chunk_done_once_it_is_back(valkey, producer, redis, tmp_path):
    files = RecordingFiles(tmp_path / "recordings")
    flush(producer, files, tone(0.1), Chunk("m", "u", 0))

    async def run():
        async with working(valkey.url, transcode(files, tmp_path / "gone"), IMPATIENT, partition=RECORDINGS):
            await until(lambda: parked(redis))
        ((_, failed),) = facts(redis, "transcode.failed")
        assert "PLAYHEAD_FFMPEG" in failed["error"]
        ParkedEvents(redis, "transcode", RECORDINGS).request_retry(parked(redis)[0])
        async with working(valkey.url, transcode(files), IMPATIENT, partition=RECORDINGS):
            await until(lambda: facts(redis, "chunk.cleaned"))

    asyncio.run(run())

    assert [] == list(files.chunks("pcm"))


def test_an_mp3_that_went_bad_is_made_again_while_the_pcm_is_there(valkey, producer, redis, tmp_path):
    files = RecordingFiles(tmp_path / "recordings")
    chunk = Chunk("m", "u", 0)
    flush(producer, files, tone(0.5), chunk)
    files.write(files.mp3(chunk), b"no MP3")

    async def run():
        async with working(valkey.url, transcode(files), IMPATIENT, partition=RECORDINGS):
            await until(lambda: facts(redis, "chunk.cleaned"))

    asyncio.run(run())

    ((_, finished),) = facts(redis, "transcode.finished")
    assert (500, sha256(files.path(files.mp3(chunk)))) == (finished["duration_ms"], finished["sha256"])
