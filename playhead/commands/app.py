"""The commands that people type.

A command's module is loaded when the command is typed, for most of what a process pays before it begins is imports.
"""

import inspect
import re
from collections.abc import Sequence
from textwrap import indent

from cyclopts import App, Parameter

from playhead.settings.core import refuse_taken
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import resolve
from playhead.streams.errors import DomainsCollide

_WITHIN_PARAGRAPH = re.compile(r"(?<=\S)\n(?=\S)")

CORE = {
    "init": (
        "playhead.commands.init:init",
        "Write a small domain of your own: a projection, a worker, their tests and a playhead.toml.",
    ),
    "append": (
        "playhead.commands.append:append",
        "Append one event, or without TYPE one for each JSON line on stdin, and print the positions.",
    ),
    "spool": (
        "playhead.commands.spool:spool",
        "Show the events that wait in a spool for Redis; exit code 4 if some are damaged.",
    ),
    "status": (
        "playhead.commands.status:status",
        "Show the position, lag and health of every consumer; exit code 5 if one is behind or does not run.",
    ),
    "consumers": (
        "playhead.commands.consumers.command:consumers_app",
        "List every consumer, the streams that it reads, and the package that declares it.",
    ),
    "doctor": (
        "playhead.commands.doctor:doctor",
        "Check settings, servers, directories and consumers, and say what to fix; changes nothing.",
    ),
    "verify": (
        "playhead.commands.verify:verify",
        "Check that every logged event reached every projection, and name what is missing or wrong.",
    ),
    "backup": (
        "playhead.commands.backup:backup_app",
        "Copy the event log, and all that cannot be derived from it, into a directory or bucket, while consumers run.",
    ),
    "restore": (
        "playhead.commands.restore:restore",
        "Bring back what `playhead backup` copied, where the settings say; the event log there must be empty.",
    ),
    "adopt": (
        "playhead.commands.adopt:adopt",
        "Give every place that the settings name the id of the event log: Redis, database, directories and buckets.",
    ),
    "log": ("playhead.commands.log:log_app", "Read and check the event log."),
    "replay": (
        "playhead.commands.replay.command:replay_app",
        "Replay the log or a recorder's JSON files; files whose events the log lacks are imported, once.",
    ),
    "subscriptions": (
        "playhead.commands.subscriptions:subscriptions_app",
        "List and forget the cursors that subscriptions keep by name.",
    ),
    "parked": ("playhead.commands.parked:parked_app", "List, retry and drop events that failed permanently."),
    "config": ("playhead.commands.config:config_app", "Show and check the settings."),
    "db": ("playhead.commands.db:db_app", "Upgrade the database of the projections, and make its roles."),
    "redis": ("playhead.commands.redis:redis_app", "Show and set the users of Redis."),
    "up": (
        "playhead.commands.up:up",
        "Start the embedded servers and every consumer, until Ctrl-C.",
    ),
    "demo": ("playhead.commands.demo:demo", "Show the whole product on embedded servers, in a fresh directory."),
    "run": ("playhead.commands.run:run", "Run one process of a consumer until SIGTERM or Ctrl-C."),
    "env": ("playhead.commands.config:env", "Print the URLs of the servers, passwords included, for eval."),
    "completion": (
        "playhead.commands.completion:completion",
        "Print a script that completes commands and options, of every installed domain, in your shell.",
    ),
}
"""Where each command of core is, and its first sentence for the list of all."""


def listed() -> dict[str, tuple[str, str]]:
    """Where each command of core and of the domains is, and its first sentence for the list of all.

    Raises:
        DomainsCollide: a domain declares a command of core.
    """
    for domain in installed().domains:
        if taken := CORE.keys() & domain.commands.keys():
            raise DomainsCollide(
                f"playhead and {domain.module} both declare the command {min(taken)}: rename that of {domain.module}"
            )
    return CORE | {name: (command.target, command.help) for name, command in installed().commands.items()}


def make_app() -> App:
    """The command line, with every command of core and of the domains.

    Raises:
        PlayheadError: a domain cannot be loaded, or two declare the same name.
    """
    app = App(
        name="playhead",
        help="Records what background jobs did, forever, and derives everything else from it.",
        help_epilogue="Start with `playhead demo`, or `playhead up` and `playhead append --help`. Exit codes: 0 done, "
        "1 failed, 2 usage, 3 a server cannot be reached, 4 data corrupt, 5 not caught up, 130 interrupted.",
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=_shown),
    )
    refuse_taken(installed().domains)
    for name, (path, summary) in listed().items():
        app.command(path, name=name, help=summary)
    return app


def _shown(default: object) -> str | None:
    """What help says of a default: nothing of a flag, which is off until it is given."""
    return None if default is False or default is None else str(default)


def choose(tokens: Sequence[str]) -> App:
    """Load the command that is typed, if one is, so that its help says all that its docstring says."""
    app = make_app()
    for domain in installed().domains:
        for command in domain.commands.values():
            if command.name in tokens[:1]:
                resolve(command.target, f"the command {command.name} of the domain {domain}")
    names, chain, _ = app.parse_commands(tokens)
    for name, command in zip(names, chain[1:], strict=True):
        if not name.startswith("-"):
            _document(command)
    return app


def commands(group: App) -> dict[str, App]:
    """Every command below a group that does something, by what one types."""
    found: dict[str, App] = {}
    for name in group:
        if name.startswith("-"):
            continue
        below = group[name]
        if below.default_command is not None:
            _document(below)
            found[name] = below
        found |= {f"{name} {rest}": one for rest, one in commands(below).items()}
    return found


def _document(command: App) -> None:
    """Make a command's help its whole docstring, wrapped by the terminal alone; the example, at the end, is not."""
    if command.default_command is None:
        return
    said, _, example = (inspect.getdoc(command.default_command) or "").partition("\nExample:\n")
    description, _, arguments = said.partition("\nArgs:\n")
    command.help = _WITHIN_PARAGRAPH.sub(" ", description) + (arguments and f"\nArgs:\n{arguments}")
    if example:
        command.help_epilogue = "Example:\n" + indent(inspect.cleandoc(example), "    ") + "\n"
