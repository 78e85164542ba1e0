"""`playhead init`: a small domain of one's own, which runs as it is."""

import keyword
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from playhead.settings.core import CORE, DATA_DIR, DOMAINS, toml_key
from playhead.streams.domains.discovery import TOML, installed
from playhead.streams.domains.settings import Setting, text
from playhead.streams.errors import InvalidSetting
from playhead.terminal.options import Json
from playhead.terminal.output import print_json, print_lines, say

_STARTER = Path(__file__).parents[1] / "starter"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
"""Characters; the name is a part of others, of which Postgres takes 63."""
_GITIGNORE = "gitignore"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_HEAD = """\
# Settings of Playhead and of the domains that are installed, each with its default. Remove a # to set one.
# The environment and .env count before this file. Keep passwords in one of them.
"""


def init(name: str, /, *, directory: Path | None = None, json: Json = False) -> None:
    """Write a small domain of your own: a projection, a worker, their tests and a playhead.toml.

    `playhead up` and `pytest` work in it at once; `playhead.toml` names the domain, so it needs no install. Prints the
    files that it wrote. It replaces no file.

    Args:
        name: The name of the domain: lower-case letters, digits and hyphens.
        directory: Where to write it; a new directory with the domain's name if omitted.

    Example:
        playhead init billing
    """
    _check(name)
    directory = Path(name) if directory is None else directory
    files = dict(_files(name))
    if there := [path for path in files if (directory / path).exists()]:
        raise InvalidSetting(f"{directory / there[0]} exists already; choose another --directory, or remove it")
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        with (directory / path).open("x") as file:
            file.write(content)
    written = [str(directory / path) for path in files]
    if json:
        print_json(written)
    else:
        print_lines(*written)
    say(*_next(name, directory))


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InvalidSetting(
            f"the name of a domain has lower-case letters, digits and hyphens between them, {_LONGEST} at most, such as"
            f" billing; not {name!r}"
        )
    for domain in installed().domains:
        if name == domain.name or name in domain.streams:
            raise InvalidSetting(f"{domain.module} declares {name} already: choose another name")
    module = _module(name)
    if keyword.iskeyword(module):
        raise InvalidSetting(f"{module} is a keyword of Python, so no module can have that name: choose another name")
    if module == "tests" or module in sys.stdlib_module_names or _is_importable(module):
        raise InvalidSetting(f"there is a module {module} in Python or among its packages: choose another name")


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it is imported, and does not say from where
        return True


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Every file with its content: those of the starter, under this name, and the settings."""
    for path in sorted(_STARTER.rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            relative = path.relative_to(_STARTER)
            shown = Path(".gitignore") if relative.name == _GITIGNORE else Path(_renamed(str(relative), name))
            yield shown, _renamed(path.read_text(), name)
    yield TOML, _settings(name)


def _renamed(content: str, name: str) -> str:
    module = _module(name)
    for old, new in (("sample-domain", name), ("sample_domain", module), ("SAMPLE_DOMAIN", module.upper())):
        content = content.replace(old, new)
    return content


def _module(name: str) -> str:
    return name.replace("-", "_")


def _settings(name: str) -> str:
    """The text of `playhead.toml`."""
    module = _module(name)
    own = Setting(f"{module.upper()}_GREETING", "Hello", "What answers begin with.", text)
    parts = [
        _HEAD,
        f'# {DOMAINS.help}\n{toml_key(DOMAINS.name)} = ["{module}.domain:{module}"]\n',
        *_section("Playhead", [setting for setting in CORE.values() if setting is not DOMAINS]),
        *(part for domain in installed().domains for part in _section(domain.name, domain.settings.values())),
        *_section(name, [own]),
    ]
    return "\n".join(parts)


def _section(title: str, settings: Iterable[Setting[Any]]) -> Iterator[str]:
    lines = [f"# {one.help}\n# {toml_key(one.name)} = {_shown(one)}\n" for one in settings]
    if lines:
        yield f"# --- {title} ---\n"
    yield from lines


def _shown(setting: Setting[Any]) -> str:
    """The default as a value of TOML."""
    default = setting.default if setting.below is None else f"{DATA_DIR.default}/{setting.below}"
    if default in {"true", "false"} or _NUMBER.fullmatch(default):
        return default
    return '"' + default.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _next(name: str, directory: Path) -> list[str]:
    data = shlex.quote('{"id": "1", "text": "world"}')
    return [
        "next:",
        f"  cd {shlex.quote(str(directory))}",
        "  playhead up                 # in another terminal, until Ctrl-C",
        f"  playhead append {name}.requested --subject {name}/1 --data {data}",
        "  playhead status",
        "  pytest                      # its tests; docs/your-own-domain.md explains each part",
    ]
