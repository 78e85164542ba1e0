"""What Postgres cannot hold, such as text with NUL: no row has it, and asking for it ends the whole question."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import psycopg

Key = TypeVar("Key")
Answer = TypeVar("Answer")


def ask_representable(
    keys: Sequence[Key], ask: Callable[[Sequence[Key]], Answer]
) -> Iterator[tuple[Sequence[Key], Answer]]:
    """Give keys in parts, each with what `ask` answers for it; keys that Postgres refuses are left out.

    `ask` is called again with fewer keys if Postgres refuses one: each call must be a transaction of its own.
    """
    if not keys:
        return
    try:
        answer = ask(keys)
    except (psycopg.DataError, UnicodeEncodeError, OverflowError):  # NUL, lone surrogates, numbers out of range
        middle = len(keys) // 2
        if middle:
            yield from ask_representable(keys[:middle], ask)
            yield from ask_representable(keys[middle:], ask)
        return
    yield keys, answer
