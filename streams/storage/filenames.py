"""File names for ids: safe in one path component, and reversible."""

import hashlib
import re

_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]")
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
_LIMIT = 200
_KEPT = 120
_EMPTY = "%"
_LONG = "~"


def encode_name(identifier: str) -> str:
    """Percent-encode the UTF-8 bytes outside `[A-Za-z0-9._-]` and a leading dot; the empty id becomes `%`.

    A name over 200 bytes is cut and ends in `~` and the SHA-256 of the id; no other name holds a `~`.
    """
    if not identifier:
        return _EMPTY
    if len(identifier) <= _LIMIT and _SAFE.fullmatch(identifier):
        return identifier
    data = identifier.encode("utf-8", "surrogatepass")
    name = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], data).decode("ascii")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LIMIT:
        name = re.sub(r"%.?$", "", name[:_KEPT]) + _LONG + hashlib.sha256(data).hexdigest()
    return name


def decode_name(name: str) -> str:
    """Give the id back.

    Raises:
        ValueError: the name was cut, so the id stands only inside the file, or it is not a name of ours.
    """
    if name == _EMPTY:
        return ""
    if _LONG in name:
        raise ValueError(f"{name!r} was shortened: read the id inside the file")
    data = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), name.encode())
    identifier = data.decode("utf-8", "surrogatepass")
    if encode_name(identifier) != name:
        raise ValueError(f"{name!r} is not an encoded id")
    return identifier
