"""An environment with wheels of Playhead and of other packages, as somebody has it who edits neither."""

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from playhead.settings.settings import declared

ROOT = Path(__file__).parents[2]
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if name not in declared() and not name.startswith(("OTEL_", "PYTHON", "VIRTUAL_ENV"))
}


def build_wheel(source: Path, into: Path) -> Path:
    """Build a wheel without a network."""
    before = set(into.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = set(into.glob("*.whl")) - before
    return wheel


class Environment:
    """A virtual environment with what the running one has, save for what is installed in it."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory, with_pip=False, symlinks=True)
        self.programs = directory / "bin"
        (self.packages,) = directory.glob("lib/*/site-packages")
        beside = [path for path in sys.path if path.endswith("-packages")]
        (self.packages / "beside.pth").write_text("\n".join(beside))

    def install(self, *wheels: Path) -> set[str]:
        """Install wheels, and give the names that they added."""
        before = {path.name for path in self.packages.iterdir()}
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--python", str(self.programs / "python")),
                *("install", "--quiet", "--no-deps", "--no-index", "--no-compile", *map(str, wheels)),
            ],
            check=True,
            capture_output=True,
        )
        return {path.name for path in self.packages.iterdir()} - before

    def run(
        self, *command: str, cwd: Path, environment: Mapping[str, str] = MappingProxyType({}), stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program of it."""
        return subprocess.run(
            [str(self.programs / command[0]), *command[1:]],
            cwd=cwd,
            env=CLEAN | environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
