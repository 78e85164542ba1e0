"""Voices made at run time, for trying things out: syllables of a hum with overtones, and pauses between words."""

import math
import random
from array import array

_OVERTONES = (1.0, 0.7, 0.5, 0.35, 0.2)
_TABLE = 2048
_SYLLABLE_SECONDS = 0.18


def speak(seconds: float, hertz: float, *, rate: int = 48000, channels: int = 1, seed: int = 0) -> bytes:
    """Say something without a meaning, as signed 16-bit little-endian PCM; the same seed says the same."""
    chance = random.Random(seed)
    wave = [
        sum(part * math.sin(2 * math.pi * (n + 1) * step / _TABLE) for n, part in enumerate(_OVERTONES))
        for step in range(_TABLE)
    ]
    said = array("h")
    length = round(seconds * rate)
    phase = 0.0
    while len(said) < length:
        frames = round(_SYLLABLE_SECONDS * rate * chance.uniform(0.6, 1.6))
        loud = 0.0 if chance.random() < 0.25 else chance.uniform(2500, 7000)  # noqa: PLR2004  # a pause in four
        step = hertz * chance.uniform(0.85, 1.2) * _TABLE / rate
        for frame in range(frames):
            phase = (phase + step) % _TABLE
            said.append(int(loud * math.sin(math.pi * frame / frames) * wave[int(phase)]))
    mono = said[:length]
    if channels == 1:
        return mono.tobytes()
    both = array("h", bytes(2 * channels * length))
    for channel in range(channels):
        both[channel::channels] = mono
    return both.tobytes()
