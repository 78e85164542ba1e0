"""Entry point."""

import sys

# redis-py imports OpenTelemetry's metrics, which takes half as long as the rest of it, for figures that it is not asked
# for here; it does without them where they cannot be imported.
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
