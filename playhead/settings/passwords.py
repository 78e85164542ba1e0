"""Passwords that users and roles are to have, from the environment."""

import os
from collections.abc import Iterable

from playhead.streams.errors import InvalidSetting
from playhead.streams.names import password_variable


def given_passwords(server: str, roles: Iterable[str]) -> dict[str, str]:
    """The password of each role, by the name of the role.

    Raises:
        InvalidSetting: names every variable that is missing.
    """
    found = {role: os.environ.get(password_variable(server, role), "") for role in roles}
    if missing := [password_variable(server, role) for role, password in found.items() if not password]:
        raise InvalidSetting(f"the environment has no {', '.join(missing)}: set a password for each")
    return found
