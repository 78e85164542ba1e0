"""Fuzz one decoder, guided by the branches that the bytes take: `python -m tests.faults.fuzz DECODER SECONDS`.

Ends with an error, and keeps the bytes below the working directory, where a decoder raises what it has no name for.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["playhead", "tests.faults.decoders"]):
    from tests.faults.decoders import BARE, DECODERS


def main(name: str, seconds: str) -> None:
    decoder = (DECODERS | {"bare": BARE})[name]
    with TemporaryDirectory() as corpus:
        (Path(corpus) / "example").write_bytes(decoder.example)
        atheris.Setup([name, corpus, f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-max_len=4096"], decoder.read)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
