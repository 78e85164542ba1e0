"""`playhead config`: every setting, where it came from, and what is wrong with it."""

import shlex

import msgspec
from cyclopts import App

from playhead.settings.servers import servers
from playhead.settings.settings import load, problems, unknown_settings
from playhead.terminal.exit_codes import DONE, FAILED, USAGE
from playhead.terminal.options import DataDir, Json
from playhead.terminal.output import print_json, print_lines, print_table

config_app = App(name="config", help="Show and check the settings.")


class Shown(msgspec.Struct, frozen=True):
    """A setting as it may be seen: secrets masked."""

    name: str
    value: str
    origin: str


class Checked(msgspec.Struct, frozen=True):
    """What is wrong with the settings, a sentence each."""

    invalid: list[str]
    unknown: list[str]


@config_app.command
def show(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show every setting, its value with secrets masked, and where the value came from.

    Example:
        playhead config show --json
    """
    shown = [Shown(setting.name, setting.shown, setting.origin) for setting in load(data_dir).origins]
    if json:
        print_json(shown)
    else:
        print_table(("SETTING", "VALUE", "FROM"), [(one.name, one.value or "-", one.origin) for one in shown])


@config_app.command
def check(*, data_dir: DataDir = None, json: Json = False) -> int:
    """Name every invalid value and every unknown setting.

    Exit code 2 if a value is invalid, 1 if a name is unknown.

    Example:
        playhead config check
    """
    found = Checked(problems(data_dir), unknown_settings())
    if json:
        print_json(found)
    else:
        for sentence in (*found.invalid, *found.unknown):
            print_lines(sentence)
        if not found.invalid and not found.unknown:
            print_lines("every setting is valid")
    return USAGE if found.invalid else FAILED if found.unknown else DONE


def env(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Print the URLs of the servers, passwords included, for eval.

    Example:
        eval "$(playhead env)" && psql "$DATABASE_URL"
    """
    reached = servers(load(data_dir))
    urls = {"REDIS_URL": reached.redis_url, "DATABASE_URL": reached.database_url}
    if json:
        print_json(urls)
    else:
        for name, url in urls.items():
            print(f"export {name}={shlex.quote(url)}")  # noqa: T201  # for eval, as it is
