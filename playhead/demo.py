"""What a step of `playhead demo` works with: running servers and consumers, and a place to say what happens."""

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from redis import Redis

from playhead.checks.status import read_status
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings
from playhead.streams.errors import PlayheadError
from playhead.streams.printable import printable_lines

_POLL_SECONDS = 0.05
_DEADLINE_SECONDS = 60.0


class DemoFailed(PlayheadError):
    """The demo did not end as it should: the consumers' messages say why."""

    def __init__(self, problem: str, directory: Path) -> None:
        super().__init__(f"{problem}; see {directory / Demo.MESSAGES}")


class Demo:
    """The demo as a domain's step sees it. `missing` has the workers that cannot run here, with what they lack."""

    MESSAGES = "consumers.log"

    def __init__(
        self, client: Redis, settings: Settings, servers: Servers, messages: IO[bytes], missing: Mapping[str, str]
    ) -> None:
        self.client, self.settings, self.servers = client, settings, servers
        self.messages, self.missing = messages, missing
        self.next: list[str] = []
        self._steps = 0

    def step(self, text: str) -> None:
        """Say what happens next, with a number."""
        self._steps += 1
        self.say(f"{self._steps}. {text}")

    def say(self, text: str) -> None:
        """Say something."""
        print(printable_lines(text))  # noqa: T201
        sys.stdout.flush()

    def command(self, words: str) -> str:
        """Give what a user types to run a command of Playhead in the directory of the demo."""
        program = "playhead" if shutil.which("playhead") else sys.argv[0]
        return f"{shlex.quote(program)} {words} --data-dir {shlex.quote(str(self.settings.data_dir))}"

    def look_next(self, *lines: str) -> None:
        """Have the demo name commands at its end that show what is there now."""
        self.next += lines

    def wait_until(self, condition: Callable[[], bool], problem: str) -> None:
        """Wait for a minute at most.

        Raises:
            DemoFailed: the condition did not come true.
        """
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise DemoFailed(problem, self.settings.data_dir)
            time.sleep(_POLL_SECONDS)

    def wait_until_caught_up(self) -> None:
        """Wait until every consumer has applied every event.

        Raises:
            DemoFailed: they did not within a minute.
        """
        self.wait_until(
            lambda: read_status(self.client, self.settings.partitions, log=self.settings.event_log_dir).caught_up,
            "the consumers did not catch up within a minute",
        )
