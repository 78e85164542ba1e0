"""How many sessions of four speakers can be recorded at once, and how much of it is ffmpeg."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.rows import scalar_row

from benchmarks.contest import Result, Section, Turn, hold, timed
from benchmarks.stack import Stack, fresh_directory, limit, playhead
from playhead.recordings.voices import speak
from playhead.streams.appending.producer import Producer
from playhead.streams.partitions import Partition
from playhead.streams.recordings.recorder import Recorder, RecorderSettings

_RECORDINGS = Partition("recordings", 0)
_ROUNDS = 3
_SPEAKERS = 4
_CHUNK_SECONDS = 10
_EVENTS_A_CHUNK = 4
_WANTED = 20
_FORM = RecorderSettings()


def recordings(stack: Stack, quick: bool) -> Section:
    """Chunks transcoded against ffmpeg alone, and whole sessions against the clock."""
    cores = os.cpu_count() or 1
    section = Section(
        "Recordings",
        f"48 kHz stereo, {_CHUNK_SECONDS} s a chunk, {_SPEAKERS} speakers a session, on {cores} cores. `playhead run "
        "transcode` works off chunks that are on disk; the limit is ffmpeg alone on the same chunks, with the same "
        f"options, {cores} at a time. A session whose speakers never pause fills {_SPEAKERS / _CHUNK_SECONDS} chunks a "
        "second. The whole is `transcode`, `recordings` and `promote` together, until every session has its hybrid "
        "recording; its events are seconds of a session, so its rate is the number of sessions that keep up for ever. "
        "Their CPU time is that of the three with every ffmpeg, the server's that of Redis.",
    )
    with _running(stack, "recordings", "transcode") as (_, transcode):

        def ours() -> Turn:
            return _transcode(stack, transcode, 1 if quick else 8)

        def theirs() -> Turn:
            made = fresh_directory(stack.data_dir.parent, "mp3")
            return limit("ffmpeg", str(_kept(stack)), str(made), cores)

        found = hold("10 s", 1 if quick else _ROUNDS, {"playhead run transcode": ours, "ffmpeg alone": theirs})
    section.rates += found.rates()
    section.results.append(found.ratio("transcode / ffmpeg alone", "playhead run transcode", "ffmpeg alone"))
    sessions = section.rates[0].per_second * _CHUNK_SECONDS / _SPEAKERS
    section.results.append(Result("sessions transcoded in real time", "10 s", sessions, "sessions", _WANTED))
    section.results.append(
        Result("CPU of ffmpeg alone / of transcode", "10 s", section.rates[1].cpu / section.rates[0].cpu, "x")
    )
    stack.start_over()
    with _running(stack, "recordings", "transcode", "promote") as processes:
        whole = hold("1 s", 1, {"from PCM to recordings": lambda: _promote(stack, processes, 1 if quick else 6)})
    section.rates += whole.rates()
    section.results.append(
        Result("sessions promoted in real time", "1 s", section.rates[-1].per_second, "sessions", _WANTED)
    )
    stack.start_over()
    return section


def _transcode(stack: Stack, process: "subprocess.Popen[bytes]", sessions: int) -> Turn:
    before = stack.client.xlen(_RECORDINGS.key)
    with _stopped(process):
        chunks = _record(stack, sessions, 2)
        shutil.rmtree(_kept(stack), ignore_errors=True)
        shutil.copytree(_directory(stack) / "pcm", _kept(stack))
        silent = stack.client.xlen(_RECORDINGS.key) - before - chunks
        with timed(chunks, client=process.pid, server=stack.redis_pid) as turn:
            process.send_signal(signal.SIGCONT)
            wanted = before + silent + chunks * _EVENTS_A_CHUNK
            stack.wait_until(lambda: stack.client.xlen(_RECORDINGS.key) >= wanted, process)
    return turn


def _promote(stack: Stack, processes: "Sequence[subprocess.Popen[bytes]]", sessions: int) -> Turn:
    with psycopg.connect(stack.database_url, autocommit=True, row_factory=scalar_row) as connection:

        def promoted() -> int:
            return (
                connection.execute("SELECT count(*) FROM playhead.meetings WHERE status = 'PROMOTED'").fetchone() or 0
            )

        wanted = promoted() + sessions
        with _stopped(*processes[1:]):
            seconds = _record(stack, sessions, 3) // _SPEAKERS * _CHUNK_SECONDS
            pids = [process.pid for process in processes]
            with timed(seconds, client=pids, server=stack.redis_pid) as turn:
                for process in processes[1:]:
                    process.send_signal(signal.SIGCONT)
                stack.wait_until(lambda: promoted() >= wanted)
    return turn


def _record(stack: Stack, sessions: int, length: int) -> int:
    """Record sessions of so many chunks a speaker, as fast as the disk takes them; gives the number of chunks."""
    voices = [
        speak(_CHUNK_SECONDS, 110 + 40 * n, rate=_FORM.rate, channels=_FORM.channels, seed=n) for n in range(_SPEAKERS)
    ]

    async def run() -> None:
        with Producer(stack.redis_url) as producer:
            recorder = Recorder(producer, _directory(stack), _FORM)
            for _ in range(sessions):
                name = f"session-{stack.samples.made}"
                stack.samples.made += 1
                async with recorder.session(name, "g", "c", again=True) as session:
                    for chunk in range(length):
                        for number, pcm in enumerate(voices):
                            session.write(f"speaker-{number}", pcm, at=chunk * _CHUNK_SECONDS)

    asyncio.run(run())
    return sessions * length * _SPEAKERS


def _directory(stack: Stack) -> Path:
    return stack.data_dir / "recordings"


def _kept(stack: Stack) -> Path:
    return stack.data_dir / "pcm"


@contextmanager
def _running(stack: Stack, *names: str) -> "Generator[list[subprocess.Popen[bytes]], None, None]":
    processes = [playhead(stack, "run", name) for name in names]
    try:
        for name, process in zip(names, processes, strict=True):
            stack.wait_until(_is_there(stack, name), process)
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in processes:
            process.wait(60)


def _is_there(stack: Stack, name: str) -> Callable[[], bool]:
    def look() -> bool:
        return bool(stack.client.exists(_RECORDINGS.key)) and any(
            group["name"] == name.encode() for group in stack.client.xinfo_groups(_RECORDINGS.key)
        )

    return look


@contextmanager
def _stopped(*processes: "subprocess.Popen[bytes]") -> Generator[None, None, None]:
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
