"""The page of reference says what the public API says of itself."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_origin

import pytest

import playhead
from tests.support.reference import MODULES, PAGE, render

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="each version of Python writes annotations its own way")
def test_the_page_of_reference_is_what_the_docstrings_say():
    assert render() == PAGE.read_text(), "run `make reference`"


def test_every_public_name_is_there_once_and_has_a_docstring():
    of_playhead = PAGE.read_text().partition("\n## `playhead.jobs`")[0]

    assert sorted(playhead.__all__) == re.findall(r"^### `(\w+)`$", of_playhead, re.MULTILINE)
    found = {name: getattr(playhead, name) for name in playhead.__all__}
    assert [] == [name for name, value in found.items() if not (get_origin(value) or value).__doc__]


def test_the_public_module_imports_nothing_until_a_name_is_asked_for():
    script = "import sys, playhead; print([name for name in sys.modules if name.startswith('playhead.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{one.name}" for one in DOCS.glob("*.md"))])
def test_the_examples_import_the_public_api_alone(page):
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS.parent / page).read_text(), re.MULTILINE | re.DOTALL)
    imported = re.findall(r"^\s*(?:from|import) (playhead[\w.]*)", "\n".join(blocks), re.MULTILINE)

    assert set() == set(imported) - {*MODULES, "playhead.testing.fixtures"}


def test_a_domain_gives_the_recorder_when_it_is_asked_for():
    script = (
        "import sys, playhead.recordings as recordings; print('numpy' in sys.modules, recordings.Recorder.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False Recorder" == done.stdout.strip()
