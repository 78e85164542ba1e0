"""`playhead redis`: the users of Redis."""

from collections.abc import Iterator
from typing import cast

from cyclopts import App
from redis import Redis

from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.settings.urls import as_user
from playhead.streams.redis.connections import connect
from playhead.streams.redis.users import ACL_FILE, UserSet, keep_users, require_one_server, set_users, users
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say

redis_app = App(name="redis", help="Show and set the users of Redis.")


@redis_app.command
def acl(*, apply: bool = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Print the rules of a Redis user for each role, as lines of an aclfile.

    A word that ends in -PASSWORD stands for the password that you choose. Rules have limits: a producer can remove
    entries and run scripts, a consumer can trim streams. See docs/security.md, Redis users.

    Args:
        apply: Set the users on the server of REDIS_URL, and print the URL of each new one, password included. A user
            that is there keeps its passwords, and stays off if it is off; one that anyone can use without a password
            gets one. Idempotent.

    Example:
        playhead redis acl --apply
    """
    if apply:
        _apply(servers(load(data_dir), postgres=False).redis_url, json=json)
    elif json:
        print_json({user.name: user.rules for user in users()})
    else:
        print_lines(*ACL_FILE.splitlines())


def _apply(url: str, *, json: bool) -> None:
    require_one_server(url)
    urls: dict[str, str | None] = {}
    with cast("Redis", connect(url)) as client:
        for user in set_users(client):
            urls[user.name] = found = user.password and as_user(url, user.name, user.password)
            if not user.is_new:
                say(f"{user.name} was there: {'; '.join(_findings(user))}")
            if found is not None and not json:
                print_lines(f"{user.name} {found}")
        is_kept = keep_users(client)
    if json:
        print_json(urls)
    if not is_kept:
        say("the server has no aclfile, so these users are gone when it restarts: docs/security.md, Redis users")
    say("when every process has its user, turn the default user off: redis-cli ACL SETUSER default off")


def _findings(user: UserSet) -> Iterator[str]:
    """What became of a user that was there, and what its administrator may want to change."""
    if user.had_no_password:
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
