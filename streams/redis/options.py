"""What may stand after the ? of a URL of Redis.

An option that changes how replies are read, such as `decode_responses`, would be taken by one client and end another.
So every option is one that is known here, with a value that each of our clients can use.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from playhead.streams.errors import InvalidSetting
from playhead.streams.slips import did_you_mean

_TRUE = {"1", "true", "yes", "on", "t", "y"}
_FALSE = {"0", "false", "no", "off", "f", "n"}
_VERIFICATIONS = {"none", "optional", "required"}
_SHORTEST_TIMEOUT = 1.0
"""Seconds; a consumer waits a quarter of one for the next event, and an answer may come as late again."""
_LONGEST = 1e9


def _text(value: str) -> str:
    if not value:
        raise ValueError("text that is not empty")
    return value


def _truth(value: str) -> bool:
    if value.lower() not in _TRUE | _FALSE:
        raise ValueError("true or false")
    return value.lower() in _TRUE


def _whole(value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or int(value) > _LONGEST:
        raise ValueError("a whole number from 0 up")
    return int(value)


def _timeout(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not _SHORTEST_TIMEOUT <= seconds <= _LONGEST:
        raise ValueError("a number of seconds from 1 up; REDIS_TIMEOUT sets it, too")
    return seconds


def _verification(value: str) -> str:
    if value not in _VERIFICATIONS:
        raise ValueError(f"one of {', '.join(sorted(_VERIFICATIONS))}")
    return value


def _file(value: str) -> str:
    if not Path(value).is_file():
        raise ValueError(f"a file that is there; {value} is not")
    return value


_READ: dict[str, Callable[[str], object]] = {
    "db": _whole,
    "username": _text,
    "password": _text,
    "client_name": _text,
    "socket_timeout": _timeout,
    "socket_connect_timeout": _timeout,
    "socket_keepalive": _truth,
    "health_check_interval": _whole,
    "ssl": _truth,
    "ssl_cert_reqs": _verification,
    "ssl_check_hostname": _truth,
    "ssl_ca_certs": _file,
    "ssl_ca_path": _text,
    "ssl_ca_data": _text,
    "ssl_certfile": _file,
    "ssl_keyfile": _file,
    "ssl_password": _text,
    "ssl_ciphers": _text,
}
_HARMLESS: dict[str, set[str]] = {
    "decode_responses": _FALSE,
    "encoding": {"utf-8", "utf8"},
    "encoding_errors": {"strict"},
    "protocol": {"2"},
}
"""Options that may only say what is so anyway: replies stay the bytes that they are, in the older protocol."""
_SENTINEL = "sentinel_"


def read_options(query: str, *, sentinel: bool = False) -> dict[str, Any]:
    """Read options as the keyword arguments of redis-py that they stand for.

    Raises:
        InvalidSetting: one is not known, or has a value that cannot be used; its message quotes no password.
    """
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        bare = name.removeprefix(_SENTINEL) if sentinel else name
        if name in _HARMLESS:
            if value.lower() not in _HARMLESS[name]:
                raise unreadable(f"{name} after the ? cannot be used: it changes how replies are read; remove it")
            continue
        if (read := _READ.get(bare)) is None:
            raise unreadable(_unknown(name))
        if name in found:
            raise unreadable(f"{name} stands twice after the ?; remove one of them")
        try:
            found[name] = read(value)
        except ValueError as error:
            raise unreadable(f"{name} after the ? must be {error}") from None
    if found.get("ssl") is False:
        del found["ssl"]
    return found


def unreadable(problem: str) -> InvalidSetting:
    """The error of a URL that cannot be used, without the URL, which may hold a password."""
    return InvalidSetting(f"REDIS_URL cannot be read: {problem}")


def _unknown(name: str) -> str:
    shown = name if name.isascii() and name.isidentifier() else ascii(name)
    instead = did_you_mean(name.lower(), _READ) or f"; there are {', '.join(_READ)}"
    return f"{shown} after the ? is no option that can be used{instead}"
