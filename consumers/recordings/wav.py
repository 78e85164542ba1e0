"""Where the audio of a WAV file lies, whatever its header says of it.

Recorders that stream, or die, leave sizes of 0 or 4 GiB, and files above 4 GiB have what is left of theirs in 32 bits.
So a size is believed only if what follows it are chunks: https://tech.ebu.ch/docs/tech/tech3306v1_0.pdf has them all.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

_HEAD, _CHUNK = 12, 8
_FORMS = {b"RIFF", b"RF64", b"BW64"}
_KNOWN = {
    *(b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"fact", b"smpl", b"inst", b"PEAK", b"JUNK", b"junk"),
    *(b"fmt ", b"data", b"ds64"),
    *(b"FLLR", b"PAD ", b"axml", b"chna", b"_PMX", b"cart", b"afsp", b"acid", b"plst", b"note", b"labl", b"r64m"),
}
_APPENDED = (b"ID3", b"TAG", b"APETAGEX")
_MORE_AUDIO = {b"data", *_FORMS}
_UNKNOWN_SIZE = 0x7FFFF000
"""From here up a size that the file does not have is no size, but what a recorder writes that does not know it."""
_WRAP = 1 << 32
_FORM_LEAST, _FORM_MOST = 14, 4096
_MOST_CHUNKS = 10_000


class Wav(msgspec.Struct, frozen=True):
    """The `length` bytes of audio from `start`, in the form that `fmt`, a chunk, says; and what is strange about it."""

    fmt: bytes
    start: int
    length: int
    problem: str | None = None

    @property
    def channels(self) -> int:
        """Channels of its form."""
        return int.from_bytes(self.fmt[2:4], "little")

    @property
    def rate(self) -> int:
        """Frames a second."""
        return int.from_bytes(self.fmt[4:8], "little")

    @property
    def header(self) -> bytes:
        """A header that says nothing of the length, for what reads up to the end."""
        fmt = b"fmt " + struct.pack("<I", len(self.fmt)) + self.fmt + b"\0" * (len(self.fmt) % 2)
        return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff"


class _Chunk(msgspec.Struct, frozen=True):
    name: bytes
    start: int
    size: int


def find_wav(file: BinaryIO) -> Wav | None:
    """Find the audio of a WAV file; None if it is no WAV file, or lacks its form or its audio."""
    size = file.seek(0, os.SEEK_END)
    head = _at(file, 0, _HEAD)
    if len(head) < _HEAD or head[:4] not in _FORMS or head[8:] != b"WAVE":
        return None
    fmt, audio, long_size = None, None, None
    for chunk in _chunks(file, _HEAD, size):
        if chunk.name == b"ds64":
            long_size = int.from_bytes(_at(file, chunk.start + 8, 8), "little")
        elif chunk.name == b"fmt " and fmt is None and chunk.size >= _FORM_LEAST:
            fmt = _at(file, chunk.start, min(chunk.size, _FORM_MOST))
        elif chunk.name == b"data" and audio is None:
            audio = chunk
        if fmt is not None and audio is not None:
            is_long = long_size is not None and audio.size == _WRAP - 1
            return _measured(file, size, fmt, audio.start, long_size or 0 if is_long else audio.size)
    return None


def _measured(file: BinaryIO, size: int, fmt: bytes, start: int, said: int) -> Wav:
    there = size - start
    length, follows = _length(file, start, size, said)
    block = int.from_bytes(fmt[12:14], "little")
    length -= length % block if block else 0
    problem = None
    if follows & _MORE_AUDIO:
        problem = "another recording follows in the same file and is not read: split the file"
    elif said > there and said < _UNKNOWN_SIZE:
        problem = f"it is cut short: its header says {_seconds(fmt, said)}, and there are {_seconds(fmt, length)}"
    elif length > said:
        problem = f"its header says {_seconds(fmt, said)}, and there are {_seconds(fmt, length)}"
    return Wav(fmt, start, length, problem)


def _length(file: BinaryIO, start: int, size: int, said: int) -> tuple[int, set[bytes]]:
    """Bytes of audio, and the names of the chunks behind them."""
    there = size - start
    if said >= there:
        return there, set()
    for length in range(said, there + 1, _WRAP):
        follows = _names(file, start + length, size)
        if follows is not None and (length or follows):
            return length, follows
    return there, set()


def _names(file: BinaryIO, start: int, end: int) -> set[bytes] | None:
    """The names of the chunks that take up a file from here to its end; None if there is anything else."""
    if _at(file, start, _CHUNK).startswith(_APPENDED):
        return set()
    names: set[bytes] = set()
    for chunk in _chunks(file, start, end):
        if not _is_name(chunk.name) or (chunk.start + chunk.size > end and chunk.name not in _KNOWN - _MORE_AUDIO):
            return None
        names.add(chunk.name)
    return names


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[_Chunk]:
    """Chunks one after another, those of an odd size with the padding that belongs there, or without."""
    for _ in range(_MOST_CHUNKS):
        head = _at(file, start, _CHUNK)
        if len(head) < _CHUNK or start + _CHUNK > end:
            return
        size = int.from_bytes(head[4:], "little")
        yield _Chunk(head[:4], start + _CHUNK, size)
        start += _CHUNK + size
        if size % 2 and not (_at(file, start, 4) in _KNOWN and _at(file, start + 1, 4) not in _KNOWN):
            start += 1


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)  # noqa: PLR2004  # printable ASCII


def _at(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _seconds(fmt: bytes, length: int) -> str:
    rate = int.from_bytes(fmt[8:12], "little")
    return f"{length / rate:.3f} seconds" if rate else f"{length} bytes"
