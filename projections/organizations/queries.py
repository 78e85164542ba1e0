"""What people ask about organizations, as SQL."""

import re
from pathlib import Path

_HERE = Path(__file__).parent / "queries"
_ID = re.compile(r"[0-9a-fA-F-]{4,36}")
_WORD = re.compile(r"\w+")

SEARCH, BY_ID, ORGANIZATION, OUTCOMES, TABLES = (
    (_HERE / f"{name}.sql").read_bytes() for name in ("search", "by_id", "organization", "outcomes", "tables")
)
PARTS = {
    name: (_HERE / f"{name}.sql").read_bytes() for name in ("locations", "services", "phones", "schedules", "sources")
}
"""What belongs to an organization, by table."""


def prefixes(words: str) -> str:
    """A tsquery for names that have all the words, the last of them as a prefix."""
    found = _WORD.findall(words.lower())
    return " & ".join([*(f"'{word}'" for word in found[:-1]), *(f"'{word}':*" for word in found[-1:])])


def is_id(text: str) -> bool:
    """Whether the text may begin an id."""
    return _ID.fullmatch(text) is not None
