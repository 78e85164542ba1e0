"""ffmpeg as a child that reads and writes pipes of ours, so that it opens no file that data names, and ends with us.

When this process dies, whatever way, its pipes close: ffmpeg reads the end of its input, or cannot write, and ends.
What it wrote so far has a temporary name.
"""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from playhead.consumers.recordings.errors import FfmpegFailed, FfmpegMissing, Stopped

BIT_RATE = "128k"
RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""Frames a second that MP3 knows."""

_SAID_BYTES = 2000

_Result = TypeVar("_Result")


class Pcm(msgspec.Struct, frozen=True):
    """The form of PCM, which is signed 16-bit little-endian; a frame has a sample of each channel."""

    rate: int = 48000
    channels: int = 2

    @property
    def frame(self) -> int:
        """Bytes of a frame."""
        return 2 * self.channels


class Children:
    """The ffmpeg processes of one piece of work, to be ended together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def start(
        self, command: Sequence[str], *, stdout: int, stderr: IO[bytes], fds: Sequence[int]
    ) -> "subprocess.Popen[bytes]":
        """Start one.

        Raises:
            Stopped: they were ended.
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=fds,
                process_group=0,  # Ctrl-C in a terminal is for us: an ffmpeg that it ends seems to have finished
            )
            self._running.add(child)
            return child

    def ended(self, child: "subprocess.Popen[bytes]") -> None:
        """Forget one, killing it if it still runs."""
        child.kill()
        child.wait()
        with self._lock:
            self._running.discard(child)

    def stop(self) -> None:
        """Kill all, and let no other start."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                child.kill()


class Ffmpeg:
    """Runs ffmpeg; each run may take `seconds` unless it is given its own limit."""

    def __init__(self, program: Path, seconds: float) -> None:
        self._program, self._seconds = program, seconds

    def encode(
        self,
        sources: Sequence[Iterable[bytes | memoryview]],
        form: Pcm,
        outputs: Mapping[Path, Sequence[int]],
        children: Children,
        *,
        seconds: float | None = None,
    ) -> None:
        """Write MP3s of PCM, each of those sources that it names by number; several are mixed, from the beginning.

        Each source is read once, however many outputs it is in.

        Raises:
            FfmpegFailed: with what ffmpeg said.
            FfmpegMissing: it cannot be executed.
        """
        command = [str(self._program), "-hide_banner", "-nostdin", "-loglevel", "error", "-y"]
        pipes = [os.pipe() for _ in sources]
        for reading, _ in pipes:
            command += ["-protocol_whitelist", "pipe", "-f", "s16le", "-ar", str(form.rate), "-ac", str(form.channels)]
            command += ["-thread_queue_size", "64", "-i", f"pipe:{reading}"]
        command += _outputs(outputs, form)
        with tempfile.TemporaryFile() as said:
            try:
                child = self._start(children, command, subprocess.DEVNULL, said, [reading for reading, _ in pipes])
            except BaseException:
                for _, writing in pipes:
                    os.close(writing)
                raise
            finally:
                for reading, _ in pipes:
                    os.close(reading)
            feeders = [Feeder(writing, source, child) for (_, writing), source in zip(pipes, sources, strict=True)]
            try:
                for feeder in feeders:
                    feeder.start()
                self._wait(child, said, seconds or self._seconds)
            finally:
                children.ended(child)
                for feeder in feeders:
                    feeder.join()
            for feeder in feeders:
                if feeder.failure is not None:
                    raise feeder.failure
            self._check(child, said)

    def decode(self, mp3: Path, samples: int, form: Pcm, children: Children) -> bytes:
        """Read the first samples of an MP3 as PCM; ffmpeg leaves out what the encoder put before them.

        Raises:
            FfmpegFailed: with what ffmpeg said.
            FfmpegMissing: it cannot be executed.
        """
        with mp3.open("rb") as file:
            content = self._decode(file, form, children)
        wanted = samples * form.frame
        return content[:wanted].ljust(wanted, b"\0")

    def decode_frames(self, frames: Sequence[bytes], form: Pcm, children: Children) -> bytes:
        """Read MP3 frames as one piece of PCM, with all that encoders put before and after sound.

        Raises:
            FfmpegFailed: with what ffmpeg said.
            FfmpegMissing: it cannot be executed.
        """
        with tempfile.TemporaryFile() as file:
            file.writelines(frames)
            file.seek(0)
            return self._decode(file, form, children)

    def _decode(self, file: IO[bytes], form: Pcm, children: Children) -> bytes:
        command = [str(self._program), "-hide_banner", "-nostdin", "-loglevel", "error"]
        command += ["-protocol_whitelist", "pipe"]
        with tempfile.TemporaryFile() as said:
            command += ["-threads", "1", "-f", "mp3", "-i", f"pipe:{file.fileno()}"]
            command += ["-f", "s16le", "-ar", str(form.rate), "-ac", str(form.channels), "pipe:1"]
            child = self._start(children, command, subprocess.PIPE, said, [file.fileno()])
            try:
                content, _ = child.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                raise FfmpegFailed(f"took longer than {self._seconds:g} seconds", tail(said)) from None
            finally:
                children.ended(child)
            self._check(child, said)
        return content

    def _start(
        self, children: Children, command: Sequence[str], stdout: int, said: IO[bytes], fds: Sequence[int]
    ) -> "subprocess.Popen[bytes]":
        with executing(self._program):
            return children.start(command, stdout=stdout, stderr=said, fds=fds)

    def _wait(self, child: "subprocess.Popen[bytes]", said: IO[bytes], seconds: float) -> None:
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise FfmpegFailed(f"took longer than {seconds:g} seconds", tail(said)) from None

    def _check(self, child: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
        if child.returncode:
            how = f"was killed by signal {-child.returncode}" if child.returncode < 0 else "failed"
            raise FfmpegFailed(how, tail(said))


@contextmanager
def executing(program: Path | str) -> Generator[None, None, None]:
    """Say it well if there is no such program.

    Raises:
        FfmpegMissing: it cannot be executed.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        raise FfmpegMissing(f"{program}: {error.strerror}. {FfmpegMissing.__doc__}") from error


def encoding(form: Pcm) -> list[str]:
    """How ffmpeg is told to write an MP3: fast, and with nothing in it but the sound.

    Level 7 of LAME takes a third less time than the default; at this bit rate what it saves at is not heard in speech.
    Work is spread over processes, so threads within one would only get in one another's way.
    """
    return [
        *("-map_metadata", "-1", "-c:a", "libmp3lame", "-b:a", BIT_RATE, "-compression_level", "7", "-threads", "1"),
        *("-ar", str(form.rate), "-ac", str(form.channels), "-bitexact", "-id3v2_version", "0", "-write_id3v2", "0"),
        *("-f", "mp3"),
    ]


def _outputs(outputs: Mapping[Path, Sequence[int]], form: Pcm) -> list[str]:
    """Which sources go into which file."""
    mixes: list[str] = []
    written: list[str] = []
    for number, (path, sources) in enumerate(outputs.items()):
        chosen = f"{sources[0]}:a"
        if len(sources) > 1:
            chosen = f"[mix{number}]"
            inputs = "".join(f"[{source}:a]" for source in sources)
            mixes.append(f"{inputs}amix=inputs={len(sources)}:duration=longest:normalize=0{chosen}")
        written += ["-map", chosen, *encoding(form), f"file:{path.absolute()}"]
    return ["-filter_complex", ";".join(mixes), *written] if mixes else written


def find_ffmpeg(setting: Path | None) -> Path:
    """The ffmpeg to run: the one set, or the one that `imageio-ffmpeg` brings.

    Raises:
        FfmpegMissing: there is none.
    """
    if setting is not None:
        found = shutil.which(setting)
        if found is None:
            raise FfmpegMissing(
                f"PLAYHEAD_FFMPEG is {str(setting)!r}, which cannot be executed. {FfmpegMissing.__doc__}"
            )
        return Path(found)
    brought = importlib.util.find_spec("imageio_ffmpeg")  # its own search starts the program, to see whether it runs
    places = [] if brought is None else brought.submodule_search_locations or []
    for program in (path for place in places for path in sorted(Path(place, "binaries").glob("ffmpeg-*"))):
        if os.access(program, os.X_OK):
            return program
    raise FfmpegMissing(str(FfmpegMissing.__doc__))


async def run(work: Callable[[Children], _Result]) -> _Result:
    """Run work in a thread; a cancellation kills its processes and waits for its end."""
    children = Children()
    thread = asyncio.ensure_future(asyncio.to_thread(work, children))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        children.stop()
        await asyncio.wait([thread])
        thread.exception()
        raise


class Feeder(threading.Thread):
    """Writes PCM into a pipe until there is no more, or nobody reads it."""

    def __init__(self, pipe: int, source: Iterable[bytes | memoryview], child: "subprocess.Popen[bytes]") -> None:
        super().__init__(daemon=True)
        self.failure: Exception | None = None
        self._pipe, self._source, self._child = pipe, source, child

    def run(self) -> None:
        """Write."""
        try:
            with os.fdopen(self._pipe, "wb", buffering=0) as pipe:
                for block in self._source:
                    rest = memoryview(block)
                    while rest:
                        rest = rest[pipe.write(rest) :]
        except BrokenPipeError:
            pass  # how ffmpeg ended says why
        except Exception as error:  # noqa: BLE001  # raised again by the thread that waits
            self.failure = error
            self._child.kill()


def tail(said: IO[bytes]) -> str:
    """The end of what an ffmpeg said."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID_BYTES))
    return said.read().decode("utf-8", "replace").strip()
