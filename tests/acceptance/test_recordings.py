"""`playhead recordings` as people type it, with a real ffmpeg, Redis and Postgres."""

import json
import os
import signal
import time
import wave

import psutil
import pytest

from consumers.recordings.ffmpeg import Pcm
from playhead.embedded.servers import embedded_servers
from streams.producer import Producer
from streams.recording_files import Chunk, RecordingFiles
from streams.recordings import MeetingStarted, subject_of
from tests.integration.processes import Playhead
from tests.integration.servers import plain_client
from tests.integration.sound import flush, sha256, tone
from tests.integration.stage import make_database


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture
def playhead(servers, tmp_path):
    with plain_client(servers.redis_url) as client:
        client.flushall()
    return Playhead(
        tmp_path / "data",
        servers.redis_url,
        DATABASE_URL=make_database(servers.database_url),
        PLAYHEAD_FLUSH_SECONDS="0.5",
        PLAYHEAD_LEASE_SECONDS="1",
    )


@pytest.fixture
def files(tmp_path):
    return RecordingFiles(tmp_path / "data" / "recordings")


def write_wav(path, pcm, form):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(form.channels)
        file.setsampwidth(2)
        file.setframerate(form.rate)
        file.writeframes(pcm)
    return str(path)


def asked(playhead, *arguments):
    return json.loads(playhead("recordings", *arguments, "--json").stdout)


def statuses(playhead):
    return {one["id"]: one["status"] for one in asked(playhead, "list")}


def test_files_become_a_meeting_and_the_meeting_recordings(playhead, files, tmp_path, wait_until):
    form = Pcm(16000, 1)
    wavs = [
        write_wav(tmp_path / f"{name}.wav", tone(seconds, form=form), form)
        for name, seconds in (("ann", 2.3), ("bob", 1.1))
    ]
    imported = asked(playhead, "import", *wavs, "--meeting", "m")
    again = playhead("recordings", "import", *wavs, "--meeting", "m")
    with playhead.running("recordings"), playhead.running("transcode"), playhead.running("promote"):
        wait_until(lambda: statuses(playhead) == {"m": "PROMOTED"})
        shown = asked(playhead, "show", "m")
        table = playhead("recordings", "show", "m").stdout
        late = playhead.attempt("recordings", "promote", "m")

    assert {"meeting_id": "m", "user_ids": ["ann", "bob"], "seconds": 2.3} == imported
    assert b"imported already" in again.stderr
    assert {"ann": 2300, "bob": 1100, None: 2300} == {
        one["user_id"]: one["duration_in_ms"] for one in shown["recordings"]
    }
    for one in shown["recordings"]:
        assert one["sha256"] == sha256(files.path(one["filename"]))
        assert one["filename"].encode() in table
    assert (1, True) == (late.returncode, b"chunks are gone" in late.stderr)


def test_an_abandoned_session_is_stuck_until_it_is_swept_or_ended_by_hand(servers, playhead, files, wait_until):
    with Producer(servers.redis_url) as producer:
        for meeting in ("done", "nothing", "hand", "live"):
            started = MeetingStarted(
                meeting_id=meeting, guild_id="g", channel_id="c", strategy="meeting", started_at="2026-01-31T12:00:00Z"
            )
            producer.append("meeting.started", subject=subject_of(meeting), data=started)
            flush(producer, files, b"" if meeting == "nothing" else tone(0.3), Chunk(meeting, "u", 0))
            files.write(files.session(meeting), b"{}")
            seen = time.time() + 3600 if meeting == "live" else 0
            os.utime(files.path(files.session(meeting)), (seen, seen))
    with playhead.running("recordings"), playhead.running("transcode"), playhead.running("promote"):
        wait_until(lambda: {1} == {one["done"] + one["failed"] for one in asked(playhead, "list")})
        stuck = asked(playhead, "stuck", "--idle", "0")
        refused = playhead.attempt("recordings", "promote", "hand")
        (promoted,) = asked(playhead, "promote", "hand", "--end", "--strategy", "per-user")
        swept = {one["meeting_id"]: one for one in asked(playhead, "sweep", "--older", "0.001")}
        wait_until(
            lambda: (
                statuses(playhead)
                == {"done": "PROMOTED", "nothing": "PROMOTION_FAILED", "hand": "PROMOTED", "live": "ACTIVE"}
            )
        )

    assert {"it never ended"} == {one["reason"] for one in stuck}
    assert (1, True) == (refused.returncode, b"--end" in refused.stderr)
    assert ("u", "per-user", 300) == (promoted["user_id"], promoted["strategy"], promoted["duration_in_ms"])
    assert {"done": (1, 0), "nothing": (0, 1)} == {
        name: (one["finished"], one["expired"]) for name, one in swept.items()
    }
    assert [] == list(files.chunks("pcm"))


def test_workers_killed_while_they_work_leave_the_recordings_of_an_undisturbed_run(
    playhead, files, tmp_path, wait_until
):
    form = Pcm(16000, 1)
    wavs = [write_wav(tmp_path / f"{name}.wav", tone(4, hertz, form), form) for name, hertz in (("a", 440), ("b", 300))]

    def sums(meeting):
        return {one["user_id"]: one["sha256"] for one in asked(playhead, "show", meeting)["recordings"]}

    def transcoded():
        return any(one["id"] == "rough" and one["done"] == 16 for one in asked(playhead, "list"))

    def kill_at_work(name, until):
        with playhead.running(name) as consumer:
            worker = psutil.Process(consumer.process.pid)
            wait_until(lambda: consumer.get("/readyz")[0] == 200)
            wait_until(lambda: worker.children() or until())
            if worker.children():
                worker.kill()
                consumer.exit_code = -signal.SIGKILL

    playhead("recordings", "import", *wavs, "--meeting", "calm")
    with playhead.running("recordings"):
        with playhead.running("transcode"), playhead.running("promote"):
            wait_until(lambda: statuses(playhead).get("calm") == "PROMOTED")
        playhead("recordings", "import", *wavs, "--meeting", "rough")
        kill_at_work("transcode", transcoded)
        with playhead.running("transcode") as consumer:
            wait_until(lambda: consumer.get("/readyz")[0] == 200)
            wait_until(transcoded)
        kill_at_work("promote", lambda: statuses(playhead).get("rough") == "PROMOTED")
        with playhead.running("promote") as consumer:
            wait_until(lambda: consumer.get("/readyz")[0] == 200)
            wait_until(lambda: statuses(playhead).get("rough") == "PROMOTED")
            wait_until(lambda: not any((files.directory / "mp3").iterdir()))
            wait_until(lambda: not list(files.directory.glob("recordings/*/.*")))

    assert 3 == len(sums("rough"))
    assert sums("calm") == sums("rough")
    assert sums("rough") == {
        one["user_id"]: sha256(files.path(one["filename"])) for one in asked(playhead, "show", "rough")["recordings"]
    }
    assert [] == list(files.chunks("pcm"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", b"is no WAV file"), (b"RIFF", b"is no WAV file"), (None, b"No such file")],
)
def test_a_file_that_is_no_audio_is_named(playhead, tmp_path, content, said):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    done = playhead.attempt("recordings", "import", str(path))

    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert str(path).encode() in done.stderr


def test_a_meeting_that_is_not_there_is_said_so(playhead):
    done = playhead.attempt("recordings", "show", "nothing")

    assert (1, True) == (done.returncode, b"there is no meeting 'nothing'" in done.stderr)
