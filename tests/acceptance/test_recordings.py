"""`playhead recordings` as people type it, with a real ffmpeg, Redis and Postgres."""

import json
import os
import time
import wave

import psycopg
import pytest

from playhead.consumers.recordings.ffmpeg import Pcm
from playhead.embedded.servers import embedded_servers
from playhead.streams.appending.producer import Producer
from playhead.streams.recordings.events import MeetingStarted, subject_of
from playhead.streams.recordings.files import Chunk, RecordingFiles
from tests.support.audio import RECORDINGS, flush, sha256, tone
from tests.support.databases import make_database
from tests.support.processes import Playhead
from tests.support.servers import plain_client


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
    """Asked of the table: a command takes longer than what is waited for."""
    with psycopg.connect(playhead.environment["DATABASE_URL"]) as connection:
        return dict(connection.execute("SELECT id, status FROM meetings").fetchall())


def transcoded(playhead):
    """Every meeting's chunks that are finished or failed."""
    with psycopg.connect(playhead.environment["DATABASE_URL"]) as connection:
        return dict(
            connection.execute(
                "SELECT meeting_id, count(*) FILTER (WHERE transcode_status IN ('DONE', 'FAILED'))"
                " FROM temp_recordings GROUP BY 1"
            ).fetchall()
        )


def test_files_become_a_meeting_and_the_meeting_recordings(servers, playhead, files, tmp_path, wait_until):
    form = Pcm(16000, 1)
    wavs = [
        write_wav(tmp_path / f"{name}.wav", tone(seconds, form=form), form)
        for name, seconds in (("ann", 2.3), ("bob", 1.1))
    ]
    imported = asked(playhead, "import", *wavs, "--meeting", "m")
    again = playhead("recordings", "import", *wavs, "--meeting", "m")
    with playhead.running("recordings"), playhead.running("transcode"), playhead.running("promote"):
        wait_until(lambda: statuses(playhead) == {"m": "PROMOTED"})
        listed = asked(playhead, "list")
        shown = asked(playhead, "show", "m")
        table = playhead("recordings", "show", "m").stdout
        with Producer(servers.redis_url) as producer:
            flush(producer, files, tone(0.2), Chunk("m", "ann", 99))
        wait_until(lambda: transcoded(playhead) == {"m": 1})
        late = playhead.attempt("recordings", "promote", "m")

    assert {"meeting_id": "m", "user_ids": ["ann", "bob"], "seconds": 2.3} == imported
    assert b"imported already" in again.stderr
    assert [("m", "PROMOTED", 3)] == [(one["id"], one["status"], one["recordings"]) for one in listed]
    assert {"ann": 2300, "bob": 1100, None: 2300} == {
        one["user_id"]: one["duration_in_ms"] for one in shown["recordings"]
    }
    for one in shown["recordings"]:
        assert one["sha256"] == sha256(files.path(one["filename"]))
        assert one["filename"].encode() in table
    assert (1, True) == (late.returncode, b"chunks are deleted" in late.stderr)


def quiet(playhead):
    """Whether everybody has all of the stream, and nothing is in hand."""
    found = json.loads(playhead.attempt("status", "--json").stdout)["consumers"]
    return all((one["lag_events"], one["pending"]) == (0, 0) for one in found if one["partition"] == str(RECORDINGS))


def rows(playhead):
    with psycopg.connect(playhead.environment["DATABASE_URL"]) as connection:
        return [
            connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall()
            for table in ("meetings", "temp_recordings", "recordings")
        ]


def test_the_tables_are_compared_with_the_log_mended_and_restored_without_ffmpeg(
    servers, playhead, files, tmp_path, wait_until
):
    form = Pcm(16000, 1)
    wav = write_wav(tmp_path / "ann.wav", tone(1.2, form=form), form)
    playhead("recordings", "import", wav, "--meeting", "m")
    playhead("recordings", "import", wav, "--meeting", "lost", "--strategy", "per-user")
    with playhead.running("log"), playhead.running("recordings"):
        with playhead.running("transcode"), playhead.running("promote"):
            wait_until(lambda: statuses(playhead) == {"m": "PROMOTED", "lost": "PROMOTED"})
            wait_until(lambda: quiet(playhead))
        well = json.loads(playhead("verify", "--json").stdout)
        before = rows(playhead)
        with psycopg.connect(playhead.environment["DATABASE_URL"]) as connection:
            connection.execute("UPDATE recordings SET duration_in_ms = 1 WHERE meeting_id = 'm' AND user_id IS NULL")
            connection.execute("DELETE FROM recordings WHERE meeting_id = 'lost'")
        (mine,) = files.directory.glob("recordings/lost/*.mp3")
        content = mine.read_bytes()
        mine.write_bytes(content[:-1])
        altered = playhead.attempt("verify", "--json")
        repaired = playhead.attempt("verify", "--repair", "--json")
        after = rows(playhead)
        with psycopg.connect(playhead.environment["DATABASE_URL"]) as connection:
            connection.execute("TRUNCATE meetings, temp_recordings, recordings")
        with playhead.running("transcode") as transcode, playhead.running("promote") as promote:
            wait_until(lambda: transcode.get("/readyz")[0] == promote.get("/readyz")[0] == 200)
            with plain_client(servers.redis_url) as client:
                added = client.xinfo_stream(RECORDINGS.key)["entries-added"]
                playhead("replay", "--log", "--to", "recordings")
                wait_until(lambda: before == rows(playhead))
                assert added == client.xinfo_stream(RECORDINGS.key)["entries-added"], "a worker saw the replay"

    assert ([], 31) == (well["faults"], well["checked"]["recordings"])
    assert (4, {("altered", "m", "recordings"), ("missing", "lost", "recordings")}) == (
        altered.returncode,
        {(fault["kind"], fault["key"], fault["file"]) for fault in json.loads(altered.stdout)["faults"]},
    )
    assert (4, [("altered", str(mine))]) == (
        repaired.returncode,
        [(fault["kind"], fault["file"]) for fault in json.loads(repaired.stdout)["faults"]],
    )
    assert before == after
    assert before == rows(playhead)
    assert 3 == len(before[2])


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
        wait_until(lambda: {"done": 1, "nothing": 1, "hand": 1, "live": 1} == transcoded(playhead))
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


@pytest.mark.parametrize(
    "arguments", [("stuck", "--idle", "-1"), ("stuck", "--idle", "inf"), ("sweep", "--older", "-5")]
)
def test_a_time_that_is_none_is_refused(playhead, arguments):
    done = playhead.attempt("recordings", *arguments)

    assert (2, True) == (done.returncode, b"takes a number of seconds from 0 up" in done.stderr)


SILENT = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\xbb\0\0\0\x77\1\0\2\0\x10\0data\0\0\0\0"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", b"ffmpeg reads no audio in it"),
        (b"RIFF", b"ffmpeg reads no audio in it"),
        (None, b"No such file"),
        (SILENT, b"there is no audio in"),
    ],
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
