"""The Redis users of Playhead, one for each role, with the least rights; `users.acl` has their rules."""

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from playhead.streams.errors import InvalidSetting
from playhead.streams.redis.connections import RedisAddress

ACL_FILE = Path(__file__).with_name("users.acl").read_text()
"""The users as a server reads them from its `aclfile`, with a word in the place of each password."""

_ONE_SERVER = {"redis", "rediss", "unix"}
_TAKE_ALL = ("resetkeys", "resetchannels", "clearselectors")
"""What the rules, which begin with -@all, do not; the password, and whether the user is on, stay."""


class User(msgspec.Struct, frozen=True):
    """What a user may do, in the words of ACL SETUSER."""

    name: str
    rules: tuple[str, ...]


class UserSet(msgspec.Struct, frozen=True):
    """A user that a server has now, and its password if the user is new; of another one nobody can ask for it."""

    name: str
    password: str | None


def users() -> list[User]:
    """Every user of Playhead."""
    found: list[User] = []
    for line in ACL_FILE.splitlines():
        _, name, *words = line.split()
        if words[0] == "reset":
            found.append(User(name, tuple(words[3:])))
    return found


def require_one_server(url: str) -> None:
    """Refuse a URL of several servers, as each has users of its own.

    Raises:
        InvalidSetting: says what to do there.
    """
    if RedisAddress.parse(url).scheme not in _ONE_SERVER:
        raise InvalidSetting(
            "REDIS_URL names several servers, and each has users of its own: run `playhead redis acl` without --apply,"
            " put a password in the place of each word that ends in -PASSWORD, and write the lines to the aclfile of"
            " every server"
        )


def set_users(client: Redis) -> Iterator[UserSet]:
    """Give every user its rules on one server; a user that is not there yet is made, with a password."""
    for user in users():
        if cast("Any", client).acl_getuser(user.name) is not None:
            cast("Any", client).execute_command("ACL", "SETUSER", user.name, *_TAKE_ALL, *user.rules)
            yield UserSet(user.name, None)
            continue
        password = secrets.token_hex(32)
        sha256 = hashlib.sha256(password.encode()).hexdigest()  # which the server keeps; its logs see no password
        cast("Any", client).execute_command("ACL", "SETUSER", user.name, "reset", "on", f"#{sha256}", *user.rules)
        yield UserSet(user.name, password)


def keep_users(client: Redis) -> bool:
    """Write the users to the server's `aclfile`; False if it has none, so that they last until it restarts."""
    try:
        cast("Any", client).execute_command("ACL", "SAVE")
    except ResponseError as error:
        if "not configured to use an ACL file" not in str(error):
            raise
        return False
    return True
