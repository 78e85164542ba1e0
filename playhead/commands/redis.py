"""`playhead redis`: the users of Redis."""

from typing import cast

from cyclopts import App
from redis import Redis

from playhead.settings.servers import servers
from playhead.settings.settings import load
from playhead.settings.urls import as_user
from playhead.streams.redis.connections import connect
from playhead.streams.redis.users import ACL_FILE, keep_users, require_one_server, set_users, users
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, say

redis_app = App(name="redis", help="Show and set the users of Redis.")


@redis_app.command
def acl(*, apply: bool = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Print the rules of a Redis user for each role, as lines of an aclfile.

    A word that ends in -PASSWORD stands for the password that you choose.

    Args:
        apply: Set the users on the server of REDIS_URL, and print the URL of each new one, password included.

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
            if found is None:
                say(f"{user.name} was there: its rules are set anew, and its password stays")
            elif not json:
                print_lines(f"{user.name} {found}")
        is_kept = keep_users(client)
    if json:
        print_json(urls)
    if not is_kept:
        say("the server has no aclfile, so these users are gone when it restarts: docs/security.md, Redis users")
    say("when every process has its user, turn the default user off: redis-cli ACL SETUSER default off")
