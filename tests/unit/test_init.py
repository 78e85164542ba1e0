"""`playhead init`: what it writes, and what it refuses."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from playhead.commands.init import init
from playhead.settings.core import toml_key
from playhead.settings.settings import declared
from playhead.settings.sources import Sources
from playhead.streams.errors import InvalidSetting

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(tmp_path, monkeypatch, capsys) -> Path:
    """A domain with a hyphen in its name, in the current directory."""
    monkeypatch.chdir(tmp_path)
    init("late-fees")
    assert capsys.readouterr().out.splitlines()[-1] == "late-fees/playhead.toml"
    return tmp_path / "late-fees"


def test_the_lines_that_the_readme_shows_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init("billing")
    written = {line for path in (tmp_path / "billing/billing").glob("*.py") for line in path.read_text().splitlines()}
    marked = "<!-- not run: `playhead init` writes it -->\n```python\n"
    blocks = [rest.partition("```")[0] for rest in (ROOT / "README.md").read_text().split(marked)[1:]]

    assert 2 == len(blocks)
    assert set() == {line for block in blocks for line in block.splitlines()} - written


def test_every_name_is_the_domains_own(written):
    paths = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    contents = "\n".join(path.read_text() for path in written.rglob("*") if path.is_file())

    assert {
        *(".gitignore", "playhead.toml", "pyproject.toml", "tests/conftest.py", "tests/test_late_fees.py"),
        *(f"late_fees/{name}.py" for name in ("__init__", "answering", "answers", "domain")),
        "late_fees/migrations/0001_answers.sql",
        "late_fees/sql/store_answer.sql",
    } == paths
    assert "sample" not in contents.lower()
    assert {"late-fees.requested", "late_fees_answers", "LATE_FEES_GREETING"} <= {
        word for line in contents.splitlines() for word in line.replace('"', " ").replace("(", " ").split()
    }


def test_the_file_of_settings_names_every_setting_with_its_sentence_and_default(written, monkeypatch):
    text = (written / "playhead.toml").read_text()
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line)
    keys = tomllib.loads(uncommented)
    monkeypatch.chdir(written)
    (written / "playhead.toml").write_text(uncommented)
    sources = Sources()

    assert {toml_key(name) for name in declared()} | {"late_fees_greeting"} == keys.keys()
    assert ["late_fees.domain:late_fees"] == tomllib.loads(text)["domains"]
    assert {"domains"} == tomllib.loads(text).keys()
    for name, setting in declared().items():
        assert f"# {setting.help}\n" in text
        if name != "PLAYHEAD_DOMAINS":
            expected = setting.default if setting.below is None else f"playhead-data/{setting.below}"
            assert expected == sources.find(setting).value


def test_what_it_writes_is_linted_and_formatted(written):
    ruff = [sys.executable, "-m", "ruff"] if not (found := Path(sys.executable).with_name("ruff")).exists() else [found]
    for command in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, "--line-length", "120"], cwd=written, capture_output=True, check=False)

        assert 0 == done.returncode, done.stdout.decode()


def test_it_replaces_no_file(written, tmp_path):
    with pytest.raises(InvalidSetting, match=r"late-fees/\.gitignore exists already"):
        init("late-fees")
    (written / ".gitignore").unlink()
    with pytest.raises(InvalidSetting, match=r"pyproject\.toml exists already"):
        init("late-fees")
    other = tmp_path / "other" / "tests"
    other.mkdir(parents=True)
    (other / "test_late_fees.py").write_text("mine")
    with pytest.raises(InvalidSetting, match="exists already"):
        init("late-fees", directory=tmp_path / "other")

    assert [other / "test_late_fees.py"] == [path for path in (tmp_path / "other").rglob("*") if path.is_file()]


def test_a_directory_with_other_files_may_take_it(tmp_path, capsys):
    (tmp_path / "LICENSE").write_text("mine")
    init("billing", directory=tmp_path, json=True)

    assert f'"{tmp_path}/billing/domain.py"' in capsys.readouterr().out
    assert "mine" == (tmp_path / "LICENSE").read_text()


@pytest.mark.parametrize("name", ["", "Billing", "my_billing", "-a", "a-", "a--b", "1a", "../a", "a b", "x" * 41, "é"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(InvalidSetting, match="lower-case letters"):
        init(name)


@pytest.mark.parametrize("name", ["jobs", "content", "organizations"])
def test_the_name_of_a_domain_that_is_there_is_refused(name):
    with pytest.raises(InvalidSetting, match=rf"playhead\..* declares {name} already"):
        init(name)


@pytest.mark.parametrize("name", ["class", "async", "lambda"])
def test_a_keyword_is_refused(name):
    with pytest.raises(InvalidSetting, match=f"{name} is a keyword of Python, so no module can have that name: choose"):
        init(name)


@pytest.mark.parametrize("name", ["json", "redis", "playhead", "tests", "sys"])
def test_the_name_of_another_module_is_refused(name):
    with pytest.raises(InvalidSetting, match=f"there is a module {name}"):
        init(name)
