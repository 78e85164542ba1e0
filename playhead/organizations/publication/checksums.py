"""`SHA256SUMS`: what was published in a directory, as `sha256sum --check` reads it."""

from pathlib import Path

NAME = "SHA256SUMS"
_DIGEST = 64


def read_sums(directory: Path) -> dict[str, str]:
    """The digest of each file by its path below the directory; empty if nothing was published."""
    try:
        text = (directory / NAME).read_text()
    except FileNotFoundError:
        return {}
    lines = (line.partition("  ") for line in text.splitlines())
    return {name: digest for digest, mark, name in lines if mark and len(digest) == _DIGEST and _is_below(name)}


def render_sums(sums: dict[str, str]) -> bytes:
    """Lay the file out, sorted by path."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def _is_below(name: str) -> bool:
    """Whether a path stays below its directory: what it names may be removed one day."""
    return bool(name) and not name.startswith("/") and ".." not in name.split("/")
