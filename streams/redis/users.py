"""The Redis users of Playhead, one for each role, with the least rights; `users.acl` has their rules."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
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
_TAKE_ALL = ("resetkeys", "resetchannels", "clearselectors", "sanitize-payload")
"""What the rules, which begin with -@all, do not; passwords, and whether the user is on, stay."""


EVERY_RIGHT = "~* &* +@all"


class User(msgspec.Struct, frozen=True):
    """What a user may do, in the words of ACL SETUSER."""

    name: str
    rules: tuple[str, ...]


class UserSet(msgspec.Struct, frozen=True):
    """A user that a server has now. The password is there if this call generated it; nobody can ask for another one.

    `had_no_password` is a user that was there and let everyone in (`nopass`), or nobody.
    """

    name: str
    password: str | None
    is_new: bool
    is_changed: bool
    had_no_password: bool
    is_on: bool
    passwords: int


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


def set_users(client: Redis, users: Iterable[User], passwords: Mapping[str, str] | None = None) -> Iterator[UserSet]:
    """Give every user its rules on one server, and a password to one that has none; one that is not there is made.

    With `passwords`, each gets the one of its name, and has no other. A user that is off stays off: somebody may have
    switched it off as its password leaked.
    """
    server = cast("Any", client)
    for user in users:
        before = server.acl_getuser(user.name)
        made = None if passwords is not None or (before and before["passwords"]) else secrets.token_hex(32)
        password = made if passwords is None else passwords[user.name]
        words = () if before else ("reset", "on")
        if password is not None:
            sha256 = hashlib.sha256(password.encode()).hexdigest()  # which the server keeps; its logs see no password
            words += ("resetpass", f"#{sha256}")
        server.execute_command("ACL", "SETUSER", user.name, *words, *_TAKE_ALL, *user.rules)
        after = server.acl_getuser(user.name)
        yield UserSet(
            user.name,
            made,
            is_new=before is None,
            is_changed=before != after,
            had_no_password=before is not None and not before["passwords"],
            is_on="on" in after["flags"],
            passwords=len(after["passwords"]),
        )


class DefaultUser(msgspec.Struct, frozen=True):
    """The default user of a server: whether it can log in, and whether it has every right.

    As this user a server loads its append-only file, and Redis drops what scripts wrote that it may not write itself.
    """

    is_on: bool
    has_every_right: bool


def default_user(client: Redis) -> DefaultUser | None:
    """The default user; None if the server does not let this one ask."""
    try:
        found = cast("Any", client).acl_getuser("default")
    except ResponseError:
        return None
    rights = [*found["keys"], *found["channels"], *found["categories"], *found["commands"]]
    return DefaultUser(is_on="on" in found["flags"], has_every_right=rights == EVERY_RIGHT.split())


def give_every_right_to_default(client: Redis) -> None:
    """Let the default user load everything; if it is off, nobody else gets anything by that."""
    cast("Any", client).execute_command("ACL", "SETUSER", "default", *EVERY_RIGHT.split())


def keep_users(client: Redis) -> bool:
    """Write the users to the server's `aclfile`; False if it has none, so that they last until it restarts."""
    try:
        cast("Any", client).execute_command("ACL", "SAVE")
    except ResponseError as error:
        if "not configured to use an ACL file" not in str(error):
            raise
        return False
    return True
