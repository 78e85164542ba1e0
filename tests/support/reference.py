"""The page of reference, made from the docstrings of the public API: `python -m tests.support.reference` writes it."""

import inspect
from pathlib import Path
from typing import get_origin

import playhead

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
HEAD = """# Reference

The public API is what `from playhead import ...` gives; everything else is internal. `make reference` writes this page
from its docstrings.
"""


def render():
    return HEAD + "".join(section(name) for name in playhead.__all__)


def section(name):
    found = getattr(playhead, name)
    lines = [f"\n## `{name}`\n"]
    if inspect.isclass(found):
        lines.append(text(found))
        lines += [entry(member, value) for member, value in members(found)]
    elif get_origin(found) is None:
        lines.append(f"\n`{name}{signature(found)}`\n")
        lines.append(text(found))
    else:
        lines.append(f"\nThe type `{found.__module__}.{found.__name__}`, with rows as tuples.\n")
    return "".join(lines)


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


def entry(name, value):
    if isinstance(value, property):
        return f"\n- `{name}`: {first(value)}\n"
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    return f"\n- `{name}{signature(function)}`: {first(function)}\n"


def signature(function):
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in {"self", "cls"}
    ]
    return str(inspect.Signature(parameters))


def first(documented):
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


def text(documented):
    """The docstring as Markdown: what is raised becomes a list."""
    lines = []
    for line in (inspect.getdoc(documented) or "").splitlines():
        if line == "Raises:":
            lines.append("Raises:\n")
        elif line.startswith("    "):
            lines.append(f"- {line.strip()}" if ": " in line and not line.startswith("     ") else f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render())
