"""The numbered SQL files of core and of the domains, in the order in which they are applied."""

import re
from collections.abc import Iterable
from pathlib import Path

from playhead.projections.postgres import SQL
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import DomainInvalid

_NAME = re.compile(r"(\d{4})_.+\.sql", re.ASCII)
_UNSCOPED = frozenset({"jobs/0002_jobs", "organizations/0003_organizations", "recordings/0004_recordings"})
"""Written before there were domains: they keep their names."""


def migrations(domains: Iterable[Domain] | None = None) -> dict[str, Path]:
    """Every migration of core and of the installed domains, in the order in which they are applied.

    Raises:
        DomainInvalid: a domain names a directory that has none, or an SQL file there has no number of its own.
    """
    found = {path.stem: path for path in sorted(SQL.glob("[0-9]*_*.sql"))}
    for domain in installed().domains if domains is None else domains:
        if domain.migrations is not None:
            for path in _numbered(domain, domain.migrations):
                name = f"{domain.name}/{path.stem}"
                found[path.stem if name in _UNSCOPED else name] = path
    return found


def _numbered(domain: Domain, directory: Path) -> list[Path]:
    numbered: dict[str, Path] = {}
    for path in sorted(one for one in directory.glob("*") if one.suffix.lower() == ".sql"):
        found = _NAME.fullmatch(path.name)
        if found is None:
            raise DomainInvalid(
                f"{path}, in the directory of migrations of the domain {domain}, is not named by a number of four"
                " digits and words, such as 0001_tables.sql: rename it, or move it to another directory if it is no"
                " migration"
            )
        if (other := numbered.get(found[1])) is not None:
            raise DomainInvalid(
                f"two migrations of the domain {domain} have one number, {other} and {path.name}: number them in the"
                " order in which they are to be applied"
            )
        numbered[found[1]] = path
    if not numbered:
        raise DomainInvalid(
            f"the domain {domain} has no numbered SQL file such as 0001_tables.sql in {directory}: check that its"
            " package includes them as data"
        )
    return list(numbered.values())
