"""How long what is on disk of a meeting is."""

from collections import Counter
from pathlib import Path

from playhead.consumers.recordings.errors import InvalidAudio
from playhead.consumers.recordings.ffmpeg import Pcm
from playhead.consumers.recordings.mp3 import read_mp3
from playhead.streams.recordings.files import Chunk, RecordingFiles


def recorded_seconds(files: RecordingFiles, meeting_id: str, form: Pcm) -> float:
    """The length of its longest recording, or of the user of whom there is most; without the pauses between chunks."""
    recordings = [_samples(path) / form.rate for path in files.finished(meeting_id)]
    users: Counter[str] = Counter()
    for chunk in {chunk for kind in ("pcm", "mp3") for chunk in files.chunks(kind, meeting_id)}:
        users[chunk.user_id] += _frames(files, chunk, form)
    return max([*recordings, *(frames / form.rate for frames in users.values())], default=0.0)


def _frames(files: RecordingFiles, chunk: Chunk, form: Pcm) -> int:
    try:
        return files.path(files.pcm(chunk)).stat().st_size // form.frame
    except FileNotFoundError:  # transcoded
        return _samples(files.path(files.mp3(chunk)))


def _samples(path: Path) -> int:
    try:
        return read_mp3(path.read_bytes()).samples
    except (FileNotFoundError, InvalidAudio):
        return 0
