"""Event types that a command is told to look for."""

from collections.abc import Iterable

from playhead.streams.domains.discovery import installed
from playhead.streams.printable import quoted
from playhead.streams.slips import did_you_mean
from playhead.terminal.output import say


def tell_undeclared(types: Iterable[str]) -> None:
    """Say which types no domain declares: there may be events of them all the same, or somebody has misspelled one."""
    declared = installed().types
    for one in types:
        if one not in declared:
            say(f"no domain declares {quoted(one)}{did_you_mean(one, declared)}")
