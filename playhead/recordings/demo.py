"""The meeting of `playhead demo`: two voices, a recorder that is killed, and a recording all the same."""

import os
import subprocess
import sys
import wave
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

from playhead.embedded.supervisor import environment
from playhead.projections.postgres import connect
from playhead.projections.recordings.rows import Recording, find_meetings, recordings_of
from playhead.recordings.voices import speak
from playhead.settings.settings import Servers, Settings
from playhead.streams.recordings.files import RecordingFiles

MEETING = "standup"
_RATE = 16000
_VOICES = {"ann": (6.0, 210.0), "bob": (5.0, 120.0)}
_FLUSH_SECONDS = "1"


def record_and_crash(
    settings: Settings, servers: Servers, messages: IO[bytes], wait_until: Callable[[Callable[[], bool]], None]
) -> int:
    """Record the meeting; its recorder is killed once some of it is on disk, and another goes on.

    Gives the number of chunks that were there when it was killed.
    """
    files = RecordingFiles(settings.recordings_dir)
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
    around = environment(settings, servers) | {"PLAYHEAD_FLUSH_SECONDS": _FLUSH_SECONDS}

    def count() -> int:
        return len({chunk for kind in ("pcm", "mp3") for chunk in files.chunks(kind, MEETING)})

    with subprocess.Popen(
        [*command, "--real-time"], env=around, stdout=subprocess.DEVNULL, stderr=messages, start_new_session=True
    ) as recorder:
        try:
            wait_until(lambda: count() > len(_VOICES) or recorder.poll() is not None)
        finally:
            recorder.kill()
    found = count()
    subprocess.run(command, env=around, stdout=subprocess.DEVNULL, stderr=messages, check=True)
    return found


def promoted(database_url: str) -> list[Recording]:
    """The recordings of the meeting, none until all are there."""
    with closing(connect(database_url, "playhead-demo")) as connection:
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
