"""Text from data on its way to a person: it moves no cursor, begins no line and turns no direction of writing.

Whatever is printed or logged passes `printable`, or `printable_json`, which loses nothing.
"""

LIMIT = 1000
"""Characters that are kept of what an error quotes, a reason says or a line of a table has."""
_SHORT = 100


def printable(text: str, limit: int | None = None) -> str:
    """Escape what is not printable, line breaks too, and cut off what is beyond the limit."""
    if limit is not None:
        text = cut(text, limit)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_lines(text: str) -> str:
    """Escape what is not printable, but for line breaks and tabs.

    The lines of what is not all our own, such as a traceback, are to be indented: none is taken for a message then.
    """
    return "".join(one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text)


def printable_json(text: str) -> str:
    r"""Write what is not printable in the strings of JSON as `\uXXXX`; it stays the same JSON."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in text)


def cut(text: str, limit: int = LIMIT) -> str:
    """The beginning of a text, which says how long it was if that is not all of it."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def quoted(value: object) -> str:
    """A short piece of a value as a message has it to be recognized by; text is in quotes."""
    if not isinstance(value, str | bytes):
        return cut(repr(value), _SHORT)
    return repr(value) if len(value) <= _SHORT else f"{value[:_SHORT]!r}..."


def _escaped(one: str) -> str:
    if one == "\r":  # stands between tokens: in a string it is written as \r
        return " "
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
