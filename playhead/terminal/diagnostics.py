"""What a process says on stderr: one line an event, for people on a terminal, JSON elsewhere, never a password."""

import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from playhead.settings.core import LogFormat, LogLevel
from playhead.settings.masking import mask

_LEVELS = logging.getLevelNamesMapping()


class _StandardError(io.TextIOBase):
    """Standard error as it is at each write. What it does not take, as on a full disk, is dropped: no work waits."""

    def write(self, text: str, /) -> int:
        with suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))
        return len(text)

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def configure(form: LogFormat = "auto", level: LogLevel = "info") -> None:
    """Set the form and the least level of every message of this process; those of libraries are warnings at least."""
    stderr = cast("TextIO", _StandardError())
    console = stderr.isatty() if form == "auto" else form == "console"
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the pretty ones show variables, and so payloads
        )
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_passwords,
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


def _mask_passwords(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A library's error may quote the URL it was given."""
    for key, value in cast("dict[str, Any]", event).items():
        if isinstance(value, str):
            event[key] = mask(value)
    return event
