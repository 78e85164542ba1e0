"""How a command ends: its exit code, and an error as one line on stderr."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

from cyclopts import App, CycloptsError, UnusedCliTokensError

from playhead.streams.printable import printable_lines
from playhead.terminal.exit_codes import DONE, FAILED, INTERRUPTED, PIPE_CLOSED, USAGE
from playhead.terminal.output import one_line, say


def run(make: Callable[[], App]) -> int:
    """Make the command line and run it; gives its exit code. An unexpected error is shown with its traceback."""
    try:
        code = make()(result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as exit_:  # cyclopts' own, after --help or Ctrl-C, and Rich's, where nobody reads the help
        if isinstance(exit_.__context__, BrokenPipeError):
            exit_.code = PIPE_CLOSED
        return exit_.code if isinstance(exit_.code, int) else FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return PIPE_CLOSED
    except CycloptsError as error:
        say(f"{_problem(error)} See `{_help(error)}`.")
        return USAGE
    except Exception as error:  # noqa: BLE001  # the last one to see it says what it is
        from playhead.terminal.failures import exit_code, message  # all that errors may come from; seldom needed

        if (said := message(error)) is None:
            sys.stderr.write(indent(printable_lines("".join(traceback.format_exception(error))), "  "))
        else:
            first, *others = said.splitlines()
            say(first, *(f"  {line}" for line in others))
        return exit_code(error)
    return code if isinstance(code, int) else DONE


def open_standard_streams() -> None:
    """Give those that are closed to nobody, or the next file that is opened would stand in for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  # until the end


def _problem(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"Unknown argument: {' '.join(map(repr, error.unused_tokens))}."
    return one_line(error)


def _help(error: CycloptsError) -> str:
    return " ".join(("playhead", *(error.command_chain or ()), "--help"))
