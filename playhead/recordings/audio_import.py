"""`playhead recordings import`: audio files as a meeting, a speaker a file."""

import asyncio
import os
import secrets
import shlex
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import msgspec

from playhead.commands.spool import open_producer
from playhead.consumers.recordings.decoding import AudioFile, Decoder, Decoding, last_line
from playhead.consumers.recordings.errors import InvalidAudio
from playhead.consumers.recordings.ffmpeg import RATES, Children, Pcm, find_ffmpeg
from playhead.consumers.recordings.lengths import recorded_seconds
from playhead.recordings.domain import FFMPEG, FLUSH_SECONDS, RECORDINGS_DIR
from playhead.settings.settings import load
from playhead.streams.errors import InvalidSetting
from playhead.streams.recordings.errors import MeetingOver
from playhead.streams.recordings.events import Strategy
from playhead.streams.recordings.files import Chunk, InvalidId, RecordingFiles
from playhead.streams.recordings.ids import text_of
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say
from playhead.terminal.progress import Progress

_BLOCK_SECONDS = 1
_RATE = 48000
_NEAR_SECONDS = 0.05


class Imported(msgspec.Struct, frozen=True, omit_defaults=True):
    """A meeting that was imported; `user_ids` are the files' names without their suffix.

    `seconds` is the length of the longest, as it was read. `problems` say what was strange about files.
    """

    meeting_id: str
    user_ids: list[str]
    seconds: float
    problems: list[str] = []


def import_files(
    files: list[Path],
    /,
    *,
    meeting: str | None = None,
    strategy: Strategy = "hybrid",
    real_time: bool = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Feed audio files as a meeting, a speaker a file, as if all began to speak at once.

    Each file is read as far as there is audio. An import that is interrupted continues if you run it again with the
    same files and --meeting.

    Args:
        files: WAV, MP3, Ogg, Opus, FLAC, M4A and other files that ffmpeg reads; their names become user ids.
        meeting: The meeting's id; a new one if omitted. Pass it to continue an import that was interrupted.
        strategy: What the meeting is to become.
        real_time: As fast as it was spoken, instead of as fast as possible.

    Example:
        playhead recordings import ann.wav bob.mp3
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format, settings.log_level)
    meeting_id = text_of(meeting) if meeting is not None else f"import-{secrets.token_hex(4)}"
    recordings = RecordingFiles(settings[RECORDINGS_DIR])
    speakers = _speakers(files, recordings, meeting_id)
    children = Children()
    decoder = Decoder(find_ffmpeg(settings[FFMPEG]), children)
    with ExitStack() as stack:
        found = {user_id: decoder.look(path) for user_id, path in speakers.items()}
        form = _form(list(found.values()))
        tracks = {
            user_id: _Track(file, stack.enter_context(decoder.decode(file, form)), form)
            for user_id, file in found.items()
        }
        if not any(track.has_audio for track in tracks.values()):
            raise InvalidSetting(f"there is no audio in {', '.join(map(str, files))}")
        producer = stack.enter_context(open_producer(settings))
        recorded = RecorderSettings(rate=form.rate, channels=form.channels, flush_seconds=settings[FLUSH_SECONDS])
        recorder = Recorder(producer, recordings.directory, recorded)
        try:
            with Progress("importing seconds of audio") as progress:
                asyncio.run(_feed(recorder, tracks, meeting_id, strategy, progress, real_time=real_time))
        except MeetingOver as error:
            _require_whole(recordings, meeting_id, tracks, form, error)
            say(f"{meeting_id} is imported already")
        except BaseException:
            say(f"{meeting_id} is not imported yet; continue with: {_command(files, meeting_id, strategy)}")
            raise
    problems = [f"{track.file.path}: {problem}" for track in tracks.values() for problem in track.problems]
    for problem in problems:
        say(problem)
    seconds = max(track.seconds for track in tracks.values())
    imported = Imported(meeting_id, sorted(tracks), round(seconds, 3), [text_of(problem) for problem in problems])
    if json:
        print_json(imported)
    else:
        print_lines(f"{meeting_id}: {seconds:.1f} seconds of {', '.join(imported.user_ids)}")
        say(f"next: playhead recordings show {shlex.quote(meeting_id)}")
    return 0


class _Track:
    """A file that is being read, by blocks of a second."""

    def __init__(self, file: AudioFile, decoding: Decoding, form: Pcm) -> None:
        """Read the first block.

        Raises:
            InvalidAudio: it is no audio that ffmpeg can read.
        """
        self.file, self._decoding, self._form = file, decoding, form
        self._size = form.rate * _BLOCK_SECONDS * form.frame
        self._bytes = 0
        self._is_over = False
        self.problems = [] if file.problem is None else [file.problem]
        self._first = self._read()
        if not self._first and (said := self._said):
            raise InvalidAudio(file.path, f"ffmpeg reads no audio in it: {last_line(said)}")
        if not self._first:
            self.problems.append("there is no audio in it")

    @property
    def has_audio(self) -> bool:
        """Whether there is a single frame."""
        return self._bytes > 0

    @property
    def seconds(self) -> float:
        """How long what was read is."""
        return self._bytes // self._form.frame / self._form.rate

    def next(self) -> bytes:
        """A second of PCM, less at the end, nothing behind it.

        Raises:
            FfmpegFailed: ffmpeg was ended before it had read all.
        """
        first, self._first = self._first, b""
        return first or self._read()

    def _read(self) -> bytes:
        if self._is_over:
            return b""
        pcm = self._decoding.read(self._size)
        self._bytes += len(pcm)
        if len(pcm) < self._size:
            self._is_over = True
            self._said = self._decoding.finish()
            if self._bytes and self._said:
                self.problems.append(f"it is damaged or cut short, {self.seconds:.3f} seconds can be read of it")
        return pcm[: len(pcm) - len(pcm) % self._form.frame]


def _speakers(files: list[Path], recordings: RecordingFiles, meeting_id: str) -> dict[str, Path]:
    """Whose each file is, by its name; bytes that are not UTF-8 are escaped.

    Raises:
        InvalidSetting: there is no file, or two are of one speaker.
        InvalidId: a name is too long.
    """
    if not files:
        raise InvalidSetting("pass at least one file")
    names = [text_of(os.fsencode(path.stem).decode("utf-8", "backslashreplace")) for path in files]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidSetting(f"two files have the name {twice[0]!r}: names become user ids, so rename one of them")
    for name, path in zip(names, files, strict=True):
        try:
            recordings.pcm(Chunk(meeting_id, name, 0))
        except InvalidId as error:
            raise InvalidId(f"{path}: rename the file, or pass another --meeting. {error}") from error
    return dict(zip(names, files, strict=True))


def _form(files: list[AudioFile]) -> Pcm:
    """What all files are read as: their own rate if they have one that MP3 has too, and as few channels as will do."""
    rates = {file.form.rate for file in files}
    rate = rates.pop() if len(rates) == 1 and rates <= RATES else _RATE
    return Pcm(rate, 1 if all(file.form.channels == 1 for file in files) else 2)


async def _feed(
    recorder: Recorder,
    tracks: dict[str, _Track],
    meeting_id: str,
    strategy: Strategy,
    progress: Progress,
    *,
    real_time: bool,
) -> None:
    async with recorder.session(meeting_id, "import", "import", strategy, again=True) as session:
        at = 0
        while blocks := {user_id: pcm for user_id, track in tracks.items() if (pcm := track.next())}:
            for user_id, pcm in blocks.items():
                session.write(user_id, pcm, at=at)
            at += _BLOCK_SECONDS
            progress.advanced(_BLOCK_SECONDS)
            await asyncio.sleep(_BLOCK_SECONDS if real_time else 0)


def _require_whole(
    recordings: RecordingFiles, meeting_id: str, tracks: dict[str, _Track], form: Pcm, error: MeetingOver
) -> None:
    """See that the meeting that is over has all of the files.

    Raises:
        MeetingOver: it has less.
    """
    for track in tracks.values():
        while track.next():
            pass
    there = recorded_seconds(recordings, meeting_id, form)
    wanted = max(track.seconds for track in tracks.values())
    if there < wanted - _NEAR_SECONDS:
        raise MeetingOver(
            f"{meeting_id} is over with {there:.1f} of {wanted:.1f} seconds: import the files with another --meeting"
        ) from error


def _command(files: list[Path], meeting_id: str, strategy: Strategy) -> str:
    names = [str(path) if path.is_absolute() else f"./{path}" for path in files]
    return shlex.join(["playhead", "recordings", "import", *names, "--meeting", meeting_id, "--strategy", strategy])
