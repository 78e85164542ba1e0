"""Audio files of any common format as PCM: ffmpeg reads them, as far as there is audio."""

import os
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

import msgspec

from playhead.consumers.recordings.errors import FfmpegFailed, InvalidAudio
from playhead.consumers.recordings.ffmpeg import Children, Feeder, Pcm, executing, tail
from playhead.consumers.recordings.wav import Wav, find_wav

FORMATS = "aac,ac3,aiff,amr,ape,asf,au,caf,flac,matroska,mov,mp3,ogg,tta,w64,wav,wv"
"""What may be read: no playlists, which name other files."""

_BLOCK_BYTES = 64 * 1024
_AU = struct.Struct(">4s5I")
_PROBE_SECONDS = 60
_INTERRUPTED = 255
_MIXABLE = 8
"""Channels up to which ffmpeg knows a loudspeaker for each."""


class AudioFile(msgspec.Struct, frozen=True):
    """A file that holds audio, and its form; ffmpeg is told where the audio of a WAV file is."""

    path: Path
    form: Pcm
    wav: Wav | None = None

    @property
    def problem(self) -> str | None:
        """What is strange about it, and does not keep it from being read."""
        return None if self.wav is None else self.wav.problem


class Decoder:
    """Reads audio files by an ffmpeg."""

    def __init__(self, program: Path, children: Children) -> None:
        self._program, self._children = program, children

    def look(self, path: Path) -> AudioFile:
        """Look what a file holds.

        Raises:
            InvalidAudio: it is no audio that ffmpeg can read.
            FfmpegMissing: ffmpeg cannot be executed.
            OSError: the file cannot be read.
        """
        with _opened(path) as file:
            wav = find_wav(file)
        if wav is not None and wav.rate and wav.channels:
            return AudioFile(path, Pcm(wav.rate, wav.channels), wav)
        with self._start(path, None, ["-frames:a", "1", "-c:a", "pcm_s16be", "-f", "au"]) as decoding:
            head = decoding.read(_AU.size)
            if len(head) < _AU.size:
                raise InvalidAudio(path, f"ffmpeg reads no audio in it: {last_line(decoding.finish())}")
        _, _, _, _, rate, channels = _AU.unpack(head)
        return AudioFile(path, Pcm(rate, channels))

    def decode(self, file: AudioFile, form: Pcm) -> "Decoding":
        """Begin to read a file as PCM of a form.

        Raises:
            FfmpegMissing: ffmpeg cannot be executed.
            OSError: the file cannot be read.
        """
        output = ["-f", "s16le", "-ar", str(form.rate), "-ac", str(form.channels)]
        return self._start(file.path, file.wav, [*_mixing(file.form.channels, form.channels), *output])

    def _start(self, path: Path, wav: Wav | None, output: Sequence[str]) -> "Decoding":
        command = [str(self._program), "-hide_banner", "-nostdin", "-loglevel", "error", "-max_error_rate", "1"]
        if wav is None:
            command += ["-protocol_whitelist", "file", "-format_whitelist", FORMATS]
            command += ["-i", f"file:{path.absolute()}"]
            return Decoding(self._children, [*command, "-map", "0:a:0", *output, "pipe:1"], None)
        source = _opened(path)
        command += ["-protocol_whitelist", "pipe", "-f", "wav", "-ignore_length", "1", "-i", "pipe:{feed}"]
        return Decoding(self._children, [*command, "-map", "0:a:0", *output, "pipe:1"], _audio(source, wav))


class Decoding:
    """An ffmpeg at work, to be read up to its end; it ends with the block."""

    def __init__(self, children: Children, command: Sequence[str], feed: Iterator[bytes] | None) -> None:
        self._children, self._said = children, tempfile.TemporaryFile()  # noqa: SIM115  # closed with the block
        reading, writing = os.pipe() if feed is not None else (None, None)
        given = [] if reading is None else [reading]
        try:
            with executing(command[0]):
                arguments = [each.format(feed=reading) if each == "pipe:{feed}" else each for each in command]
                self._child = children.start(arguments, stdout=subprocess.PIPE, stderr=self._said, fds=given)
        except BaseException:
            self._said.close()
            if writing is not None:
                os.close(writing)
            raise
        finally:
            if reading is not None:
                os.close(reading)
        self._feeder: Feeder | None = None
        if feed is not None and writing is not None:
            self._feeder = Feeder(writing, feed, self._child)
            self._feeder.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._children.ended(self._child)
        self._output.close()
        if self._feeder is not None:
            self._feeder.join()
        self._said.close()

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        return self._output.read(size)

    def finish(self) -> str:
        """Wait for the end, behind the last byte; gives what ffmpeg complained of.

        Raises:
            FfmpegFailed: it was ended, so what it read may not be all.
            OSError: the file could not be read to its end.
        """
        code = self._child.wait(_PROBE_SECONDS)
        if self._feeder is not None:
            self._feeder.join()
            if self._feeder.failure is not None:
                raise self._feeder.failure
        if code < 0 or code == _INTERRUPTED:
            raise FfmpegFailed("was ended before it had read all", tail(self._said))
        return tail(self._said)

    @property
    def _output(self) -> IO[bytes]:
        assert self._child.stdout is not None, "it was started with a pipe"
        return self._child.stdout


def _opened(path: Path) -> BinaryIO:
    """Open a regular file, without waiting for what is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidAudio(path, "it is not a file")
    return os.fdopen(descriptor, "rb")


def _audio(file: BinaryIO, wav: Wav) -> Iterator[bytes]:
    """A WAV of no length in particular, so that where it ends is where the pipe does."""
    with file:
        yield wav.header
        file.seek(wav.start)
        left = wav.length
        while left and (block := file.read(min(left, _BLOCK_BYTES))):
            yield block
            left -= len(block)


def _mixing(given: int, wanted: int) -> list[str]:
    """How channels are mixed where ffmpeg would make one softer, or does not know where they belong."""
    if given == wanted or 1 < given <= _MIXABLE:
        return []
    equally = "+".join(f"{1 / given:.6f}*c{channel}" for channel in range(given))
    names = ["mono", "stereo"]
    return ["-af", "|".join([f"pan={names[wanted - 1]}", *(f"c{channel}={equally}" for channel in range(wanted))])]


def last_line(said: str) -> str:
    """The last thing that ffmpeg said, which is why it ended."""
    return (said.strip().splitlines() or ["it said nothing"])[-1]
