"""What a process that reads no stream says of itself."""

import time
from typing import Literal

import msgspec

SILENCE = 30.0
"""Seconds without a heartbeat after which a process counts as stopped."""


class Beat(msgspec.Struct, frozen=True):
    """What a process says of itself at a time in seconds; `problem` is why its last round failed."""

    state: Literal["running", "stopped"]
    owner: str
    at: float
    problem: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was there a moment ago."""
        return self.state == "running" and time.time() - self.at < SILENCE
