"""How domains are found: by the entry points of installed packages, and by the names that a setting gives.

Entry points are read from the packages' own files (https://packaging.python.org/specifications/entry-points/):
`importlib.metadata` does the same, but its import alone takes a sixth of the time that a command takes to start.
"""

import os
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import cast

import msgspec

from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.domain import Domain
from playhead.streams.errors import DomainInvalid, DomainNotLoaded, InvalidSetting
from playhead.streams.names import DomainVariable
from playhead.streams.storage.trust import read_trusted

GROUP = "playhead.domains"
DOTENV, TOML = Path(".env"), Path("playhead.toml")
_OWN = GROUP.partition(".")[0]


class Found(msgspec.Struct, frozen=True):
    """A domain that is named somewhere: where it is, as `module:attribute`, and what names it."""

    target: str
    origin: str


_chosen: list[Catalogue] = []


def installed() -> Catalogue:
    """The catalogue of every domain that is installed, or named by PLAYHEAD_DOMAINS or `domains` in `playhead.toml`.

    Raises:
        DomainNotLoaded: one cannot be imported.
        DomainsCollide: two declare the same name.
        DomainInvalid: one contradicts itself.
    """
    return _chosen[-1] if _chosen else _installed()


@contextmanager
def chosen(domains: Iterable[Domain]) -> Generator[Catalogue, None, None]:
    """Have these domains stand beside the installed ones for a while, in this process; for tests.

    Raises:
        DomainsCollide: two declare the same name.
        DomainInvalid: one contradicts itself.
    """
    catalogue = Catalogue({id(one): one for one in (*installed().domains, *domains)}.values())
    _chosen.append(catalogue)
    try:
        yield catalogue
    finally:
        _chosen.remove(catalogue)


@cache
def _installed() -> Catalogue:
    found = named()
    if found and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last, so that nothing in this directory hides a package
    return Catalogue(load([*entry_points(sys.path), *found]))


def load(found: Sequence[Found]) -> list[Domain]:
    """Import domains, each once.

    Raises:
        DomainNotLoaded: one cannot be imported, or is no Domain.
        DomainInvalid: one contradicts itself.
    """
    loaded: dict[int, Domain] = {}
    for one in found:
        domain = _load(one)
        loaded[id(domain)] = domain
    return list(loaded.values())


def entry_points(paths: Sequence[str]) -> Iterator[Found]:
    """What installed packages declare, by the names of the entry points, those of Playhead itself first.

    Of a package that is installed twice, the one that Python imports counts.
    """
    seen: set[str] = set()
    found: list[tuple[tuple[bool, str], Found]] = []
    for path in paths:
        for folder in _metadata_folders(path or "."):
            package = folder.stem.partition("-")[0].lower()
            if package in seen:
                continue
            seen.add(package)
            for name, target in _declared(folder / "entry_points.txt"):
                found.append(((package != _OWN, name), Found(target, f"the installed package {package}")))
    return (one for _, one in sorted(found, key=lambda pair: pair[0]))


def named() -> list[Found]:
    """What PLAYHEAD_DOMAINS names, in the environment or `.env`, or else `domains` in `playhead.toml`.

    Raises:
        InvalidSetting: the value has another form, a file cannot be read, or others can change it.
    """
    if value := os.environ.get(DomainVariable.DOMAINS):
        return _split(value, DomainVariable.DOMAINS)
    if value := read_dotenv().get(DomainVariable.DOMAINS):
        return _split(value, f"{DomainVariable.DOMAINS} in {DOTENV}")
    value = read_toml().get("domains", [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in cast("list[object]", value)):
        raise InvalidSetting(f'domains in {TOML} must be a list such as ["my_package.domain:invoices"]')
    return [Found(target, f"domains in {TOML}") for target in cast("list[str]", value)]


def read_toml() -> dict[str, object]:
    """What `playhead.toml` says, nothing if there is none.

    Raises:
        InvalidSetting: it is not TOML, or others can change it.
    """
    if (content := read_trusted(TOML)) is None:
        return {}
    import tomllib

    try:
        return cast("dict[str, object]", tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{TOML} is not TOML: {error}") from error


def read_dotenv() -> dict[str, str]:
    """What `.env` says, nothing if there is none.

    Raises:
        InvalidSetting: it is not UTF-8, or others can change it.
    """
    if (content := read_trusted(DOTENV)) is None:
        return {}
    from dotenv import dotenv_values

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSetting(f"{DOTENV} is not UTF-8: {error}") from error
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def _split(value: str, origin: str) -> list[Found]:
    return [Found(target.strip(), origin) for target in value.split(",") if target.strip()]


def _load(found: Found) -> Domain:
    module, _, attribute = found.target.partition(":")
    if not module or not attribute:
        raise DomainNotLoaded(f"{found.target!r} ({found.origin}) is not a domain: write module:attribute")
    try:
        with redirect_stdout(sys.stderr):  # what a domain prints must not stand in the output of a command
            domain = getattr(import_module(module), attribute)
    except DomainInvalid as error:
        raise DomainInvalid(f"the declaration of {found.target} ({found.origin}) is wrong: {error}") from error
    except (Exception, SystemExit) as error:  # an import runs whatever the module does, an exit too
        raise DomainNotLoaded(
            f"the domain {found.target} ({found.origin}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(domain, Domain):
        raise DomainNotLoaded(f"{found.target} ({found.origin}) is not a Domain, but of type {type(domain).__name__}")
    return domain


def _metadata_folders(path: str) -> Iterator[Path]:
    try:
        names = [entry.name for entry in os.scandir(path) if entry.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return
    yield from (Path(path, name) for name in sorted(names))


def _declared(file: Path) -> Iterator[tuple[str, str]]:
    try:
        text = file.read_text()
    except OSError:
        return
    if f"[{GROUP}]" not in text:
        return
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and line and not line.startswith("#"):
            name, _, target = line.partition("=")
            yield name.strip(), target.partition("[")[0].strip()
