"""`playhead completion`."""

from typing import Literal

from playhead.terminal.output import write

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Shell, /) -> None:
    """Print a script that completes commands and options, of every installed domain, in your shell.

    Args:
        shell: Your shell.

    Example:
        source <(playhead completion bash)
        playhead completion fish > ~/.config/fish/completions/playhead.fish
    """
    from playhead.commands.app import make_app

    write([make_app().generate_completion(shell=shell).encode()], is_json=False)
