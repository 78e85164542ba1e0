"""Ids as text: what libraries pass as ids becomes the text that files, events and tables hold."""

import operator
from typing import SupportsIndex
from uuid import UUID

from playhead.streams.recordings.files import InvalidId

Id = str | SupportsIndex | UUID | None
"""Discord libraries have integers; None is somebody or something whose id is not known."""

UNKNOWN = "unknown"


def text_of(id_: object) -> str:
    r"""An id as text: integers and UUIDs as they print, None as `unknown`.

    What JSON in UTF-8 or Postgres cannot hold, lone surrogates and NUL, is escaped as in Python: `\udce9`, `\x00`.

    Raises:
        InvalidId: it is none of these, so its text might be another one in the next process.
    """
    match id_:
        case None:
            return UNKNOWN
        case str():
            return id_.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        case bool() | UUID():
            return str(id_)
        case _:
            try:
                return str(operator.index(id_))  # pyright: ignore[reportArgumentType]  # which it tells
            except (TypeError, ValueError) as error:
                raise InvalidId(f"{type(id_).__name__} is no type of an id: pass text, an integer or a UUID") from error
