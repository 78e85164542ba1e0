"""Whether files can be written, synced and renamed where they belong."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from playhead.checks.check import Check, judge
from playhead.streams.storage.durability import sync_directory

_LITTLE, _TOO_LITTLE = 2**30, 100 * 2**20
_PROBE = ".playhead-doctor"
_FULL = {errno.ENOSPC, errno.EDQUOT}


def check_directory(name: str, setting: str, directory: Path) -> Iterator[Check]:
    """Write, sync and rename a file there; if the directory is not there yet, in what it will be made in."""
    found = str(directory)
    try:
        existing = next(parent for parent in (directory.absolute(), *directory.absolute().parents) if parent.exists())
        if existing != directory.absolute():
            found = f"{directory}, to be created in {existing}"
        _write(existing)
    except OSError as error:
        mend = "free space" if error.errno in _FULL else "make it writable for this user"
        yield Check(name, "fail", f"{found}: {error.strerror}", f"{mend}, or set {setting}")
        return
    yield Check(name, "ok", found)
    yield _space(name, existing)
    parts = [path for path in existing.iterdir() if path.is_dir()] if existing == directory.absolute() else []
    elsewhere = [path.name for path in parts if path.stat().st_dev != existing.stat().st_dev]
    if elsewhere:
        yield Check(
            f"{name} file system",
            "fail",
            f"{', '.join(elsewhere)} is on another file system",
            "mount the whole directory instead: files are renamed into place, which works only within one file system",
        )


def _write(directory: Path) -> None:
    first, second = directory / f"{_PROBE}-{os.getpid()}", directory / f"{_PROBE}-{os.getpid()}.renamed"
    try:
        with first.open("wb") as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
        first.replace(second)
        sync_directory(directory)
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)


def _space(name: str, directory: Path) -> Check:
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    return judge(
        f"{name} free space",
        f"{free / 2**30:.1f} GiB",
        good=free >= _LITTLE,
        otherwise="fail" if free < _TOO_LITTLE else "warn",
        advice="free space, or move the directory: consumers wait until there is space",
    )
