"""The page of reference says what the public API says of itself."""

import re
import subprocess
import sys
from typing import get_origin

import playhead
from tests.support.reference import PAGE, render


def test_the_page_of_reference_is_what_the_docstrings_say():
    assert render() == PAGE.read_text(), "run `make reference`"


def test_every_public_name_is_there_once_and_has_a_docstring():
    named = re.findall(r"^## `(\w+)`$", PAGE.read_text(), re.MULTILINE)

    assert sorted(playhead.__all__) == named
    found = {name: getattr(playhead, name) for name in playhead.__all__}
    assert [] == [name for name, value in found.items() if not (get_origin(value) or value).__doc__]


def test_the_public_module_imports_nothing_until_a_name_is_asked_for():
    script = "import sys, playhead; print([name for name in sys.modules if name.startswith('playhead.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
