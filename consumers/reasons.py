"""Why an event is parked, as its parked entry says."""

import traceback
from pathlib import Path

from playhead.streams.printable import cut

_BUGS = (
    LookupError,
    AttributeError,
    TypeError,
    NameError,
    AssertionError,
    ArithmeticError,
    NotImplementedError,
    ImportError,
)
"""Nobody refuses an event with one of these: the code is wrong, and what it says helps only together with its place."""


def reason_of(error: BaseException) -> str:
    """The class and text of an error, which may quote an event of any size, and of a bug its place in the code."""
    said = cut(f"{type(error).__name__}: {error}")
    if not isinstance(error, _BUGS) or not (frames := traceback.extract_tb(error.__traceback__)):
        return said
    return f"{said} ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})"
