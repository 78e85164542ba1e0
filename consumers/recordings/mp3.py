"""The length of an MP3, read from its frames.

A first frame with the tag of LAME holds no audio, but how many samples the encoder put before and after it:
http://gabriel.mp3-tech.org/mp3infotag.html
"""

import msgspec

from playhead.consumers.recordings.errors import InvalidAudio

_RATES = (44100, 48000, 32000)
_BIT_RATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Thousands of bits a second of MPEG-1, and of MPEG-2 and 2.5."""
_LAYER_MASK, _LAYER_3 = 0xFFE6, 0xFFE2
_MONO = 3
_TAGS = (b"Xing", b"Info")
_TAG_SIZE = 156
_CHECKED_SIZE = 190
_MOST_TRIMMED = 4095


class Mp3(msgspec.Struct, frozen=True):
    """What an MP3 holds; `delay` and `padding` are samples to leave out before and after."""

    rate: int
    channels: int
    samples: int
    delay: int
    padding: int

    @property
    def duration_ms(self) -> int:
        """Its length in milliseconds."""
        return round(self.samples * 1000 / self.rate)


class _Frame(msgspec.Struct, frozen=True):
    size: int
    samples: int
    rate: int
    channels: int
    side: int


def read_mp3(data: bytes, name: str = "the MP3") -> Mp3:
    """Walk over every frame.

    Raises:
        InvalidAudio: it is no MP3, or is cut short.
    """
    position = samples = delay = padding = 0
    first: _Frame | None = None
    while position < len(data):
        frame = _frame(data, position)
        if frame is None or position + frame.size > len(data):
            raise InvalidAudio(name, f"no whole MP3 frame at byte {position}")
        tag = None if first is not None else _tag(data[position : position + frame.size], frame)
        if tag is None:
            samples += frame.samples
        else:
            delay, padding = tag
        first = first or frame
        position += frame.size
    if first is None:
        raise InvalidAudio(name, "it is empty")
    return Mp3(first.rate, first.channels, max(0, samples - delay - padding), delay, padding)


def untag_mp3(data: bytes) -> tuple[bytes, int, int]:
    """The frames that hold audio, and how many samples before and after the sound they hold; 0 if no tag says it."""
    frame = _frame(data, 0)
    tag = None if frame is None else _tag(data[: frame.size], frame)
    return (data, 0, 0) if frame is None or tag is None else (data[frame.size :], *tag)


def trim_mp3(data: bytes, before: int, after: int) -> bytes:
    """Mark further samples at the beginning and the end as such to leave out.

    Raises:
        InvalidAudio: it has no tag that could say so.
    """
    frame = _frame(data, 0)
    tag = None if frame is None else _tag(data[: frame.size], frame)
    if frame is None or tag is None:
        raise InvalidAudio("the MP3", "it has no tag")
    delay, padding = tag[0] + before, tag[1] + after
    if max(delay, padding) > _MOST_TRIMMED:
        raise InvalidAudio("the MP3", f"its tag cannot say {max(delay, padding)} samples")
    start = 4 + frame.side
    changed = bytearray(data)
    changed[start + 141 : start + 144] = (delay << 12 | padding).to_bytes(3)
    changed[start + 154 : start + 156] = bytes(2)
    changed[start + 154 : start + 156] = _crc16(changed[:_CHECKED_SIZE]).to_bytes(2)
    return bytes(changed)


def _crc16(data: bytes | bytearray) -> int:
    """CRC-16/ARC, as the tag has it of the beginning of its frame."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


def _frame(data: bytes, position: int) -> _Frame | None:
    if len(data) < position + 4 or int.from_bytes(data[position : position + 2]) & _LAYER_MASK != _LAYER_3:
        return None
    version = {3: 1, 2: 2, 0: 4}.get(data[position + 1] >> 3 & 3)  # 4 is MPEG-2.5: a quarter of the rates
    bit_rate, rate = data[position + 2] >> 4, data[position + 2] >> 2 & 3
    if version is None or bit_rate in {0, 15} or rate >= len(_RATES):
        return None
    frequency = _RATES[rate] // version
    samples = 1152 if version == 1 else 576
    bits = _BIT_RATES[min(version, 2)][bit_rate] * 1000
    size = samples // 8 * bits // frequency + (data[position + 2] >> 1 & 1)
    channels = 1 if data[position + 3] >> 6 == _MONO else 2
    side = (32 if channels == 2 else 17) if version == 1 else (17 if channels == 2 else 9)  # noqa: PLR2004
    return _Frame(size, samples, frequency, channels, side)


def _tag(frame: bytes, about: _Frame) -> tuple[int, int] | None:
    """Delay and padding, if the frame is a tag."""
    start = 4 + about.side
    if frame[start : start + 4] not in _TAGS:
        return None
    if len(frame) < start + _TAG_SIZE:
        return 0, 0
    high, middle, low = frame[start + 141 : start + 144]
    return high << 4 | middle >> 4, (middle & 15) << 8 | low
