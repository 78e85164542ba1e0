"""Audio files as recorders, phones and browsers leave them: all of their audio is read, and no more than that."""

import os
import struct
import subprocess

import numpy as np
import pytest

from playhead.consumers.recordings.decoding import Decoder
from playhead.consumers.recordings.errors import FfmpegFailed, InvalidAudio
from playhead.consumers.recordings.ffmpeg import Children, Pcm, find_ffmpeg
from playhead.consumers.recordings.wav import find_wav
from tests.support.audio import tone

FORM = Pcm(8000, 1)
PCM = tone(0.05, form=FORM)
PCM_FORM, FLOAT_FORM, A_LAW, MU_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
UNKNOWN = 0xFFFFFFFF


def chunk(name, content, size=None, *, padded=True):
    return (
        name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2 * padded)
    )


def fmt(tag=PCM_FORM, channels=1, rate=8000, bits=16, more=b"", block=None):
    block = channels * bits // 8 if block is None else block
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + more)


def riff(*chunks, size=None, name=b"RIFF"):
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(body) if size is None else size) + body


def ds64(size):
    return chunk(b"ds64", struct.pack("<QQQI", 0, size, 0, 0))


DATA = chunk(b"data", PCM)
UNSIZED = chunk(b"data", PCM, UNKNOWN)
INFO = chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"a tester"))
ODD = chunk(b"LIST", b"INFOabc")
UNPADDED = chunk(b"LIST", b"INFOabc", padded=False)
GUID = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"

WHOLE = {
    "plain": riff(fmt(), DATA),
    "extensible": riff(fmt(EXTENSIBLE, more=struct.pack("<HHIH", 22, 16, 4, 1) + GUID), DATA),
    "fmt of 18 bytes": riff(fmt(more=b"\0\0"), DATA),
    "RF64": riff(ds64(len(PCM)), fmt(), UNSIZED, name=b"RF64", size=UNKNOWN),
    "BW64": riff(ds64(len(PCM)), fmt(), UNSIZED, name=b"BW64", size=UNKNOWN),
    "RF64 with a size in 32 bits": riff(ds64(len(PCM)), fmt(), DATA, name=b"RF64"),
    "RF64 of 0 bytes": riff(ds64(0), fmt(), UNSIZED, name=b"RF64", size=UNKNOWN),
    "RF64 of too many bytes": riff(ds64(2**64 - 1), fmt(), UNSIZED, name=b"RF64", size=UNKNOWN),
    "RF64 of too few bytes": riff(ds64(200), fmt(), UNSIZED, name=b"RF64", size=UNKNOWN),
    "RF64 without ds64": riff(fmt(), UNSIZED, name=b"RF64", size=UNKNOWN),
    "room for ds64": riff(chunk(b"JUNK", bytes(28)), fmt(), DATA),
    "streamed": riff(fmt(), UNSIZED, size=UNKNOWN),
    "streamed, signed": riff(fmt(), chunk(b"data", PCM, 0x7FFFFFFF), size=0x7FFFFFFF),
    "streamed, less a header": riff(fmt(), chunk(b"data", PCM, UNKNOWN - 36), size=UNKNOWN),
    "never finished": riff(fmt(), chunk(b"data", PCM, 0), size=0),
    "never finished but for RIFF": riff(fmt(), chunk(b"data", PCM, 0)),
    "never finished, with LIST": riff(fmt(), INFO, chunk(b"data", PCM, 0), size=36),
    "sizes wrapped": riff(fmt(), chunk(b"data", PCM, 200), size=236),
    "size in frames": riff(fmt(), chunk(b"data", PCM, len(PCM) // 2)),
    "size with the header": riff(fmt(), chunk(b"data", PCM, len(PCM) + 44)),
    "LIST before data": riff(fmt(), INFO, DATA),
    "LIST before fmt": riff(INFO, fmt(), DATA),
    "LIST behind data": riff(fmt(), DATA, INFO),
    "LIST cut short behind data": riff(fmt(), DATA, INFO)[:-3],
    "LIST of an odd size": riff(fmt(), ODD, DATA),
    "LIST of an odd size without padding": riff(fmt(), UNPADDED, DATA),
    "LIST of an odd size without padding behind data": riff(fmt(), DATA, UNPADDED),
    "fmt behind data": riff(DATA, fmt()),
    "ID3v1 behind data": riff(fmt(), DATA) + b"TAG" + b"a" * 125,
    "ID3v2 behind data": riff(fmt(), DATA) + b"ID3\4\0\0\0\0\0\x20" + b"a" * 32,
    "some bytes behind data": riff(fmt(), DATA) + b"\n\n\n",
    "half a frame behind data": riff(fmt(), chunk(b"data", PCM + b"\1")),
    "block of 0 bytes": riff(fmt(block=0), DATA),
    "an empty chunk": riff(fmt(), chunk(b"fact", b""), DATA),
}

FORMS = {
    "8 bit": (PCM_FORM, 8, "u1", lambda wave: wave / 256 + 128),
    "24 bit": (PCM_FORM, 24, None, None),
    "32 bit": (PCM_FORM, 32, "<i4", lambda wave: wave * 65536),
    "float": (FLOAT_FORM, 32, "<f4", lambda wave: wave / 32768),
    "double": (FLOAT_FORM, 64, "<f8", lambda wave: wave / 32768),
}


@pytest.fixture
def decoder():
    return Decoder(find_ffmpeg(None), Children())


def write(tmp_path, content, name="a.wav"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def read(decoder, path, form=None):
    file = decoder.look(path)
    with decoder.decode(file, form or file.form) as decoding:
        return file, decoding.read(1 << 30), decoding.finish()


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_wav_file_is_read_to_its_last_frame_whatever_its_header_says(decoder, tmp_path, content):
    file, pcm, said = read(decoder, write(tmp_path, content))

    assert (FORM, PCM, "") == (file.form, pcm, said)


@pytest.mark.parametrize("name", ["sizes wrapped", "never finished", "size with the header", "RF64 of too few bytes"])
def test_a_header_that_is_wrong_is_said_with_the_true_length(decoder, tmp_path, name):
    problem = decoder.look(write(tmp_path, WHOLE[name])).problem

    assert "there are 0.050 seconds" in problem


@pytest.mark.parametrize("name", ["plain", "extensible", "RF64", "streamed", "LIST behind data", "ID3v1 behind data"])
def test_of_a_header_that_is_right_or_says_that_it_does_not_know_nothing_is_said(decoder, tmp_path, name):
    assert decoder.look(write(tmp_path, WHOLE[name])).problem is None


@pytest.mark.parametrize("left", [1, 2, 3, 300, 799])
def test_a_wav_file_that_is_cut_short_is_read_as_far_as_it_goes(decoder, tmp_path, left):
    file, pcm, _ = read(decoder, write(tmp_path, riff(fmt(), DATA)[: 44 + left]))

    assert PCM[: left // 2 * 2] == pcm
    assert f"its header says 0.050 seconds, and there are {left // 2 / 8000:.3f} seconds" in file.problem


def test_sizes_of_more_than_4_gib_are_told_from_what_follows(tmp_path):
    """As a header has them: what is left of the size in 32 bits, and a chunk behind it all."""
    path = write(tmp_path, riff(fmt(), chunk(b"data", b"", 200)))
    with path.open("r+b") as file:
        file.seek(44 + (1 << 32) + 200)
        file.write(INFO)
    with path.open("rb") as file:
        found = find_wav(file)

    assert (44, (1 << 32) + 200) == (found.start, found.length)


@pytest.mark.parametrize("behind", [riff(fmt(), DATA), DATA])
def test_a_second_recording_in_a_file_is_not_left_out_in_silence(decoder, tmp_path, behind):
    file, pcm, _ = read(decoder, write(tmp_path, riff(fmt(), DATA) + behind))

    assert PCM == pcm
    assert "another recording follows" in file.problem


def test_a_wav_file_of_nothing_but_chunks_has_no_audio(decoder, tmp_path):
    _, pcm, said = read(decoder, write(tmp_path, riff(fmt(), chunk(b"data", b""), INFO)))

    assert (b"", "") == (pcm, said)


@pytest.mark.parametrize("name", FORMS)
def test_samples_of_every_size_become_16_bits(decoder, tmp_path, name):
    tag, bits, dtype, scale = FORMS[name]
    wave = np.frombuffer(PCM, "<i2").astype(float)
    if dtype is None:
        audio = b"".join(b"\0" + PCM[n : n + 2] for n in range(0, len(PCM), 2))
    else:
        audio = scale(wave).astype(dtype).tobytes()
    _, pcm, said = read(decoder, write(tmp_path, riff(fmt(tag, bits=bits), chunk(b"data", audio))))

    assert ("", len(PCM)) == (said, len(pcm))
    assert np.abs(np.frombuffer(pcm, "<i2") - wave).max() <= (256 if bits == 8 else 1)


@pytest.mark.parametrize("tag", [A_LAW, MU_LAW])
def test_telephones_are_understood(decoder, tmp_path, tag):
    _, pcm, said = read(decoder, write(tmp_path, riff(fmt(tag, bits=8), chunk(b"data", bytes(400)))))

    assert ("", 800) == (said, len(pcm))


@pytest.mark.parametrize("channels", [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 64])
@pytest.mark.parametrize("wanted", [1, 2])
def test_many_channels_are_mixed(decoder, tmp_path, channels, wanted):
    audio = np.repeat(np.frombuffer(PCM, "<i2")[:, None], channels, axis=1).tobytes()
    path = write(tmp_path, riff(fmt(channels=channels), chunk(b"data", audio)))
    file, pcm, said = read(decoder, path, Pcm(8000, wanted))

    assert (channels, "", len(PCM) * wanted) == (file.form.channels, said, len(pcm))
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 2000


def test_one_channel_is_as_loud_in_two(decoder, tmp_path):
    _, pcm, _ = read(decoder, write(tmp_path, riff(fmt(), DATA)), Pcm(8000, 2))

    assert np.repeat(np.frombuffer(PCM, "<i2"), 2).tolist() == np.frombuffer(pcm, "<i2").tolist()


@pytest.mark.parametrize("rate", [1000, 6000, 22255, 44056, 96000, 192000])
def test_a_rate_that_mp3_has_not_becomes_one_that_it_has(decoder, tmp_path, rate):
    form = Pcm(rate, 1)
    _, pcm, said = read(
        decoder, write(tmp_path, riff(fmt(rate=rate), chunk(b"data", tone(1, 100, form)))), Pcm(48000, 1)
    )

    assert "" == said
    assert 96000 == pytest.approx(len(pcm), abs=200)


NOTHING = {
    "empty": b"",
    "a name": b"RIFF",
    "no chunk": riff(),
    "no form": riff(DATA),
    "no audio": riff(fmt()),
    "a rate of 0": riff(fmt(rate=0), DATA),
    "no channels": riff(fmt(channels=0, block=2), DATA),
    "text": b"this is no audio " * 100,
    "zeros": bytes(4096),
    "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
}


@pytest.mark.parametrize("content", NOTHING.values(), ids=NOTHING)
def test_what_is_no_audio_is_said_to_be_none(decoder, tmp_path, content):
    with pytest.raises(InvalidAudio, match=r"a\.wav: ffmpeg reads no audio in it"):
        read(decoder, write(tmp_path, content))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_said_to_be_none(decoder, tmp_path, make):
    make(tmp_path / "a.wav")
    with pytest.raises(InvalidAudio, match="it is not a file"):
        decoder.look(tmp_path / "a.wav")


def encoded(tmp_path, suffix, seconds=2.0):
    source = write(tmp_path, riff(fmt(rate=48000), chunk(b"data", tone(seconds, form=Pcm(48000, 1)))), "source.wav")
    path = tmp_path / f"a.{suffix}"
    subprocess.run([find_ffmpeg(None), "-v", "error", "-i", source, path], check=True)
    return path


@pytest.mark.parametrize("seconds", [0.05, 2.0])
@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac", "m4a", "opus", "webm", "aiff", "caf", "w64", "au", "wv"])
def test_other_formats_are_read_whatever_they_are_called(decoder, tmp_path, suffix, seconds):
    path = encoded(tmp_path, suffix, seconds)
    other = path.rename(tmp_path / "-no\nname.wav")
    file, pcm, said = read(decoder, other)

    assert (Pcm(48000, 1), "") == (file.form, said)
    assert seconds == pytest.approx(len(pcm) / 96000, abs=0.01)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac", "opus"])
def test_other_formats_that_are_cut_short_are_read_as_far_as_they_go(decoder, tmp_path, suffix):
    path = encoded(tmp_path, suffix, 12.0)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    _, pcm, _ = read(decoder, path)

    assert 3 < len(pcm) / 96000 < 10


def test_an_ffmpeg_that_is_ended_has_not_read_all(decoder, tmp_path):
    path = write(tmp_path, riff(fmt(), chunk(b"data", bytes(10_000_000))))
    with decoder.decode(decoder.look(path), FORM) as decoding:
        decoding.read(1000)
        decoding._child.terminate()  # noqa: SLF001  # as whoever ends every ffmpeg of a machine
        decoding.read(1 << 30)
        with pytest.raises(FfmpegFailed, match="before it had read all"):
            decoding.finish()
