"""The benchmarks run; how fast is nobody's business here."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["append", "memory", "replay", "recordings", "organizations"])
def test_a_benchmark_runs_against_real_processes_and_prints_its_ratio(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--only", name, "--directory", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.returncode == 0
    assert " x " in done.stdout
    assert [] == list(tmp_path.iterdir())


def test_the_peak_memory_of_a_command_is_its_own_and_not_that_of_who_measures_it():
    ballast = b"x" * (200 << 20)

    small, large = (_peak(f"held = b'x' * ({mebibytes} << 20)") for mebibytes in (1, 100))

    assert len(ballast) >> 20 == 200
    assert small < 50
    assert 100 < large < 150


def _peak(code: str) -> float:
    command = [sys.executable, "-m", "benchmarks.peak", sys.executable, "-c", code]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["mebibytes"]
