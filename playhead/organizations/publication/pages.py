"""README.md and STATS.md of the data set. What they say follows from the events alone, never from the clock."""

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

_HERE = Path(__file__).parent
_FIGURES, _COMPLETENESS, _SCRAPERS = (
    (_HERE / f"{name}.sql").read_text() for name in ("figures", "completeness", "scrapers")
)
_OUTCOMES = "SELECT outcome, count(*) FROM results GROUP BY outcome ORDER BY count(*) DESC, outcome"
_DATE = len("2025-08-09")
_LONGEST = 200
_MARKUP = re.compile(r"[^\w\s,/-]|(?<![^\W_])_|_(?![^\W_])")
"""Whatever Markdown, HTML or a site's templates may take for markup; an underscore within a word is none."""

_README = """\
# Organizations, their locations and services

What {results} job results say, collected by `playhead publish`. Counts by scraper and day are in [STATS.md](STATS.md).

| | |
|---|---:|
{counts}

Results were recorded from {first} to {last}.

| file | |
|---|---|
| `organizations.sqlite` | all tables, for SQLite and Datasette: `datasette organizations.sqlite` |
| `organizations.ndjson` | an organization a line, with its locations, services, phones, schedules and sources |
| `locations.geojson` | every location with coordinates, for maps |
| `daily/` | the job results by day and scraper, a summary a day |
| `SHA256SUMS` | checksums: `sha256sum --check SHA256SUMS`, here and in each day |

Names of fields are those of the [Human Services Data Specification 3.1.1](https://docs.openreferral.org). Every row
names the newest job that says it (`job_id`, `scraper_id`, `recorded_at`).

The files are written anew with each publication; notes of your own belong in files of their own.
"""


class Figures(msgspec.Struct, frozen=True):
    """How much the tables hold; `first` and `last` are RFC 3339, null if there is no result."""

    results: int
    with_organizations: int
    repaired: int
    first: str | None
    last: str | None
    organizations: int
    locations: int
    points: int
    services: int
    phones: int
    schedules: int
    sources: int

    @property
    def share(self) -> float:
        """The part of the results that speak of an organization, of 1."""
        return self.with_organizations / self.results if self.results else 0.0


def figures(database: sqlite3.Connection) -> Figures:
    """Count what the file holds."""
    return msgspec.convert(dict(database.execute(_FIGURES).fetchone()), Figures)


def readme(found: Figures, days: Mapping[str, int]) -> bytes:
    """Render README.md; `days` are jobs by day."""
    counts = {
        "organizations": found.organizations,
        "locations": found.locations,
        "locations with coordinates": found.points,
        "services": found.services,
        "phones": found.phones,
        "schedules": found.schedules,
        f"results that speak of an organization, of {found.results:,}": found.with_organizations,
        f"jobs in `daily/`, days: {len(days):,}": sum(days.values()),
    }
    return _README.format(
        results=f"{found.results:,}",
        counts="\n".join(f"| {name} | {count:,} |" for name, count in counts.items()),
        first=(found.first or "-")[:_DATE],
        last=(found.last or "-")[:_DATE],
    ).encode()


def stats(database: sqlite3.Connection, found: Figures, days: Mapping[str, int]) -> bytes:
    """Render STATS.md."""
    parts = [
        "# Statistics",
        "## Results",
        _table(
            ("outcome", "results", "percent"),
            [
                (_text(outcome), f"{count:,}", _percent(count, found.results))
                for outcome, count in database.execute(_OUTCOMES)
            ],
        ),
        f"{found.repaired:,} results were broken JSON that could be repaired; {found.sources:,} sources in all.",
        "## Organizations with",
        _table(
            ("", "organizations", "percent"),
            [
                (what, f"{count:,}", _percent(count, found.organizations))
                for what, count in database.execute(_COMPLETENESS)
            ],
        ),
        "## Scrapers",
        _table(
            ("scraper", "results", "with organizations", "organizations", "newest result"),
            [
                (_text(scraper), f"{results:,}", f"{speaking:,}", f"{organizations:,}", last)
                for scraper, results, speaking, organizations, last in database.execute(_SCRAPERS)
            ],
        ),
        "## Days",
        _table(("day", "jobs"), [(f"[{day}](daily/{day}/summary.json)", f"{days[day]:,}") for day in sorted(days)]),
    ]
    return ("\n\n".join(parts) + "\n").encode()


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(name: str) -> str:
    """A name from the data as text of one line, in Markdown and HTML, whatever a scraper is called."""
    line = "".join(one if one.isprintable() else "\ufffd" for one in " ".join(name.split()))[:_LONGEST]
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", line)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"
