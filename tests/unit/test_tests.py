"""The tests themselves: what they import, and how far they reach into Playhead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
PRIVATE: dict[tuple[str, str], str] = {}
"""Private names that a module imports, each with the reason. Attributes are the matter of ruff's SLF001."""
REACH = re.compile(r"noqa:.*\bSLF001\b(?P<reason>  # \S.*)?")


def imported(source: str) -> Iterator[str]:
    """Every module that is imported, and every name from one, wherever in the source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_test_module(name: str) -> bool:
    return name.startswith("tests.") and any(re.match(r"test_|conftest$", part) for part in name.split("."))


def is_private(name: str) -> bool:
    return name.startswith("playhead.") and any(re.match(r"_(?!_)", part) for part in name.split("."))


def found(wanted) -> set[tuple[str, str]]:
    return {
        (str(path.relative_to(ROOT)), name) for path in MODULES for name in imported(path.read_text()) if wanted(name)
    }


def test_nothing_is_imported_from_a_test_module():
    assert set() == found(is_test_module)


def test_a_private_name_of_playhead_is_imported_for_a_reason_that_is_listed():
    assert PRIVATE.keys() == found(is_private)


def test_reaching_for_a_private_attribute_gives_its_reason():
    marked = [
        (str(path.relative_to(ROOT)), number, match["reason"])
        for path in MODULES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if path != Path(__file__) and (match := REACH.search(line))
    ]

    assert len(marked) > 5
    assert [] == [place for *place, reason in marked if reason is None]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import tests.unit.test_a", ["tests.unit.test_a"]),
        ("from tests.unit.test_a import job as j", ["tests.unit.test_a.job"]),
        ("def f():\n    from tests.unit import test_a", ["tests.unit.test_a"]),
        ("from tests.faults.conftest import Stopwatch", ["tests.faults.conftest.Stopwatch"]),
    ],
)
def test_every_form_of_import_from_a_test_module_is_seen(source, names):
    assert names == [name for name in imported(source) if is_test_module(name)]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from playhead.a import _b, c", ["playhead.a._b"]),
        ("import playhead._a.b", ["playhead._a.b"]),
        ("from playhead import __main__", []),
        ("from os import _exit", []),
    ],
)
def test_every_form_of_import_of_a_private_name_is_seen(source, names):
    assert names == [name for name in imported(source) if is_private(name)]
