"""The documentation names everything that a person can type or set."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from playhead.commands.app import commands, listed, make_app
from playhead.settings.settings import declared
from playhead.streams.names import OpenTelemetryVariable, TrustVariable

DOCS = Path(__file__).parents[2] / "docs"
app = make_app()
COMMANDS = commands(app)
LISTED = listed()


@pytest.fixture(scope="module")
def documented() -> str:
    return "\n".join(path.read_text() for path in sorted(DOCS.glob("*.md")))


def sections() -> dict[str, str]:
    """The text below each heading of docs/commands.md, by the command in the heading."""
    found = re.split(r"^#+ `playhead ([^`]+)`$", (DOCS / "commands.md").read_text(), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def options(command: str) -> set[str]:
    arguments = COMMANDS[command].assemble_argument_collection(default_parameter=app.default_parameter)
    keywords = [argument for argument in arguments if argument.index is None]
    return {name for argument in keywords for name in argument.names if name.startswith("--")}


def test_every_command_has_a_section_and_every_section_a_command():
    assert sections().keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command):
    missing = [name for name in sorted(options(command) - {"--data-dir"}) if f"`{name}" not in sections()[command]]

    assert missing == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command, capsys):
    app([*command.split(), "--help"], result_action="return_value", exit_on_error=False)

    assert re.search(rf"playhead {command}|playhead env", capsys.readouterr().out.partition("\n")[2])


@pytest.mark.parametrize("name", LISTED)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    command = app[name]
    said = command.help if command.default_command is None else inspect.getdoc(command.default_command)

    assert said.partition("\n")[0] == LISTED[name][1]


def test_a_command_that_is_typed_has_its_whole_help():
    done = subprocess.run([sys.executable, "-m", "playhead", "status", "--help"], capture_output=True, check=True)

    assert b"--watch" in done.stdout
    assert b"playhead status --watch" in done.stdout


@pytest.mark.parametrize(
    ("command", "not_needed"),
    [
        ("env", {b"redis", b"psycopg", b"faststream", b"structlog", b"rich"}),
        ("status", {b"psycopg", b"faststream", b"structlog", b"rich"}),
        ("run", {b"redis", b"psycopg", b"faststream", b"structlog", b"rich"}),
    ],
)
def test_a_command_loads_no_more_than_it_needs(command, not_needed):
    script = "import sys; from playhead.commands.app import choose; choose(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, command], capture_output=True, check=True)

    assert not not_needed & set(done.stdout.split())


@pytest.mark.parametrize("name", [*declared(), *OpenTelemetryVariable, TrustVariable.TRUSTED_UIDS])
def test_every_setting_is_documented(name, documented):
    assert f"`{name}`" in documented


def test_every_documented_setting_exists(documented):
    named = set(re.findall(r"`((?:PLAYHEAD|REDIS|DATABASE|OUTPUT|EVENT_LOG)_[A-Z_]+)`", documented))
    of_compose = set(re.findall(r"\$\{(\w+)", (DOCS.parent / "compose.yaml").read_text()))

    assert named <= declared().keys() | of_compose | {"PLAYHEAD_", TrustVariable.TRUSTED_UIDS}


def test_help_says_no_default_of_a_flag_and_that_of_any_other_option(capsys):
    app(["replay", "--help"], result_action="return_value", exit_on_error=False)
    assert "default:" not in capsys.readouterr().out

    app(["recordings", "stuck", "--help"], result_action="return_value", exit_on_error=False)
    assert "[default: 300]" in " ".join(capsys.readouterr().out.split())
