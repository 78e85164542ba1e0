"""What commands print: data on stdout, messages on stderr. Every string passes `printable` on its way."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from playhead.streams.printable import LIMIT, printable, printable_json, printable_lines


def print_lines(*lines: str) -> None:
    """Print each text on a line of its own, which nothing in it ends."""
    for line in lines:
        print(printable(line))


def print_json(value: object) -> None:
    """Print a record as JSON."""
    print(printable_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def print_json_line(value: object) -> None:
    """Print a record as JSON on one line."""
    print(printable_json(msgspec.json.encode(value).decode()))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a head, columns as wide as their widest cell, numbers to the right."""
    cells = [[printable(str(cell), LIMIT) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    right = [bool(cells) and all(_is_number(row[index]) for row in cells) for index in range(len(head))]
    for row in (head, *cells):
        line = "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        print(line.rstrip())


def write(pieces: Iterable[bytes], *, is_json: bool = True) -> None:
    """Write what was recorded, as it is; for a terminal, with what is not printable escaped."""
    if sys.stdout.isatty():
        escape = printable_json if is_json else printable_lines
        pieces = (escape(piece.decode("utf-8", "backslashreplace")).encode() for piece in pieces)
    sys.stdout.buffer.writelines(pieces)
    sys.stdout.buffer.flush()


def say(*lines: str) -> None:
    """Print a message to the person at the terminal; all lines but the first stand for themselves."""
    first, *others = map(printable, lines)
    print("\n".join((f"playhead: {first}", *others)), file=sys.stderr, flush=True)


def moment(seconds: float) -> str:
    """A time of the Unix clock, RFC 3339 in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 event`, `2 events`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_line(said: BaseException | str) -> str:
    """The lines of an error as one."""
    return "; ".join(line.strip() for line in str(said).splitlines() if line.strip())


def _is_number(cell: str) -> bool:
    return cell in {"?", "-"} or cell.replace(".", "", 1).isdecimal()
