"""Names in STATS.md are text, whatever a scraper is called."""

import html
import re
import sqlite3
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from playhead.organizations.publication.pages import figures, stats


@pytest.mark.parametrize(
    "name",
    [
        *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "&#60;b&#62;", "a|b", "a\\|b"),
        *(
            "[a](javascript:alert(1))",
            "![a](http://example.org/a.png)",
            "[a]: http://example.org",
            "<http://a.example>",
        ),
        *("`code`", "**bold**", "_emphasis_", "__a__", "~~a~~", "# title", "http://example.org", "www.example.org"),
        *("{{ site.github }}", "{% include a %}", "food_bank-ny/1", "a.b@example.org", "=1+1", "\\", "é漢字"),
    ],
)
def test_a_name_is_text_in_the_page_whatever_it_says(name):
    row = page([name])

    assert f"<td>{name}</td>" == html.unescape(row)
    assert ["td", "/td"] == re.findall(r"<([^ >]*)[^>]*>", row)
    assert not re.search(r"\{\{|\{%", stats_of([name]))


@pytest.mark.parametrize(
    ("name", "shown"), [("a\n| b |\n\n# c", "a | b | # c"), ("a\u202eb\x1b[2J\x00", "a�b�[2J�"), ("x" * 300, "x" * 200)]
)
def test_a_name_is_one_line_of_characters_that_can_be_seen(name, shown):
    assert f"<td>{shown}</td>" == html.unescape(page([name]))


def page(names: list[str]) -> str:
    """The first cell of the row of a scraper, as a renderer of Markdown gives it."""
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(stats_of(names))
    (rows,) = re.findall(r"<h2>Scrapers</h2>.*?<tbody>\n<tr>\n(.*?)\n</tr>", rendered, re.DOTALL)
    return rows.partition("\n")[0]


def stats_of(names: list[str]) -> str:
    here = Path(__file__).parents[2] / "playhead/organizations/publication"
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.executescript((here / "schema.sql").read_text())
    columns = [row["name"] for row in database.execute("PRAGMA table_info(results)")]
    for name in names:
        row = dict.fromkeys(columns, "2025-08-09T00:00:00Z") | {"scraper_id": name, "outcome": "text"}
        marks = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO results ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    text = stats(database, figures(database), {}).decode()
    database.close()
    return text
