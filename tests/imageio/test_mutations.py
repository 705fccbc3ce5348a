"""Sample files with random damage are read and written, or raise only our own errors."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from a2f.errors import A2FError
from a2f.imageio import FORMATS, encode_image, left_out_note, read_image

FILES = sorted((Path(__file__).parents[1] / "golden").iterdir())


def mutated(blob: bytes, rng: random.Random) -> bytes:
    """Change bytes, increase lengths, and remove, swap, duplicate or truncate parts, mostly in headers."""
    out = bytearray(blob)
    reach = min(len(out), 1500) if rng.random() < 0.7 else len(out)
    for _ in range(rng.randint(1, 4)):
        at, other = rng.randrange(min(reach, len(out))), rng.randrange(len(out))
        kind = rng.randrange(6)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
        elif kind == 2:
            del out[at : at + rng.randint(1, 20)]
        elif kind == 3:
            out[at : at + 8], out[other : other + 8] = out[other : other + 8], out[at : at + 8]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randint(1, 50)]
        else:
            del out[max(at, 20) :]
    return bytes(out)


@pytest.mark.integration
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_damage_of_every_kind(path: Path) -> None:
    rng, blob = random.Random(path.name), path.read_bytes()
    read, messages = 0, []
    for number in range(80):
        try:
            picture = read_image(mutated(blob, rng), allow_truncated=number % 2 == 0, max_pixels=10**5)
            large = replace(picture, pixels=picture.pixels.repeat(2, 0).repeat(2, 1))
            format = ("jpeg", "png", "tiff", "webp", "bmp")[number % 5]
            left_out_note(large, format)
            encode_image(large, format=format, force=True)
            read += 1
        except A2FError as error:
            messages.append(str(error))
    assert messages
    assert not [message for message in messages if "\n" in message]
    assert read > 0 or path.suffix == ".avif"  # of which hardly a bit may be wrong


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory as Linux tells it")
def test_damage_stays_within_time_and_memory() -> None:
    """Run the program of `make nightly` with few files of each container."""
    program = Path(__file__).parents[1] / "mutations.py"
    done = subprocess.run([sys.executable, program, "--count", "20"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {row[0] for row in rows} == {*FORMATS, "bigtiff"}
    assert all(int(row[1]) + int(row[2]) == 20 for row in rows)
