"""What commands print: nothing of an event does anything to a terminal, and nobody is flooded."""

import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from playhead.streams.errors import InvalidEvent
from playhead.streams.events import parse_time
from playhead.streams.positions import Position
from playhead.streams.printable import cut, printable, printable_json, quoted
from playhead.terminal.output import counted, print_json, print_json_line, print_lines, print_table, say

HOSTILE = {
    "escape": "\x1b]0;owned\x07",
    "csi": "\x1b[2Jgone",
    "c1": "\x9b31mred",
    "line break": "one\nplayhead: all is well",
    "return": "bad\rgood",
    "line separator": "one\u2028two",
    "next line": "one\x85two",
    "backspace": "bad\b\b\bok ",
    "right to left": "\u202egpj.exe",
    "isolate": "\u2066a\u2069",
    "zero width": "a\u200bb",
    "tag": "a\U000e0041b",
    "delete": "\x7f",
    "surrogate": "\udce9",
    "nul": "\0",
}
ORDINARY = "Zoë, 東京, مرحبا, 🎧 ok"


def test_one_is_singular_and_any_other_number_plural():
    assert ["0 faults", "1 fault", "2 faults"] == [counted(number, "fault") for number in range(3)]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_stands_in_data_is_one_line_of_printable_text(capsys, text):
    print_lines(text)
    print_table(("A", "B"), [(text, 1)])
    print_json_line(printable(text))
    say(f"x {text}")
    printed = capsys.readouterr()

    assert 4 == printed.out.count("\n") == len(printed.out.splitlines())
    assert 1 == printed.err.count("\n") == len(printed.err.splitlines())
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))


@pytest.mark.parametrize("text", [text for name, text in HOSTILE.items() if name != "surrogate"])
def test_json_of_it_is_printable_and_the_same_value(capsys, text):
    print_json({text: [text, ORDINARY]})
    printed = capsys.readouterr().out

    assert {text: [text, ORDINARY]} == json.loads(printed)
    assert all(line.isprintable() for line in printed.split("\n"))


def test_json_as_it_was_recorded_stays_the_same_value():
    recorded = '{\t"a":\r"\x7f\x9b\u202e\U000e0041"}'

    assert json.loads(recorded) == json.loads(printable_json(recorded))


def test_ordinary_text_stays_as_it_is(capsys):
    print_lines(ORDINARY)

    assert f"{ORDINARY}\n" == capsys.readouterr().out


def test_a_cell_of_a_table_and_what_an_error_quotes_have_a_limit(capsys):
    print_table(("A",), [("x" * 10_000_000,)])
    refused = InvalidEvent("x" * 10_000_000, "y" * 10_000_000)

    assert 1_100 > len(capsys.readouterr().out)
    assert 2_200 > len(str(refused))
    assert "... (10000000 characters)" == cut("x" * 10_000_000)[1000:]


@pytest.mark.parametrize("read", [parse_time, Position.parse])
def test_an_error_quotes_a_short_piece_of_a_value_and_says_what_is_expected(read):
    with pytest.raises(InvalidEvent, match="is not a") as refused:
        read("\x1b" * 10_000_000)

    assert 600 > len(str(refused.value))


def test_a_quoted_value_is_as_python_writes_it():
    assert ["'a'", "b'a'", "5", "None"] == [quoted(value) for value in ("a", b"a", 5, None)]


LOGGING = """
import logging, sys, structlog
from playhead.terminal import diagnostics
diagnostics.configure(sys.argv[1])
hostile = "\\x1b[2J\\x9b\\u202e\\nplayhead: all is well" + "x" * 10_000_000
log = structlog.get_logger()
log.error(hostile, reason=hostile, listed=[hostile], url="redis://user:hunter2@host" + "y" * 2_000_000)
logging.getLogger("library").error("from %s", hostile)
try:
    raise ValueError(hostile)
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_messages_of_a_process_are_printable_and_bounded(form):
    done = subprocess.run([sys.executable, "-c", LOGGING, form], capture_output=True, check=True)
    said = done.stderr.decode()
    lines = said.rstrip("\n").split("\n")

    assert 20_000 > len(said)
    assert all(line.replace("\x1b[", "").isprintable() for line in lines)
    assert "\x1b" not in said  # it is no terminal, so it has no colors either
    assert "hunter2" not in said
    assert not any(line.startswith("playhead: all is well") for line in lines)
    if form == "json":
        assert 3 == len([json.loads(line) for line in lines])


def test_places_stay_an_object_however_many_they_are():
    code = (
        "import structlog; from playhead.terminal import diagnostics; diagnostics.configure('json')\n"
        "places = {f'{n} metrics': 'http://127.0.0.1/' + 'x' * 2 * n * n for n in range(40)}\n"
        "structlog.get_logger().info('ready', places=places)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    places = json.loads(done.stderr)["places"]

    assert {f"{n} metrics" for n in range(40)} == places.keys()
    assert "http://127.0.0.1/" == places["0 metrics"]
    assert 1100 > len(places["39 metrics"])


def test_recorded_lines_are_escaped_for_a_terminal_and_whole_for_a_pipe():
    code = 'from playhead.terminal.output import write; write([b\'{"a":"\\x7f\\xc2\\x9b"}\\n\'])'

    assert (
        b'{"a":"\x7f\xc2\x9b"}\n'
        == subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    assert b'{"a":"\\u007f\\u009b"}\r\n' == on_terminal([sys.executable, "-c", code])


def test_an_unexpected_error_does_nothing_to_a_terminal():
    code = (
        "from playhead.terminal.ending import run\n"
        "def broken(): raise RuntimeError('\\x1b[2J\\u202e')\n"
        "raise SystemExit(run(broken))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert 1 == done.returncode
    assert done.stderr.startswith(b"  Traceback")
    assert done.stderr.endswith(b"RuntimeError: \\x1b[2J\\u202e\n")


def on_terminal(command: list[str]) -> bytes:
    """What a command prints to a terminal."""
    parent, child = pty.openpty()
    read: list[bytes] = []

    def reading() -> None:
        with suppress(OSError):  # EIO is its end
            while piece := os.read(parent, 65536):
                read.append(piece)

    reader = threading.Thread(target=reading)
    reader.start()
    subprocess.run(command, stdout=child, stderr=child, check=True)
    os.close(child)
    reader.join()
    os.close(parent)
    return b"".join(read)
