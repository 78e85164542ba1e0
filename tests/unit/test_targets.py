"""What a domain declares is imported when it is used: each wrong target is one clear error, and `doctor` finds all."""

import sys

import pytest

from playhead.checks.targets import check_targets
from playhead.commands.app import choose
from playhead.settings.servers import Servers
from playhead.settings.settings import load
from playhead.streams.domains.discovery import chosen, installed
from playhead.streams.errors import DomainInvalid, DomainNotLoaded
from playhead.wiring import make_clock, make_handler, make_sink, make_verification

MODULE = """
import msgspec
from playhead import Domain, FileProjection, TableProjection

NUMBER = 7


class Nothing:
    def __init__(self, place): ...


class Abstract(TableProjection): ...


class Files(FileProjection):
    def file_of(self, event): ...
    def fold(self, name, content, events): ...


def make_nothing(place):
    return Nothing(place)


acme = Domain("acme")
stream = acme.stream("things")


@stream.event("thing.asked", subject="thing/{id}")
class Asked(msgspec.Struct, frozen=True):
    id: str
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """The domain of a module of one's own, which stands beside the installed ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_targets.py").write_text(MODULE)
    (tmp_path / "acme_broken.py").write_text("raise RuntimeError('no license')")
    from acme_targets import acme

    yield acme
    sys.modules.pop("acme_targets")


def use(name: str) -> None:
    servers = Servers("redis://localhost", "postgresql:///x")
    settings = load()
    if name == "command":
        choose(["acme", "list"])
    elif name == "verified":
        make_verification(name, settings, servers)
    else:
        {"projection": make_sink, "worker": make_handler, "clock": make_clock}[name](name, settings, servers)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("acme_nowhere:it", "cannot be imported: ModuleNotFoundError: No module named 'acme_nowhere'"),
        ("acme_targets:it", "cannot be imported: AttributeError: module 'acme_targets' has no attribute 'it'"),
        ("acme_broken:it", "cannot be imported: RuntimeError: no license"),
        ("acme_targets", "is not the place of anything: write module:attribute"),
        (":it", "is not the place of anything: write module:attribute"),
        ("acme_targets:NUMBER", "cannot be called: it is of type int"),
    ],
)
@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("projection", "the projection projection of the domain acme (acme_targets)"),
        ("verified", "the verification of the projection verified of the domain acme (acme_targets)"),
        ("worker", "the worker worker of the domain acme (acme_targets)"),
        ("clock", "the clock clock of the domain acme (acme_targets)"),
        ("command", "the command acme of the domain acme (acme_targets)"),
    ],
)
def test_a_target_that_cannot_be_used_is_named_with_its_declaration_and_domain(acme, name, who, target, said):
    if name == "projection":
        acme.projection(name, target, reads=["thing.asked"])
    elif name == "verified":
        acme.projection(name, "acme_targets:Files", reads=["thing.asked"], verification=target)
    elif name == "worker":
        acme.worker(name, target, on="thing.asked", ends=["thing.asked"])
    elif name == "clock":
        acme.clock(name, target, every=1)
    else:
        acme.command(target, help="Things.")
    with chosen([acme]) as catalogue:
        with pytest.raises(DomainNotLoaded) as refused:
            use(name)
        found = [check for check in check_targets(catalogue) if check.name == "domain acme"]

    expected = f"{who} is declared as {target}, which {said}"
    assert expected == str(refused.value)
    assert [("fail", expected, "correct it in acme_targets")] == [
        (check.result, check.found, check.advice) for check in found
    ]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("Nothing", "Nothing, which is no projection: make it a TableProjection or a FileProjection, or give it what"),
        ("Abstract", "Abstract, which does not define apply"),
    ],
)
def test_a_class_that_is_no_projection_is_refused(acme, target, said):
    acme.projection("projection", f"acme_targets:{target}", reads=["thing.asked"])
    with chosen([acme]) as catalogue:
        with pytest.raises(DomainInvalid) as refused:
            use("projection")
        (found,) = (check for check in check_targets(catalogue) if check.name == "domain acme")

    expected = f"the projection projection of the domain acme (acme_targets) is declared as {said}"
    assert str(refused.value).startswith(expected)
    assert found.found == str(refused.value)


def test_what_a_function_makes_is_refused_if_it_is_no_projection(acme):
    acme.projection("projection", "acme_targets:make_nothing", reads=["thing.asked"])
    with (
        chosen([acme]),
        pytest.raises(DomainInvalid, match=r"lacks of playhead\.Sink: name, streams, exclusive, open, "),
    ):
        use("projection")


def test_a_clock_whose_target_returns_no_function_is_refused(acme):
    acme.clock("clock", "acme_targets:make_nothing", every=1)
    with (
        chosen([acme]),
        pytest.raises(DomainInvalid, match=r"the clock clock .* must return the function that does one"),
    ):
        use("clock")


def test_a_declaration_that_can_be_used_passes(acme):
    acme.projection("projection", "acme_targets:Files", reads=["thing.asked"])
    with chosen([acme]) as catalogue:
        use("projection")
        found = [check for check in check_targets(catalogue) if check.name == "domain acme"]

    assert [("ok", "acme_targets: what it declares can be imported (1)")] == [(one.result, one.found) for one in found]


def test_every_target_of_playhead_passes():
    assert {"ok"} == {check.result for check in check_targets(installed())}
