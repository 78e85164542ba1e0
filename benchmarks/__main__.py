"""`python -m benchmarks`: one run of every benchmark, ratios with their aims, and docs/benchmarks.md."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import appends, archives, latency, organizations, recorded, recordings, sinks
from benchmarks.contest import Section
from benchmarks.machine import describe
from benchmarks.report import lines, page
from benchmarks.stack import Stack, fresh_directory, started

BENCHMARKS: dict[str, Callable[[Stack, bool], Section]] = {
    "append": appends.append,
    "log": sinks.log,
    "jobs": sinks.jobs,
    "json-files": sinks.json_files,
    "archives": archives.archives,
    "organizations": organizations.organizations,
    "recordings": recordings.recordings,
    "day": sinks.day,
    "read": recorded.log_read,
    "replay": recorded.replay,
    "latency": latency.latency,
    "memory": recorded.memory,
    "startup": latency.startup,
}
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> int:
    """Run what was asked for; the page is written after a whole run only."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="few events: shows that it runs, not how fast")
    parser.add_argument(
        "--directory", type=Path, help="where to work, on the disk to measure; default: a temporary one"
    )
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        parser.error("the benchmarks read /proc and run on Linux only")
    directory = Path(tempfile.mkdtemp(prefix="playhead-benchmarks-", dir=options.directory))
    sections: list[Section] = []
    try:
        machine = describe(directory)
        print(f"load before: {machine['load before']}; the less else runs, the truer the ratios", flush=True)
        for name in options.only or BENCHMARKS:
            with started(fresh_directory(directory, name)) as stack:
                sections.append(BENCHMARKS[name](stack, options.quick))
            print(*lines(sections[-1]), sep="\n", flush=True)
    finally:
        shutil.rmtree(directory)
    if options.only or options.quick:
        return 0
    PAGE.write_text(page(PAGE.read_text(), machine, sections))
    print(f"\nwritten to {PAGE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
