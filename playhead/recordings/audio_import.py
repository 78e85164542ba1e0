"""`playhead recordings import`: audio files as a meeting, a speaker a file."""

import asyncio
import secrets
import shlex
import wave
from contextlib import ExitStack
from pathlib import Path

import msgspec

from playhead.commands.spool import open_producer
from playhead.recordings.domain import FLUSH_SECONDS, RECORDINGS_DIR
from playhead.settings.settings import load
from playhead.streams.errors import InvalidSetting, MeetingOver
from playhead.streams.recordings.events import Strategy
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from playhead.terminal import diagnostics
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, say

_BLOCK_SECONDS = 1


class Imported(msgspec.Struct, frozen=True):
    """A meeting that was imported; `user_ids` are the files' names without their suffix."""

    meeting_id: str
    user_ids: list[str]
    seconds: float


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

    Args:
        files: WAV files of 16-bit PCM, all of one rate and number of channels; their names become user ids.
        meeting: The meeting's id, a new one if it is not given. With it an import that was cut short goes on.
        strategy: What the meeting is to become.
        real_time: As fast as it was spoken, instead of as fast as possible.

    Example:
        playhead recordings import ann.wav bob.wav
    """
    settings = load(data_dir)
    diagnostics.configure(settings.log_format)
    meeting_id = meeting or f"import-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        waves = {path.stem: stack.enter_context(_open(path)) for path in files}
        if len(waves) != len(files) or not files:
            raise InvalidSetting("pass at least one file, and no two of the same name: names become user ids")
        form = _form(waves, settings[FLUSH_SECONDS])
        if not any(each.getnframes() for each in waves.values()):
            raise InvalidSetting(f"there is no audio in {', '.join(map(str, files))}")
        producer = stack.enter_context(open_producer(settings))
        recorder = Recorder(producer, settings[RECORDINGS_DIR], form)
        try:
            asyncio.run(_feed(recorder, waves, form, meeting_id, strategy, real_time=real_time))
        except MeetingOver:
            say(f"{meeting_id} is imported already")
        seconds = max(each.getnframes() for each in waves.values()) / form.rate
    imported = Imported(meeting_id, sorted(waves), round(seconds, 3))
    if json:
        print_json(imported)
    else:
        print(f"{meeting_id}: {seconds:.1f} seconds of {', '.join(imported.user_ids)}")
        say(f"next: playhead recordings show {shlex.quote(meeting_id)}")
    return 0


async def _feed(
    recorder: Recorder,
    waves: dict[str, wave.Wave_read],
    form: RecorderSettings,
    meeting_id: str,
    strategy: Strategy,
    *,
    real_time: bool,
) -> None:
    frames = form.rate * _BLOCK_SECONDS
    longest = max(each.getnframes() for each in waves.values())
    async with recorder.session(meeting_id, "import", "import", strategy, again=True) as session:
        for number in range(-(-longest // frames)):
            for user_id, each in waves.items():
                pcm = each.readframes(frames)
                if pcm := pcm[: len(pcm) - len(pcm) % form.frame]:
                    session.write(user_id, pcm, at=number * _BLOCK_SECONDS)
            await asyncio.sleep(_BLOCK_SECONDS if real_time else 0)


def _open(path: Path) -> wave.Wave_read:
    try:
        return wave.open(str(path), "rb")
    except (wave.Error, EOFError) as error:
        raise InvalidSetting(f"{path} is not a WAV file of PCM: {str(error) or 'it is cut short'}") from error


def _form(waves: dict[str, wave.Wave_read], flush_seconds: float) -> RecorderSettings:
    forms = {(each.getframerate(), each.getnchannels(), each.getsampwidth()) for each in waves.values()}
    ((rate, channels, width), *others) = forms
    if others or width != 2 or channels not in {1, 2}:  # noqa: PLR2004  # bytes of a 16-bit sample
        found = ", ".join(
            f"{name}: {e.getframerate()} Hz {e.getnchannels()} x {8 * e.getsampwidth()} bit"
            for name, e in waves.items()
        )
        raise InvalidSetting(f"the files must be 16-bit, mono or stereo, and have the same rate ({found})")
    return RecorderSettings(rate=rate, channels=channels, flush_seconds=flush_seconds)
