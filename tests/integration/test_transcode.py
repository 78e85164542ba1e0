"""The worker `transcode` with a real ffmpeg: no crash loses audio, no bad input stops the others."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.recordings.errors import FfmpegMissing, InvalidAudio
from playhead.consumers.recordings.ffmpeg import Children, Ffmpeg, Pcm, find_ffmpeg
from playhead.consumers.recordings.mp3 import read_mp3
from playhead.consumers.recordings.transcode import Transcode
from playhead.consumers.work.worker import WorkerSettings
from playhead.streams.recordings.files import Chunk, RecordingFiles
from tests.support.audio import RECORDINGS, decoded, facts, flush, samples, sha256, tone
from tests.support.conditions import until
from tests.support.processes import Playhead
from tests.support.workers import working

QUICK = WorkerSettings(concurrency=2, hold=1.0, max_attempts=3, first_delay=0.01, grace=5)


@pytest.fixture
def redis_server(valkey):
    return valkey


@pytest.fixture
def files(tmp_path):
    return RecordingFiles(tmp_path / "recordings")


def transcode(files, seconds=60, program=None):
    return Transcode(files, Ffmpeg(program or find_ffmpeg(None), seconds))


async def work(valkey, handler, done, settings=QUICK):
    async with working(valkey.url, handler, settings, partition=RECORDINGS):
        await until(done)


def steps(redis):
    return Counter(type for type, _ in facts(redis))


def parked(redis):
    return list(ParkedEvents(redis, "transcode", RECORDINGS))


def test_a_chunk_becomes_an_mp3_of_its_exact_length_and_its_pcm_goes(valkey, redis, producer, files):
    chunk, pcm = Chunk("m", "u", 0), tone(1.234)
    flush(producer, files, pcm, chunk)
    asyncio.run(work(valkey, transcode(files), lambda: steps(redis)["chunk.cleaned"]))

    (finished,) = [payload for _, payload in facts(redis, "transcode.finished")]
    path = files.path(files.mp3(chunk))
    assert ["chunk.flushed", "transcode.started", "transcode.finished", "chunk.cleaned"] == [t for t, _ in facts(redis)]
    assert (files.mp3(chunk), sha256(path)) == (finished["mp3_path"], finished["sha256"])
    assert (59232, 1234) == (finished["samples"], finished["duration_ms"])
    assert not files.path(files.pcm(chunk)).exists()
    assert np.corrcoef(samples(pcm), decoded(path))[0, 1] > 0.99


@pytest.mark.parametrize(
    ("pcm", "members", "reason"),
    [
        (b"", {}, "it is empty"),
        (b"abc", {}, "3 bytes are no whole frames of 4 bytes"),
        (tone(0.1), {"rate": 12345}, "MP3 has no 12345 Hz with 2 channels"),
        (tone(0.1), {"channels": 6}, "MP3 has no 48000 Hz with 6 channels"),
        (None, {}, "the PCM is not there"),
        (None, {"pcm_path": "../../etc/passwd"}, "data.pcm_path: is not pcm/m/u/00000000.pcm"),
    ],
)
def test_bad_audio_is_a_failed_event_and_loses_nothing(valkey, redis, producer, files, pcm, members, reason):
    flush(producer, files, pcm, Chunk("m", "u", 0), **members)
    flush(producer, files, tone(0.1), Chunk("m", "u", 1))
    asyncio.run(work(valkey, transcode(files), lambda: steps(redis)["chunk.cleaned"] and parked(redis)))

    (failed,) = [payload for _, payload in facts(redis, "transcode.failed")]
    assert failed["error"].endswith(reason)
    assert "refused" == parked(redis)[0].reason_class
    assert (pcm is not None) == files.path(files.pcm(Chunk("m", "u", 0))).exists()
    assert 1 == steps(redis)["transcode.finished"]


def test_a_meeting_named_like_a_path_stays_in_its_directory(valkey, redis, producer, files):
    chunk = Chunk("../../etc", "../..", 0)
    flush(producer, files, tone(0.1), chunk)
    asyncio.run(work(valkey, transcode(files), lambda: steps(redis)["chunk.cleaned"]))

    assert [chunk] == list(files.chunks("mp3"))
    assert [files.directory] == list(files.directory.parent.iterdir())


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_ffmpeg_that_fails_is_tried_again_and_then_named_with_what_it_said(valkey, redis, producer, files, tmp_path):
    flush(producer, files, tone(0.1), Chunk("m", "u", 0))
    broken = program(tmp_path / "ffmpeg", "echo no space left >&2; exit 1")
    asyncio.run(work(valkey, transcode(files, program=broken), lambda: parked(redis)))

    (failed,) = [payload for _, payload in facts(redis, "transcode.failed")]
    assert [1, 2, 3] == [payload["attempt"] for _, payload in facts(redis, "transcode.started")]
    assert (3, "no space left") == (failed["attempt"], failed["stderr"])
    assert [] == list(files.path("mp3").rglob("*.*"))

    parked_event = parked(redis)[0]
    ParkedEvents(redis, "transcode", RECORDINGS).request_retry(parked_event)
    asyncio.run(work(valkey, transcode(files), lambda: steps(redis)["chunk.cleaned"]))
    assert 1 == steps(redis)["transcode.finished"]


def test_an_ffmpeg_that_takes_too_long_is_killed(valkey, redis, producer, files, tmp_path):
    flush(producer, files, tone(0.1), Chunk("m", "u", 0))
    slow = program(tmp_path / "ffmpeg", "exec sleep 1000")
    asyncio.run(work(valkey, transcode(files, 0.05, slow), lambda: parked(redis)))

    assert "took longer than 0.05 seconds" in facts(redis, "transcode.failed")[0][1]["error"]
    assert not {"ffmpeg", "sleep"} & {child.name() for child in psutil.Process().children(recursive=True)}


def test_without_ffmpeg_it_is_said_how_to_get_one(tmp_path):
    with pytest.raises(FfmpegMissing, match="pip install imageio-ffmpeg"):
        find_ffmpeg(tmp_path / "none")


def test_an_event_appended_again_after_all_is_done_makes_nothing_anew(valkey, redis, producer, files):
    flush(producer, files, tone(0.1), Chunk("m", "u", 0))
    asyncio.run(work(valkey, transcode(files), lambda: steps(redis)["chunk.cleaned"]))
    before = files.path(files.mp3(Chunk("m", "u", 0))).stat()
    redis.flushall()
    flush(producer, files, None, Chunk("m", "u", 0))
    asyncio.run(work(valkey, transcode(files), lambda: steps(redis)["chunk.cleaned"]))

    assert 0 == steps(redis)["transcode.started"]
    assert before == files.path(files.mp3(Chunk("m", "u", 0))).stat()


@pytest.mark.parametrize("made", ["recording", "attempt"])
def test_a_chunk_that_comes_after_its_meeting_was_promoted_is_transcoded(valkey, redis, producer, files, made):
    late, gone = Chunk("m", "u", 0), Chunk("m", "u", 1)
    place = files.recording("m", None, "r" * 16)
    if made == "recording":
        files.write(place, b"recording")
    else:
        files.path(place).parent.mkdir(parents=True)
    flush(producer, files, None, gone)
    flush(producer, files, tone(0.1), late)

    def until_idle():
        return steps(redis)["chunk.cleaned"] and not redis.xpending(RECORDINGS.key, "transcode")["pending"]

    asyncio.run(work(valkey, transcode(files), until_idle))

    assert [late] == list(files.chunks("mp3"))
    assert (made == "attempt") == bool(parked(redis))


def test_a_cut_mp3_is_not_taken_for_a_whole_one(files, tmp_path):
    path = tmp_path / "whole.mp3"
    with files.new("whole.mp3") as temporary:
        pcm = tone(0.5, form=Pcm(16000, 1))
        Ffmpeg(find_ffmpeg(None), 60).encode([[pcm]], Pcm(16000, 1), {temporary: [0]}, Children())
    content = files.path("whole.mp3").read_bytes()

    assert (16000, 1, 8000) == (read_mp3(content).rate, read_mp3(content).channels, read_mp3(content).samples)
    for broken in (b"", content[:-1], content[1:], b"RIFF" + content):
        with pytest.raises(InvalidAudio):
            read_mp3(broken, str(path))


def test_status_knows_a_worker(valkey, redis, producer, tmp_path, wait_until):

    files = RecordingFiles(tmp_path / "data" / "recordings")
    flush(producer, files, tone(0.1), Chunk("m", "u", 0))
    playhead = Playhead(tmp_path / "data", valkey.url)

    def look():
        found = json.loads(playhead.attempt("status", "--json").stdout)["consumers"]
        return next(one for one in found if one["name"] == "transcode")

    before = look()
    with playhead.running("transcode"):
        wait_until(lambda: steps(redis)["chunk.cleaned"] == 1)
        during = look()

    assert ("worker", "stopped", 1) == (before["kind"], before["state"], before["lag_events"])
    assert ("running", 0) == (during["state"], during["parked"])
