"""What `--help` prints, on the narrowest of usual terminals."""

import inspect
import io
from itertools import pairwise

import pytest
from rich.console import Console

from playhead.commands.app import commands, make_app

app = make_app()
COMMANDS = commands(app)
WIDTH = 80


def printed(command: str) -> tuple[list[list[str]], str]:
    """The lines of each paragraph, and the example."""
    shown = io.StringIO()
    app.help_print(command.split(), console=Console(file=shown, width=WIDTH))
    text, _, example = shown.getvalue().partition("\nExample:\n")
    return [paragraph.splitlines() for paragraph in text.split("\n\n")], example.rstrip()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_all_that_the_docstring_says_and_breaks_lines_only_where_it_must(command):
    said, _, example = inspect.getdoc(COMMANDS[command].default_command).partition("\nExample:\n")
    paragraphs, printed_example = printed(command)
    text = [" ".join(" ".join(lines).split()) for lines in paragraphs]
    described, _, arguments = said.partition("\nArgs:\n")
    expected = [" ".join(paragraph.split()) for paragraph in described.strip().split("\n\n")]

    assert expected == text[1 : 1 + len(expected)]
    assert [] == [line for line in arguments.splitlines() if line and not line.startswith("    ")]
    assert example.rstrip() == printed_example
    for lines in paragraphs[1 : 1 + len(expected)]:
        assert all(len(line.rstrip()) + 1 + len(rest.split()[0]) > WIDTH for line, rest in pairwise(lines))
