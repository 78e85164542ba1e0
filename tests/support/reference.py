"""The page of reference, made from the docstrings of the public API: `python -m tests.support.reference` writes it."""

import ast
import inspect
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Literal, Unpack, get_args, get_origin

import msgspec

import playhead

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
HEAD = """# Reference

The public API is what the modules of this page give; everything else is internal. `make reference` writes this page
from their docstrings.
"""
MODULES = (
    "playhead",
    "playhead.jobs",
    "playhead.content",
    "playhead.recordings",
    "playhead.testing",
    "playhead.testing.contract",
    "playhead.adapters.functions",
    "playhead.adapters.rq",
    "playhead.adapters.celery",
    "playhead.adapters.dramatiq",
    "playhead.adapters.taskiq",
    "playhead.adapters.streaq",
    "playhead.adapters.starlette",
    "playhead.adapters.faststream",
)
_LAZY = {"playhead.recordings": ("Recorder", "RecorderSettings", "Session")}
_IMPORTED = {"playhead.jobs", "playhead.content", "playhead.recordings", "playhead.testing"}
"""Modules that give what others define."""


def render():
    return HEAD + "".join(module_section(import_module(name)) for name in MODULES)


def module_section(module):
    lines = [f"\n## `{module.__name__}`\n", text(module)]
    lines += [section(name, getattr(module, name)) for name in names(module)]
    return "".join(lines)


def names(module):
    """What a user may import from it, in the order of the alphabet."""
    if module is playhead:
        return playhead.__all__
    here = module.__name__
    found = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and (here in _IMPORTED or value.__module__ == here)
    ]
    return sorted({*found, *_LAZY.get(here, ())})


def section(name, found):
    lines = [f"\n### `{name}`\n"]
    if inspect.isclass(found):
        if is_constructed(found):
            lines.append(code(f"{name}{signature(found)}"))
        lines.append(text(found))
        lines += [entry(name, member, value) for member, value in members(found)]
    elif get_origin(found) is None:
        lines += [code(f"{name}{signature(found)}"), text(found)]
    elif get_origin(found) is Literal:
        lines.append(f"\nOne of {', '.join(f'`{one}`' for one in get_args(found))}.\n")
        lines.append(text(documented_beside(name)))
    else:
        lines.append(f"\nThe type `{found.__module__}.{found.__name__}`, with rows as tuples.\n")
    return "".join(lines)


def documented_beside(name):
    """The string below an assignment of ours, which nothing keeps at run time."""
    home = import_module(playhead._HOMES[name])  # noqa: SLF001  # where a public name is
    body = ast.parse(inspect.getsource(home)).body
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return following.value.value
    raise AssertionError(f"{name} has no string below it")


def is_constructed(cls):
    """Whether a user makes one, and how is told by a signature of ours."""
    if issubclass(cls, BaseException) or getattr(cls, "_is_protocol", False):
        return False
    own = next(base for base in cls.__mro__ if "__init__" in vars(base))
    return issubclass(cls, msgspec.Struct) or own.__module__.startswith("playhead.")


def members(cls):
    """What a user may call: methods and properties of the class and its bases of ours, in the order of their names."""
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("playhead."):
            found |= {
                name: value
                for name, value in vars(base).items()
                if not name.startswith("_") and isinstance(value, property | classmethod | staticmethod | type(render))
            }
    return sorted(found.items())


def entry(owner, name, value):
    if isinstance(value, property):
        returned = annotation(inspect.signature(value.fget).return_annotation)
        return f"\n#### `{owner}.{name}`\n" + code(f"{name}: {returned}") + text(value)
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    start = "await " if inspect.iscoroutinefunction(function) else ""
    return f"\n#### `{owner}.{name}`\n" + code(f"{start}{name}{signature(function)}") + text(function)


def code(line):
    return f"\n```text\n{line}\n```\n"


def signature(called):
    """What it takes and gives, over several lines if one would be too long."""
    described = inspect.signature(called)
    parameters = [one for one in described.parameters.values() if one.name not in {"self", "cls"}]
    shown = [parameter_text(one) for one in parameters]
    kinds = [one.kind for one in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = described.return_annotation
    end = "" if returned in {inspect.Signature.empty, None} else f" -> {annotation(returned)}"
    line = ", ".join(shown)
    if len(line) > _LONG:
        line = "\n    " + ",\n    ".join(shown) + ",\n"
    return f"({line}){end}"


def parameter_text(one):
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(one.kind, "")
    kind = "" if one.annotation is inspect.Parameter.empty else f": {annotation(one.annotation)}"
    default = "" if one.default is inspect.Parameter.empty else f" = {default_text(one.default)}"
    return f"{stars}{one.name}{kind}{default}"


def default_text(value):
    return "..." if callable(value) or "<" in repr(value) else annotation(repr(value))


_MODULES = re.compile(r"(?<![\w'\"/.])~?(?:[a-z_]\w*\.)+(?=[A-Za-z_])")
_LONG = 90


def annotation(value):
    if get_origin(value) is Unpack:
        return f"Unpack[{value.__args__[0].__name__}]"
    named = value if isinstance(value, str) else inspect.formatannotation(value)
    return re.sub(_MODULES, "", named).replace("~", "")


def text(documented):
    """The docstring as Markdown: what is raised becomes a list."""
    lines = []
    said = documented if isinstance(documented, str) else inspect.getdoc(documented)
    for line in inspect.cleandoc(said or "").splitlines():
        if line == "Raises:":
            lines.append("Raises:\n")
        elif line.startswith("    "):
            lines.append(f"- {line.strip()}" if ": " in line and not line.startswith("     ") else f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
