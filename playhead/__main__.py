"""Entry point."""

import os
import sys


def _ignore_current_directory() -> None:
    """Undo what `python -m` does without `-P`, so that a `redis.py` in the current directory is not imported."""
    try:
        current = os.getcwd()  # noqa: PTH109  pathlib is a module that could be shadowed
    except OSError:  # it was deleted; then it is not in the path either
        return
    if not sys.flags.safe_path and sys.path[0] == current:
        del sys.path[0]


if __name__ == "__main__":
    _ignore_current_directory()

# redis-py imports OpenTelemetry's metrics, which takes half as long as the rest of it, for figures that it is not asked
# for here; it does without them if they cannot be imported.
sys.modules["opentelemetry.sdk.metrics"] = None  # pyright: ignore[reportArgumentType]  # what makes an import fail


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from playhead.commands.app import choose
        from playhead.terminal.ending import open_standard_streams, run

        open_standard_streams()
        code = run(lambda: choose(sys.argv[1:]))
    except KeyboardInterrupt:  # also while modules are loaded
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
