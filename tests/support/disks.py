"""Disks for tests: a small one that can grow, one whose power fails, and one that does not sync."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


def mount(*arguments: object) -> None:
    """Mount, or skip the test if that is refused."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"mount is refused here: {done.stderr.decode().strip()}")


def unmount(directory: Path) -> None:
    subprocess.run(["umount", directory], check=True)


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Generator[Callable[[], None], None, None]:
    """A disk of that size at the directory; the function makes it larger."""
    directory.mkdir()
    mount("-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", directory)
    try:
        yield lambda: mount("-o", "remount,size=256m", directory)
    finally:
        unmount(directory)


class CrashableDisk:
    """An ext4 file system in an image; what was not synced when its power fails is not in the image."""

    def __init__(self, directory: Path, mebibytes: int = 64) -> None:
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("mkfs.ext4 is not installed")
        self.directory = directory
        self._image = directory.with_name(f"{directory.name}.0.img")
        self._number = 0
        with self._image.open("wb") as file:
            file.truncate(mebibytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self._image], check=True)
        directory.mkdir()
        mount("-o", "loop", self._image, directory)

    def fail(self) -> None:
        """Cut the power, and come up again; whoever wrote there is dead already."""
        self._number += 1
        image = self.directory.with_name(f"{self.directory.name}.{self._number}.img")
        subprocess.run(["cp", "--sparse=always", self._image, image], check=True)
        unmount(self.directory)
        self._image.unlink()
        self._image = image
        mount("-o", "loop", image, self.directory)

    def close(self) -> None:
        unmount(self.directory)
        self._image.unlink()


@contextmanager
def syncs_fail(pid: int, number: int) -> Generator[None, None, None]:
    """Let each fsync of a running process fail with EIO, from this one on, counted from 1."""
    calls = "fsync,fdatasync,syncfs"
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    command += ["-e", f"inject={calls}:error=EIO:when={number}+", "-p", str(pid)]
    tracer = subprocess.Popen(command)
    try:
        while f"TracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{pid}/status").read_text():
            if tracer.poll() is not None:
                pytest.skip("strace may not attach to a process here")
        yield
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.wait()
