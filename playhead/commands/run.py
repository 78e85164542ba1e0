"""`playhead run`: one consumer or worker as a process."""

from playhead.settings.settings import load
from playhead.streams.domains.discovery import installed
from playhead.terminal.options import DataDir


def run(name: str, /, *, data_dir: DataDir = None) -> int:
    """Run one process of a consumer until SIGTERM or Ctrl-C.

    Args:
        name: The consumer; `playhead consumers` lists them.

    Example:
        playhead run json-files
    """
    installed().require(name)
    settings = load(data_dir)
    from playhead.process import run_process
    from playhead.terminal import diagnostics

    diagnostics.configure(settings.log_format, settings.log_level)
    return run_process(name, settings)
