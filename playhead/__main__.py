"""Entry point."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from playhead.commands import app
        from playhead.outcome import run

        code = run(app)
    except KeyboardInterrupt:  # also while modules are loaded
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
