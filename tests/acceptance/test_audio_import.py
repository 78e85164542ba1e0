"""`playhead recordings import` as people type it: what is said to be imported is, whatever came between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import msgspec
import pytest

from playhead.consumers.recordings.ffmpeg import Pcm, encoding, find_ffmpeg
from playhead.embedded.servers import embedded_servers
from playhead.streams.appending.producer import Producer
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import content, facts, tone
from tests.support.processes import Playhead
from tests.support.servers import plain_client

FORM = Pcm(8000, 1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("servers"), postgres=False) as servers:
        yield servers


@pytest.fixture
def redis(servers):
    with plain_client(servers.redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def playhead(servers, redis, tmp_path):
    return Playhead(tmp_path / "data", servers.redis_url, PLAYHEAD_FLUSH_SECONDS="0.5")


@pytest.fixture
def files(tmp_path):
    return RecordingFiles(tmp_path / "data" / "recordings")


def write_wav(path, seconds, hertz=440, form=FORM):
    with wave.open(os.fsencode(path).decode("utf-8", "surrogateescape"), "wb") as file:
        file.setnchannels(form.channels)
        file.setsampwidth(2)
        file.setframerate(form.rate)
        file.writeframes(tone(seconds, hertz, form))
    return str(path)


def imported(playhead, *arguments):
    return json.loads(playhead("recordings", "import", *arguments, "--json").stdout)


def test_ctrl_c_leaves_an_import_open_and_the_next_one_makes_it_whole(playhead, redis, files, tmp_path, wait_until):
    path = write_wav(tmp_path / "ann.wav", 12)
    command = [sys.executable, "-m", "playhead", "recordings", "import", path, "--meeting", "m", "--real-time"]
    terminal = subprocess.Popen(
        command, env=playhead.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    wait_until(lambda: len(facts(redis, "chunk.flushed")) > 4)
    os.killpg(terminal.pid, signal.SIGINT)  # as a terminal does: to every process that it shows
    said, complaint = terminal.communicate(timeout=60)
    note = msgspec.json.decode(files.path(files.session("m")).read_bytes())
    playhead.environment["PLAYHEAD_FLUSH_SECONDS"] = "3"
    result = imported(playhead, path, "--meeting", "m")

    assert (130, b"") == (terminal.returncode, said)
    assert b"m is not imported yet; continue with: playhead recordings import" in complaint
    assert b"--meeting m" in complaint
    assert note["stopped_at"] is None
    assert {"meeting_id": "m", "user_ids": ["ann"], "seconds": 12.0} == result
    assert tone(12, form=FORM) == content(files, "ann")
    assert 1 == len(facts(redis, "meeting.stopped"))


@pytest.mark.parametrize("is_promoted", [False, True])
def test_a_meeting_that_ended_before_all_of_it_was_imported_is_not_called_imported(
    playhead, servers, redis, files, tmp_path, is_promoted
):
    short, whole = write_wav(tmp_path / "ann.wav", 4), write_wav(tmp_path / "whole.wav", 12)
    imported(playhead, short, "--meeting", "m")
    if is_promoted:
        mp3 = tmp_path / "x.mp3"
        subprocess.run([find_ffmpeg(None), "-v", "error", "-i", short, *encoding(FORM), mp3], check=True)
        files.write(files.recording("m", None, "x"), mp3.read_bytes())
        files.remove_chunks("m")
    again = playhead.attempt("recordings", "import", short, "--meeting", "m")
    Path(whole).replace(short)
    more = playhead.attempt("recordings", "import", short, "--meeting", "m")

    assert (0, True) == (again.returncode, b"m is imported already" in again.stderr)
    assert (1, b"") == (more.returncode, more.stdout)
    assert b"m is over with 4.0 of 12.0 seconds" in more.stderr


def test_names_that_are_not_utf_8_become_user_ids_and_hold_nobody_up(playhead, redis, files, tmp_path):
    names = [os.fsdecode(b"caf\xe9.wav"), "two\nlines.wav", "-rf.wav", "bob.wav", "%41.wav", "\u202eevil.wav"]
    paths = [write_wav(tmp_path / name, 0.5) for name in names]
    result = imported(playhead, *paths, "--meeting", "odd")

    assert 0.5 == result["seconds"]
    assert {"caf\\xe9", "two\nlines", "-rf", "bob", "%41", "\u202eevil"} == set(result["user_ids"])
    assert set(result["user_ids"]) == {chunk["user_id"] for _, chunk in facts(redis, "chunk.flushed")}
    assert ["odd"] == [stopped["meeting_id"] for _, stopped in facts(redis, "meeting.stopped")]


def test_a_name_with_a_leading_dash_is_taken_behind_two_dashes(playhead, tmp_path):
    write_wav(tmp_path / "-rf.wav", 0.5)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "playhead", "recordings", "import", "--json", "--", "-rf.wav"],
        env=playhead.environment,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    assert ["-rf"] == json.loads(done.stdout)["user_ids"]


def test_files_of_different_forms_are_one_meeting(playhead, redis, files, tmp_path):
    ann = write_wav(tmp_path / "ann.wav", 2)
    bob = write_wav(tmp_path / "source.wav", 3, form=Pcm(44100, 2))
    subprocess.run([find_ffmpeg(None), "-v", "error", "-i", bob, tmp_path / "bob.mp3"], check=True)
    result = imported(playhead, ann, str(tmp_path / "bob.mp3"), "--meeting", "m")

    assert {"meeting_id": "m", "user_ids": ["ann", "bob"], "seconds": 3.0} == result
    assert (2.0, 3.0) == tuple(len(content(files, user)) / 4 / 48000 for user in ("ann", "bob"))
    assert {(48000, 2)} == {(chunk["rate"], chunk["channels"]) for _, chunk in facts(redis, "chunk.flushed")}


def test_what_is_strange_about_a_file_is_said_with_its_true_length(playhead, tmp_path):
    path = tmp_path / "ann.wav"
    write_wav(path, 2)
    path.write_bytes(path.read_bytes()[: 44 + 16000])
    quiet = write_wav(tmp_path / "quiet.wav", 0)
    done = playhead("recordings", "import", str(path), quiet, "--json")
    result = json.loads(done.stdout)

    assert 1.0 == result["seconds"]
    assert [
        f"{path}: it is cut short: its header says 2.000 seconds, and there are 1.000 seconds",
        f"{quiet}: there is no audio in it",
    ] == result["problems"]
    assert b"there are 1.000 seconds" in done.stderr


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["ann.wav", "other/ann.wav"], b"two files have the name 'ann'"),
        (["\u3042" * 80 + ".wav"], b"rename the file"),
    ],
)
def test_files_that_cannot_be_speakers_are_refused_before_anything_is_recorded(playhead, redis, tmp_path, names, said):
    (tmp_path / "other").mkdir()
    paths = [write_wav(tmp_path / name, 0.5) for name in names]
    done = playhead.attempt("recordings", "import", *paths, "--meeting", "m")

    assert (2, True) == (done.returncode, said in done.stderr)
    assert [] == facts(redis)


def test_an_import_that_a_session_of_another_recorder_began_is_refused(playhead, servers, tmp_path, files):
    async def leave():
        form = RecorderSettings(rate=16000, channels=1)
        with Producer(servers.redis_url) as producer:
            async with Recorder(producer, files.directory, form).session("m", "g", "c"):
                raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(leave())
    done = playhead.attempt("recordings", "import", write_wav(tmp_path / "a.wav", 0.5), "--meeting", "m")

    assert (2, True) == (done.returncode, b"16000 Hz" in done.stderr)
