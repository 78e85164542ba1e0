"""Errors of the settings.

- PlayheadError
    - ServersNotRunning  a command needs a server, and there is none
    - InvalidSetting
        - InvalidValue   the value of a setting cannot be used
"""

from pathlib import Path

from playhead.embedded.servers import is_silent
from playhead.settings.sources import Given
from playhead.streams.errors import InvalidSetting, PlayheadError


class ServersNotRunning(PlayheadError):
    """No server: start `playhead up` in another terminal, or name your own server in the setting."""

    def __init__(self, setting: str, data_dir: Path) -> None:
        name = "valkey" if setting == "REDIS_URL" else "postgres"
        super().__init__(
            f"the embedded {name} in {data_dir} does not answer: restart the `playhead up` that runs there"
            if is_silent(data_dir, name)
            else f"{setting} is not set and no embedded server runs in {data_dir}: start "
            f"`playhead up --data-dir {data_dir}` in another terminal, or set {setting}"
        )


class InvalidValue(InvalidSetting):
    """The value of a setting is not valid: the message says which, its origin, and what it must be."""

    def __init__(self, setting: Given, problem: str) -> None:
        super().__init__(f"{setting.name} ({setting.origin}) {problem}")
        self.name = setting.name
