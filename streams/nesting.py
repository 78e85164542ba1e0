"""How deep JSON may be nested: the same on every interpreter, whose own limits differ and depend on who calls."""

DEEPEST = 500
"""Levels of objects and lists; Python 3.11 can read less than 1,000, fewer the more calls are under way."""

_BRACKETS, _QUOTE = b"[{]}", b'"'
_ALIKE = bytes.maketrans(_BRACKETS, b"[[]]")
_NO_BRACKET = bytes(set(range(256)) - set(_BRACKETS))
_NEITHER = bytes(set(_NO_BRACKET) - set(_QUOTE))


def is_too_deep(data: bytes, most: int = DEEPEST) -> bool:
    """Whether JSON is nested deeper than that; of what is no JSON, whether a parser would get as deep."""
    opened = len(data) - len(data.replace(b"{", b"").replace(b"[", b""))  # several times as fast as `count`
    if opened <= most:
        return False
    brackets = data.translate(_ALIKE, _NO_BRACKET)
    # Brackets in strings cost several times as much to leave out. Few texts have enough of them to look deep.
    return _are_too_deep(brackets, most) and _are_too_deep(_without_strings(data), most)


def _are_too_deep(brackets: bytes, most: int) -> bool:
    for level in range(most):
        if brackets.count(b"[") <= most - level:
            return False
        outer = brackets.replace(b"[]", b"")  # without the innermost level
        if len(outer) == len(brackets):
            return brackets.count(b"[") > most
        brackets = outer
    return bool(brackets)


def _without_strings(data: bytes) -> bytes:
    escaped = data.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in data else data
    return b"".join(escaped.translate(_ALIKE, _NEITHER).split(_QUOTE)[::2])
