"""What commands print: data on stdout, messages on stderr."""

import sys
from collections.abc import Iterable, Sequence

import msgspec


def print_json(value: object) -> None:
    """Print a record as JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a head, columns as wide as their widest cell, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    right = [bool(cells) and all(_is_number(row[index]) for row in cells) for index in range(len(head))]
    for row in (head, *cells):
        line = "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        print(line.rstrip())


def say(text: str) -> None:
    """Print a message to the person at the terminal."""
    print(f"playhead: {text}", file=sys.stderr, flush=True)


def counted(number: int, noun: str) -> str:
    """A number of things: `1 event`, `2 events`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_number(cell: str) -> bool:
    return cell in {"?", "-"} or cell.replace(".", "", 1).isdecimal()


def one_line(error: BaseException) -> str:
    """The lines of an error as one."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
