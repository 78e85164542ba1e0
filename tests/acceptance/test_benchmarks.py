"""The benchmarks run; how fast is nobody's business here."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["replay", "recordings", "organizations"])
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
