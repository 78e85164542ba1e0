"""git, run so that the repository runs nothing: no hooks, no filters, no prompts, and only the usual protocols."""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from playhead.organizations.publication.errors import GitFailed
from playhead.streams.storage.file_tree import shown

_SECONDS = 3600
"""A push of a large data set takes long, but needs an end: git would wait for ever for a remote that says nothing."""
_GRACE_SECONDS = 5
_SAFE = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.askPass": "",
    "submodule.recurse": "false",
    "push.recurseSubmodules": "no",
    "safe.bareRepository": "explicit",
}
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
    "GIT_NO_LAZY_FETCH": "1",
    "SSH_ASKPASS_REQUIRE": "never",
    "LC_ALL": "C",
}
# A variable such as GIT_DIR, set if a hook calls us, would name another repository; some others name programs.
_REFUSED = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CEILING_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_EXTERNAL_DIFF",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_PROTOCOL_FROM_USER",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_TEMPLATE_DIR",
        "GIT_WORK_TREE",
        "SSH_ASKPASS",
    }
)


class Git:
    """git in the work tree whose top is a directory; what configures the repository has been looked at."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environment = _environment(directory, _SAFE)
        names = self.run("config", "--list", "--name-only", "-z").split("\0")
        drivers = {name.partition(".")[2].rpartition(".")[0] for name in names if name.startswith("filter.")}
        self._environment = _environment(directory, _SAFE | _without_filters(drivers))

    def run(self, *arguments: str, stdin: str = "", fine: int = 0) -> str:
        """Give what git prints; `fine` is an exit code that is no failure.

        Raises:
            GitFailed: it failed, or took too long.
        """
        return _run(self._directory, arguments, self._environment, stdin, fine)


def configured(file: Path) -> set[str]:
    """The names that a file of configuration sets, without looking at anything else.

    Raises:
        GitFailed: git cannot read it.
    """
    environment = _environment(file.parent, {}) | {"GIT_DIR": os.devnull}
    arguments = ("config", "--file", str(file.absolute()), "--no-includes", "--list", "--name-only", "-z")
    return set(_run(file.parent, arguments, environment).split("\0")) - {""}


def _run(
    directory: Path, arguments: Sequence[str], environment: Mapping[str, str], stdin: str = "", fine: int = 0
) -> str:
    with subprocess.Popen(
        ["git", "-C", str(directory), *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # without a terminal, ssh and gpg cannot ask there either
    ) as process:
        try:
            told, complaint = process.communicate(stdin.encode("utf-8", "surrogateescape"), timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise GitFailed(f"git {arguments[0]} in {directory} took over {_SECONDS} s") from error
        except BaseException:
            _end(process)
            raise
    if process.returncode not in {0, fine}:
        lines = [shown(line) for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
        raise GitFailed(f"git {arguments[0]} in {directory}: {'; '.join(lines) or process.returncode}")
    return told.decode("utf-8", "surrogateescape")


def _environment(directory: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment with settings that go before those of the repository and of the user."""
    environment = {name: value for name, value in os.environ.items() if name not in _REFUSED} | _ENVIRONMENT
    environment["GIT_CEILING_DIRECTORIES"] = str(directory.resolve().parent)
    given = environment.get("GIT_CONFIG_COUNT", "")
    count = int(given) if given.isdecimal() else 0
    for number, (key, value) in enumerate(settings.items(), count):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment | {"GIT_CONFIG_COUNT": str(count + len(settings))}


def _without_filters(drivers: Iterable[str]) -> dict[str, str]:
    """Files are committed as they are published; a clone may ask in `.gitattributes` for a filter that the user has."""
    return {
        f"filter.{driver}.{key}": value
        for driver in drivers
        for key, value in (("clean", ""), ("smudge", ""), ("process", ""), ("required", "false"))
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End git and what it started; it removes its locks if it is asked to end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
            return
