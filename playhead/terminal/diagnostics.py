"""What a process says on stderr: one line an event, for people on a terminal, JSON elsewhere, never a password.

Nothing in it is longer than anybody reads, or does anything to a terminal, wherever it comes from.
"""

import io
import logging
import os
import sys
from contextlib import suppress
from textwrap import indent
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from playhead.settings.core import LogFormat, LogLevel
from playhead.settings.masking import mask
from playhead.streams.printable import LIMIT, cut, printable, printable_json, printable_lines

_TRACEBACK = "exception"
_TRACEBACK_LIMIT = 20_000
_MASKED = 10 * LIMIT
"""Characters that are searched for passwords: far more than are shown, so that no cut hides the end of one."""
_json = structlog.processors.JSONRenderer(ensure_ascii=False)
_LEVELS = logging.getLevelNamesMapping()


class _StandardError(io.TextIOBase):
    """Standard error as it is at each write. What it does not take, as on a full disk, is dropped: no work waits."""

    def write(self, text: str, /) -> int:
        with suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))
        return len(text)

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def is_for_people(form: LogFormat) -> bool:
    """Whether messages are text for people, and not JSON."""
    return sys.stderr.isatty() if form == "auto" else form == "console"


def configure(form: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Set the form and the least level of every message of this process; those of libraries are warnings at least."""
    stderr, for_people = cast("TextIO", _StandardError()), is_for_people(form)
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the pretty ones show variables, and so payloads
        )
        if for_people
        else _as_json
    )
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _bounded,
        *([_escaped] if for_people else []),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stderr),
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(logging.WARNING, _LEVELS[level.upper()]), handlers=[handler], force=True)


def _bounded(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Of each value what anybody reads, without passwords: a library's error may quote the URL it was given."""
    for key, value in cast("dict[str, Any]", event).items():
        if key == _TRACEBACK:
            event[key] = _shortened("\n".join(map(_text, value.splitlines())))
        elif isinstance(value, str):
            event[key] = _text(value)
        elif not key.startswith("_") and not isinstance(value, int | float | None):
            event[key] = value if len(text := repr(value)) <= LIMIT else _parts(value, text)
    return event


def _parts(value: object, text: str) -> object:
    if not isinstance(value, dict):
        return _text(text)
    return {str(name): _text(str(one)) for name, one in cast("dict[object, object]", value).items()}


def _text(said: str) -> str:
    return cut(mask(said[:_MASKED]), LIMIT)


def _shortened(traceback: str) -> str:
    """Both ends: what was called, and where it failed."""
    half = _TRACEBACK_LIMIT // 2
    return traceback if len(traceback) <= 2 * half else f"{traceback[:half]}\n...\n{traceback[-half:]}"


def _escaped(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in cast("dict[str, Any]", event).items():
        if isinstance(value, str):
            event[key] = indent(printable_lines(value), "  ") if key == _TRACEBACK else printable(value)
    return event


def _as_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    return printable_json(cast("str", _json(logger, name, event)))
