"""Try damaged files of each container: each must be read or refused in one line, within limits, without a crash.

    python tests/mutations.py --count 1000            all containers; a table, and exit 1 if anything is wrong
    python tests/mutations.py --only png --count 5000 --first 200

A file depends only on its container and number, so that a failing number can be repeated alone. A child process does
the work. Its address space is limited, its additional memory is measured, and the parent kills it if a file takes
longer than 30 seconds.
"""

import argparse
import json
import os
import random
import resource
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SECONDS = 30  # for one file
MEMORY_MIB = 256  # limit of the measured memory of one file
ADDRESSES_MIB = 1024  # enforced limit of the additional address space
MAX_PIXELS = 10**6


# --- the files -----------------------------------------------------------------------------------------------------


def containers() -> dict[str, list[bytes]]:
    """Valid files of each container, with metadata."""
    import numpy as np
    from PIL import Image

    from a2f.imageio import FORMATS, Metadata, Picture, encode_image
    from a2f.imageio.colour import PRIMARIES, SRGB_CURVE, profile_of

    y, x = np.mgrid[0:48, 0:64]
    rgb = np.stack([127 + 100 * np.sin(x / 5 + c) * np.cos(y / 7) for c in range(4)], -1).astype(np.uint8)
    rgb[..., 3] = (x * 4).clip(0, 255)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a/></x:xmpmeta>'
    profile = profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)
    metadata = Metadata(icc=profile, exif=exif.tobytes(), xmp=xmp, dpi=(300.0, 300.0))
    files = {}
    for name, entry in FORMATS.items():
        opaque = encode_image(Picture(pixels=rgb[..., :3], metadata=metadata), format=name)
        alpha = Picture(pixels=np.where(rgb[..., 3:] > 99, rgb, 0) if not entry.soft else rgb)
        deep = Picture(pixels=rgb[..., :3].astype(np.uint16) * 257)
        files[name] = [opaque, encode_image(alpha, format=name, force=True)]
        files[name] += [encode_image(deep, format=name)] if entry.deep else []

    _add_those_of_others(files, rgb)
    return files


def _add_those_of_others(files: dict[str, list[bytes]], rgb: "np.ndarray") -> None:
    """Files of kinds that our encoders do not write."""
    import io

    import numpy as np
    import OpenEXR
    import tifffile
    from PIL import Image

    from a2f.imageio import Picture, encode_image
    from a2f.imageio.light import light_of, to_network

    def saved(image: Image.Image, format: str, **options: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, format, **options)
        return out.getvalue()

    def tiff(values: np.ndarray, **options: Any) -> bytes:
        out = io.BytesIO()
        tifffile.imwrite(out, values, photometric="rgb", **options)
        return out.getvalue()

    def exr(values: np.ndarray) -> bytes:
        """An uncompressed file, in which damaged pixels do not damage the structure."""
        out = io.BytesIO()
        header = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": values.astype(np.float16)}).write(out)
        return out.getvalue()

    image = Image.fromarray(rgb[..., :3])
    light = (rgb[..., :3] / 255.0) ** 3 * 9
    told = light_of(light, "light")
    floats = Picture(pixels=to_network(light, told), light=told)
    files["jpeg"].append(saved(image, "JPEG", progressive=True, comment=b"comment"))
    files["jpeg"].append(saved(image.convert("CMYK"), "JPEG"))
    files["gif"].append(saved(image.convert("P"), "GIF", save_all=True, append_images=[image.rotate(9).convert("P")]))
    files["tiff"].append(tiff(rgb[..., :3], rowsperstrip=7, description="images=4"))
    files["tiff"].append(encode_image(floats, format="tiff"))
    files["bigtiff"] = [tiff(rgb[..., :3], bigtiff=True), tiff(rgb[..., :3], bigtiff=True, tile=(16, 16))]
    files["exr"].append(exr(rgb[..., :3]))
    files["png"].append(saved(image.convert("P"), "PNG"))
    files["tga"].append(saved(image.convert("P"), "TGA"))
    files["dds"].append(saved(Image.fromarray(rgb), "DDS", pixel_format="DXT5"))


# --- the damage ----------------------------------------------------------------------------------------------------


def mutated(blob: bytes, rng: random.Random) -> bytes:
    """Flip bits, increase lengths, remove, duplicate or truncate parts, or swap chunks."""
    if rng.random() < 0.25:
        blob = swapped(blob, rng)
    out = bytearray(blob)
    reach = min(len(out), 1500) if rng.random() < 0.7 else len(out)  # mostly where headers lie
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(max(1, min(reach, len(out))))
        kind = rng.randrange(6)
        if kind <= 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
        elif kind == 3:
            del out[at : at + rng.randint(1, 40)]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randint(1, 60)]
        else:
            del out[max(at, 20) :]
        if len(out) < 8:
            break
    damaged = bytes(out)
    return with_checksums(damaged) if damaged.startswith(b"\x89PNG") and rng.random() < 0.5 else damaged


def swapped(blob: bytes, rng: random.Random) -> bytes:
    """Swap two parts: chunks, if the container has chunks."""
    ends = boundaries(blob)
    if len(ends) < 4:
        ends = sorted(rng.sample(range(len(blob)), min(8, len(blob))))
    parts = [blob[a:b] for a, b in zip([0, *ends], [*ends, len(blob)], strict=True)]
    first, second = rng.sample(range(1, len(parts)), 2)
    parts[first], parts[second] = parts[second], parts[first]
    return b"".join(parts)


def boundaries(blob: bytes) -> list[int]:
    """The positions of chunks, segments, boxes and entries of a TIFF directory."""
    found, at = [], 0
    if blob.startswith(b"\x89PNG"):
        at, step = 8, lambda p: 12 + int.from_bytes(blob[p : p + 4], "big")
    elif blob.startswith(b"RIFF"):
        at, step = 12, lambda p: 8 + (int.from_bytes(blob[p + 4 : p + 8], "little") + 1) // 2 * 2
    elif blob.startswith(b"\xff\xd8"):
        at, step = 2, lambda p: 2 + int.from_bytes(blob[p + 2 : p + 4], "big")
    elif blob[4:8] in (b"ftyp", b"JXL "):
        inside = (b"meta", b"iprp", b"ipco")  # whose boxes are swapped too
        at = 0

        def step(p: int) -> int:
            size = int.from_bytes(blob[p : p + 4], "big")
            kind = blob[p + 4 : p + 8]
            return (12 if kind == b"meta" else 8) if kind in inside else max(size, 8)

    elif blob[:2] in (b"II", b"MM"):
        big = blob[2] == 43 or blob[3] == 43
        start = int.from_bytes(blob[8:16] if big else blob[4:8], "little" if blob[:2] == b"II" else "big")
        entry = 20 if big else 12
        return list(range(start + (8 if big else 2), min(start + 20 * entry, len(blob)), entry))
    else:
        return []
    while at + 8 <= len(blob) and len(found) < 200:
        found.append(at)
        at += step(at)
    return found


def with_checksums(blob: bytes) -> bytes:
    """Correct the checksums of the chunks of a PNG, so that the damage is not found only by them."""
    out, at = bytearray(blob), 8
    while at + 12 <= len(out):
        length = struct.unpack_from(">I", out, at)[0]
        if at + 12 + length > len(out):
            break
        struct.pack_into(">I", out, at + 8 + length, zlib.crc32(out[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(out)


def file_of(files: dict[str, list[bytes]], container: str, number: int) -> bytes:
    """The damaged file of a number."""
    rng = random.Random(f"{container} {number}")
    return mutated(files[container][number % len(files[container])], rng)


# --- the child -----------------------------------------------------------------------------------------------------


def child(container: str, first: int, last: int) -> None:
    """Try files, and print a line for each: number, result, and memory."""
    from a2f.errors import A2FError
    from a2f.imageio import encode_image, left_out_note, read_image

    tell = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # where libraries print is not where the parent listens
    files = containers()
    for blob in files[container]:  # so that libraries are loaded before anything is measured
        encode_image(read_image(blob), format="png", force=True)
    limit = _status("VmSize") + ADDRESSES_MIB * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, last):
        blob = file_of(files, container, number)
        tell.write(json.dumps({"number": number}) + "\n")
        _reset_peak()
        start, before, wrong = time.monotonic(), _status("VmRSS"), ""
        try:
            picture = read_image(blob, allow_truncated=number % 2 == 0, max_pixels=MAX_PIXELS)
            format = ("png", "jpeg", "tiff", "webp")[number % 4]
            left_out_note(picture, format)
            encode_image(picture, format=format, force=True)
            became = "read"
        except A2FError as error:
            became = "refused"
            wrong = f"more than one line: {error}" if "\n" in str(error) else ""
        except BaseException as error:
            became, wrong = "failed", f"{type(error).__name__}: {error}"
        took = max(0, _status("VmHWM") - before) / 2**20
        told = {"became": became, "wrong": wrong, "seconds": time.monotonic() - start, "mib": took}
        tell.write(json.dumps(told) + "\n")


def _status(key: str) -> int:
    """A value of /proc/self/status in bytes; without it, the peak of the whole process."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # then the peak is that of all files so far, which is stricter
        return


# --- the parent ----------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """The results of the files of a container."""

    container: str
    became: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest_mib: float = 0.0
    wrong: list[str] = field(default_factory=list)


def check(container: str, *, count: int, first: int = 0) -> Report:
    """Try `count` damaged files of a container.

    Args:
        container: a key of `containers`.
        count: number of files.
        first: number of the first.
    """
    report, at = Report(container), first
    while at < first + count:
        command = [sys.executable, __file__, "--child", container, str(at), str(first + count)]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
            at = _followed(process, report, at, said)
    return report


def _followed(process: "subprocess.Popen[bytes]", report: Report, at: int, said: IO[bytes]) -> int:
    """Read the output of a child until it ends or is killed; the next number to try."""
    assert process.stdout is not None
    waiting, number, rest = selectors.DefaultSelector(), at - 1, b""
    waiting.register(process.stdout, selectors.EVENT_READ)
    while waiting.select(SECONDS if number >= at else 120):
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            break
        *lines, rest = (rest + part).split(b"\n")
        for told in map(json.loads, lines):
            number = told.get("number", number)
            if "became" in told:
                _note(report, number, told)
    else:
        process.kill()
        report.became["hung"] += 1
        report.wrong.append(f"{report.container} {number}: longer than {SECONDS} s")
        process.wait()
        return number + 1
    code = process.wait()
    if code:
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:] or [""]
        what = signal.Signals(-code).name if code < 0 else f"exit {code}"
        report.became["crashed"] += 1
        report.wrong.append(f"{report.container} {number}: {what} {last[0]}")
    return number + 1


def _note(report: Report, number: int, told: dict[str, Any]) -> None:
    seconds, mib = float(str(told["seconds"])), float(str(told["mib"]))
    report.became[str(told["became"])] += 1
    report.slowest, report.largest_mib = max(report.slowest, seconds), max(report.largest_mib, mib)
    if told["wrong"]:
        report.wrong.append(f"{report.container} {number}: {told['wrong']}")
    if mib > MEMORY_MIB:
        report.wrong.append(f"{report.container} {number}: {mib:.0f} MiB")


def main(tell: Callable[[str], None] = print) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="files of each container")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", help="one container, such as png or bigtiff")
    asked = parser.parse_args()
    wrong: list[str] = []
    tell(f"{'container':10} {'read':>6} {'refused':>8} {'wrong':>6} {'slowest, s':>11} {'largest, MiB':>13}")
    for container in [asked.only] if asked.only else list(containers()):
        report = check(container, count=asked.count, first=asked.first)
        became = report.became
        row = f"{container:10} {became['read']:6} {became['refused']:8} {len(report.wrong):6}"
        tell(f"{row} {report.slowest:11.2f} {report.largest_mib:13.0f}")
        wrong += report.wrong
    for line in wrong:
        tell(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main())
