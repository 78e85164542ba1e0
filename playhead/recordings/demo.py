"""The meeting of `playhead demo`: two voices, a recorder that is killed, and a recording all the same."""

import os
import subprocess
import sys
import wave
from contextlib import closing
from pathlib import Path

from playhead.demo import Demo
from playhead.embedded.supervisor import environment
from playhead.projections.postgres import connect
from playhead.projections.recordings.rows import Recording, find_meetings, recordings_of
from playhead.recordings.domain import RECORDINGS_DIR, recordings
from playhead.recordings.voices import speak
from playhead.streams.recordings.files import RecordingFiles

MEETING = "standup"
_RATE = 16000
_VOICES = {"ann": (6.0, 210.0), "bob": (5.0, 120.0)}
_FLUSH_SECONDS = "1"
_LATE = "the meeting was not recorded within a minute"


def record_a_meeting(demo: Demo) -> None:
    """Record two voices through a crash, and show what became of them."""
    if missing := [problem for name, problem in demo.missing.items() if name in recordings.workers]:
        demo.step(f"No meeting is recorded: {missing[0]}")
        return
    chunks = _record_and_crash(demo)
    demo.step(
        f"Two voices met; their recorder was killed (kill -9) with {chunks} chunks on disk, and another went on.\n"
        "   Each chunk was transcoded, and the meeting promoted to a recording of each and one of both:"
    )
    demo.wait_until(lambda: bool(_promoted(demo)), _LATE)
    for one in _promoted(demo):
        demo.say(f"  {demo.settings[RECORDINGS_DIR] / one.filename}  {one.duration_in_ms / 1000:.1f} seconds")


def _record_and_crash(demo: Demo) -> int:
    """Record the meeting; its recorder is killed once some of it is on disk, and another goes on.

    Gives the number of chunks that were there when it was killed.
    """
    settings, messages = demo.settings, demo.messages
    files = RecordingFiles(settings[RECORDINGS_DIR])
    command = [
        sys.executable,
        "-P",
        "-m",
        "playhead",
        "recordings",
        "import",
        *map(str, _write(settings.data_dir / "voices")),
    ]
    command += ["--meeting", MEETING, "--strategy", "hybrid"]
    around = environment(settings, demo.servers) | {"PLAYHEAD_FLUSH_SECONDS": _FLUSH_SECONDS}

    def count() -> int:
        return len({chunk for kind in ("pcm", "mp3") for chunk in files.chunks(kind, MEETING)})

    with subprocess.Popen(
        [*command, "--real-time"], env=around, stdout=subprocess.DEVNULL, stderr=messages, start_new_session=True
    ) as recorder:
        try:
            demo.wait_until(lambda: count() > len(_VOICES) or recorder.poll() is not None, _LATE)
        finally:
            recorder.kill()
    found = count()
    subprocess.run(command, env=around, stdout=subprocess.DEVNULL, stderr=messages, check=True)
    return found


def _promoted(demo: Demo) -> list[Recording]:
    """The recordings of the meeting, none until all are there."""
    servers = demo.servers
    with closing(connect(servers.database_url, "playhead-demo", schema=servers.schema)) as connection:
        over = [one for one in find_meetings(connection, [MEETING]) if one.status == "PROMOTED"]
        found = recordings_of(connection, MEETING)
    return found if over and len(found) == len(_VOICES) + 1 else []


def _write(directory: Path) -> list[Path]:
    directory.mkdir(mode=0o700)
    written: list[Path] = []
    for number, (name, (seconds, hertz)) in enumerate(_VOICES.items()):
        written.append(directory / f"{name}.wav")
        with wave.open(os.fspath(written[-1]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(_RATE)
            file.writeframes(speak(seconds, hertz, rate=_RATE, seed=number))
    return written
