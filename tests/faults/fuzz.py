"""Fuzz every decoder: `python -m tests.faults.fuzz --seconds 120 [NAME ...]`, each in a process of its own.

Needs atheris (`pip install atheris`), which is in no lock file. Nothing is instrumented: the inputs are not guided by
the branches that they take.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Callable

from consumers.ahead import decoded
from consumers.parked import original
from eventlog.errors import BadLine
from eventlog.lines import decode_line, event_id_of, holds_whole_line
from eventlog.recorder_files import NotAResult, _read
from projections.archives.archive import read_archive
from projections.archives.captured import decode_captured
from projections.archives.errors import ArchiveAltered
from projections.job_result import decode_job_result
from projections.json_files.documents import read_event_id
from projections.json_files.summaries import decode_summary
from streams.entries import RawEntry, sequence_of, subject_of
from streams.errors import InvalidEvent
from streams.events import Event
from streams.recordings import ChunkFlushed, read_payload


def entry(data: bytes) -> None:
    parts = data.split(b"\n")
    one = RawEntry(b"1-1", parts[: len(parts) // 2 * 2])
    decoded(one)
    subject_of(one)
    sequence_of(one)


def parked(data: bytes) -> None:
    parts = data.split(b"\n")
    one = original({b"parked_position": b"1-1"} | dict(zip(parts[::2], parts[1::2], strict=False)))
    decoded(one)


def line(data: bytes) -> None:
    for read in (decode_line, event_id_of, holds_whole_line):
        with contextlib.suppress(BadLine, InvalidEvent):
            read(data)


def payload(data: bytes) -> None:
    event = Event(id="1", source="s", type="job.completed", time="2025-08-09T06:36:59Z", subject="job/1", data=data)
    for read in (
        lambda event: decode_job_result(event.data),
        decode_captured,
        lambda event: read_payload(event, ChunkFlushed),
    ):
        with contextlib.suppress(InvalidEvent):
            read(event)


def recorder(data: bytes) -> None:
    with contextlib.suppress(NotAResult, InvalidEvent):
        _read(data, "a.json", None)


def files(data: bytes) -> None:
    read_event_id(data)
    with contextlib.suppress(ValueError):
        decode_summary(data)


def archive(data: bytes) -> None:
    with contextlib.suppress(ArchiveAltered):
        read_archive(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (entry, parked, line, payload, recorder, files, archive)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}; all without")
    parser.add_argument("--seconds", type=int, default=120, help="for each decoder")
    given = parser.parse_args()
    if unknown := set(given.names) - TARGETS.keys():
        parser.error(f"no decoder is called {', '.join(sorted(unknown))}")
    failed = [name for name in given.names or TARGETS if not survives(name, given.seconds)]
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "every decoder gave a value or a named error\n")
    return 1 if failed else 0


def survives(name: str, seconds: int) -> bool:
    command = [sys.executable, "-c", f"from tests.faults import fuzz; fuzz.begin({name!r}, {seconds})"]
    return subprocess.run(command, check=False).returncode == 0


def begin(name: str, seconds: int) -> None:
    """Fuzz one decoder in this process, which ends with it."""
    import atheris

    atheris.Setup([name, f"-max_total_time={seconds}", "-rss_limit_mb=1024"], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
