"""Bytes that nobody wrote, at every decoder of bytes from outside."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.decoders import BARE, DECODERS
from tests.faults.reports import Harm, Report

ROOT = Path(__file__).parents[2]
DONE = re.compile(r"^Done (\d+) runs", re.MULTILINE)


def test_what_a_decoder_gives_is_a_value_or_a_named_error(decoder, report, count, tmp_path):
    pytest.importorskip("atheris", reason="atheris runs on Linux on x86-64 up to Python 3.13")
    runs, found = fuzz(decoder, count(1, 60), tmp_path)
    _, control = fuzz("bare", 10, tmp_path)
    report(
        Report(
            "bytes that follow the branches of the decoder that reads them (atheris)",
            DECODERS[decoder].what,
            "a value, or an error with a name",
            runs,
            Harm(wrong=found),
            BARE.what,
            Harm(wrong=control),
            None,
            0,
            "none",
        )
    )


def fuzz(name: str, seconds: int, directory: Path) -> tuple[int, int]:
    """How many inputs were read, and how many of them broke the decoder: the first ends it."""
    command = [sys.executable, "-m", "tests.faults.fuzz", name, str(seconds)]
    ended = subprocess.run(
        command, cwd=directory, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.stdout.write(ended.stdout + ended.stderr)
        return 1, 1
    return int(DONE.findall(ended.stderr)[-1]), 0
