"""`SHA256SUMS`: what was published in a directory, as `sha256sum --check` reads it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from playhead.organizations.publication.errors import SumsTooLarge
from playhead.streams.storage.directories import opened, regular_descriptor

NAME = "SHA256SUMS"
LIMIT = 256 * 1024 * 1024
"""Bytes that such a file may have: the names of more than a million files."""

_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-f]{64})  (?P<name>.+)", re.DOTALL)
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPED = {escape: character for character, escape in _ESCAPES.items()}


def read_sums(directory: Path, folder: str = "") -> dict[str, str]:
    """The digest of each file by its path below a folder of the directory; empty if nothing was published.

    Raises:
        SumsTooLarge: nobody published that.
        UnsafePath: a link stands where the folder belongs.
    """
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # may itself be a link
    try:
        with opened(root, folder.split("/") if folder else []) as place:
            descriptor = regular_descriptor(NAME, place)
    except FileNotFoundError:
        return {}
    finally:
        os.close(root)
    return {} if descriptor is None else dict(_read(descriptor, directory / folder / NAME))


def render_sums(sums: dict[str, str]) -> bytes:
    """Lay the file out, sorted by path."""
    return "".join(_line(sums[name], name) for name in sorted(sums)).encode("utf-8", "surrogateescape")


def _read(descriptor: int, path: Path) -> Iterator[tuple[str, str]]:
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size > LIMIT:
            raise SumsTooLarge(f"{path} is over {LIMIT} bytes, so `playhead publish` did not write it: move it away")
        content = file.read()
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        if (found := _LINE.fullmatch(line)) is not None:
            name = found["name"]
            if found["escaped"]:
                name = re.sub(r"\\[\\nr]", lambda escape: _ESCAPED[escape[0]], name)
            if _is_below(name):
                yield name, found["digest"]


def _line(digest: str, name: str) -> str:
    escaped = re.sub(r"[\\\n\r]", lambda character: _ESCAPES[character[0]], name)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _is_below(name: str) -> bool:
    """Whether a path stays below its directory, and is none that is hidden: what it names may be removed one day."""
    return not any(part.startswith(".") or not part for part in name.split("/"))
