"""`playhead redis`: the users of Redis."""

from collections.abc import Iterator, Sequence
from typing import cast

from cyclopts import App
from redis import Redis

from playhead.settings.passwords import given_passwords
from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.settings.urls import as_user
from playhead.streams.domains.discovery import installed
from playhead.streams.redis.connections import connect
from playhead.streams.redis.consumer_users import PREFIX, acl_file, users_of
from playhead.streams.redis.users import (
    User,
    UserSet,
    default_user,
    give_every_right_to_default,
    keep_users,
    require_one_server,
    set_users,
)
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say

redis_app = App(name="redis", help="Show and set the users of Redis.")


@redis_app.command
def acl(
    *,
    apply: bool = False,
    consumer: list[str] | None = None,
    passwords_from_environment: bool = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Print the rules of a Redis user for each role, as lines of an aclfile.

    A word that ends in -PASSWORD stands for the password that you choose. Rules have limits: a producer can remove
    entries and run scripts, a consumer can trim streams. See docs/security.md, Redis users.

    Args:
        apply: Set the users on the server of REDIS_URL, and print the URL of each new one, password included. A user
            that is there keeps its passwords, and stays off if it is off; one that anyone can use without a password
            gets one. Idempotent.
        consumer: A consumer that gets a user of its own, who can do less, in place of the one for all; repeatable.
        passwords_from_environment: With --apply, give each user the password of its variable, such as
            REDIS_PRODUCER_PASSWORD, and no other one; print no URL.

    Example:
        playhead redis acl --apply
    """
    wanted = users_of(consumer or (), installed())
    if apply:
        passwords = _passwords(wanted) if passwords_from_environment else None
        _apply(servers(load(data_dir), postgres=False).redis_url, wanted, passwords, json=json)
    elif json:
        print_json({user.name: user.rules for user in wanted})
    else:
        print_lines(*acl_file(wanted).splitlines())


def _passwords(users: Sequence[User]) -> dict[str, str]:
    found = given_passwords("redis", (user.name.removeprefix(PREFIX) for user in users))
    return {f"{PREFIX}{role}": password for role, password in found.items()}


def _apply(url: str, users: Sequence[User], passwords: dict[str, str] | None, *, json: bool) -> None:
    require_one_server(url)
    urls: dict[str, str | None] = {}
    with cast("Redis", connect(url)) as client:
        for user in set_users(client, users, passwords):
            urls[user.name] = found = user.password and as_user(url, user.name, user.password)
            if not user.is_new:
                say(f"{user.name} was there: {'; '.join(_findings(user, is_given=passwords is not None))}")
            if found is not None and not json:
                print_lines(f"{user.name} {found}")
        default = default_user(client)
        if default is not None and not default.is_on and not default.has_every_right:
            give_every_right_to_default(client)
            say("the default user, which is off, has every right again: Redis loads its append-only file as this user")
        is_kept = keep_users(client)
    if json:
        print_json(urls)
    if not is_kept:
        say("the server has no aclfile, so these users are gone when it restarts: docs/security.md, Redis users")
    if default is not None and default.is_on:
        say("when every process has its user, turn the default user off: redis-cli ACL SETUSER default off")


def _findings(user: UserSet, *, is_given: bool) -> Iterator[str]:
    """What became of a user that was there, and what its administrator may want to change."""
    if is_given:
        yield f"it has its rules and the password of the environment{' now' if user.is_changed else ' already'}"
    elif user.had_no_password:
        yield "it had no password and has a new one"
        yield f"connections that are open stay, `redis-cli CLIENT KILL USER {user.name}` ends them"
    elif user.is_changed:
        yield "its rules are set anew, and its password stays"
    else:
        yield "it has its rules already, and its password stays"
    if user.passwords > 1:
        yield (
            f"it has {user.passwords} passwords, and each of them works: `redis-cli ACL GETUSER {user.name}` shows"
            f" their hashes, `redis-cli ACL SETUSER {user.name} !HASH` removes one"
        )
    if not user.is_on:
        yield f"it is off and stays off: `redis-cli ACL SETUSER {user.name} on` turns it on"
