"""Passwords, hidden."""

import re

MASK = "***"


def mask(url: str) -> str:
    """Hide the passwords of a URL, or of libpq's `key=value` form."""
    masked = re.sub(r"(?<=://)([^/?#:]*):[^/?#]*@|(?<=://)([^/?#:]*):.*@", _hide, url)
    return re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]*)", rf"\1{MASK}", masked)


def _hide(found: re.Match[str]) -> str:
    return f"{found[1] if found[1] is not None else found[2]}:{MASK}@"
