"""kill -9 at every system call of a commit of job files."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.commit import commit
from tests.faults.reports import Harm, Report
from tests.support.fork_server import ROOT

CALLS = ("mkdir,mkdirat", "rename,renameat,renameat2", "fsync,fdatasync", "write", "unlink,unlinkat", "symlinkat")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_job_file_is_whole_or_not_there_wherever_its_commit_is_cut(tmp_path, report, full, seed):
    points, harm = kill_everywhere(tmp_path / "real", CALLS, every=1 if full else 5)
    naive_points, control_harm = kill_everywhere(tmp_path / "naive", ["write"], every=1, naive=True)

    assert points > 5, "strace killed nothing"
    report(
        Report(
            "kill -9 at a system call of the commit",
            "json-files",
            "no half file to be seen, the rest comes again",
            points,
            harm,
            f"written in place, {naive_points} calls",
            control_harm,
            None,
            seed,
            "none",
        )
    )


def kill_everywhere(root: Path, which: Sequence[str], *, every: int, naive: bool = False) -> tuple[int, Harm]:
    """Kill at each call below the root, one run a call, and count what a reader finds half and what a retry misses."""
    points = lost = wrong = 0
    for calls in which:
        for when in range(1, 1000, every):
            directory = root / f"{calls.partition(',')[0]}-{when}"
            directory.mkdir(parents=True)
            if not is_killed(directory, calls, when, naive=naive):
                break
            points += 1
            wrong += count_broken(directory)
            if not naive:
                commit(directory, 2)
                wrong += count_broken(directory)
                lost += 2 - len(job_files(directory))
                summary = json.loads((directory / "daily/2025-08-09/summary.json").read_bytes())
                wrong += summary["total_jobs"] != 2
    return points, Harm(lost=lost, wrong=wrong)


def is_killed(directory: Path, calls: str, when: int, *, naive: bool) -> bool:
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    trace += ["-e", f"inject={calls}:signal=KILL:when={when}"]
    command = [sys.executable, "-B", "-m", "tests.faults.commit", str(directory), *(["naive"] if naive else [])]
    return subprocess.run([*trace, *command], check=False, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL


def job_files(directory: Path) -> list[Path]:
    return [*directory.glob("daily/*/scrapers/*/*.json")]


def count_broken(directory: Path) -> int:
    broken = 0
    for path in [*job_files(directory), *directory.glob("daily/*/summary.json")]:
        try:
            json.loads(path.read_bytes())
        except ValueError:
            broken += 1
    return broken
