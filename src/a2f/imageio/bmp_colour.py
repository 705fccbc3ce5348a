"""Read the colour information in the header of a BMP file, version 4 or later."""

import struct

import numpy as np

from a2f.imageio.colour import SRGB_CURVE, Curve, profile_of_matrix

CALIBRATED, EMBEDDED, LINKED = 0, int.from_bytes(b"MBED", "big"), int.from_bytes(b"LINK", "big")
HEADER, VERSION_4, VERSION_5 = 14, 108, 124  # offset of the header, and its lengths


def bmp_profile(data: bytes, name: str) -> tuple[bytes | None, list[str]]:
    """The colour profile of a BMP file, embedded or made from its end points and gammas, and notes.

    Args:
        data: the whole file.
        name: name of the file in notes.
    """
    length = int.from_bytes(data[HEADER : HEADER + 4], "little")
    if length < VERSION_4 or len(data) < HEADER + length:
        return None, []
    kind = int.from_bytes(data[HEADER + 56 : HEADER + 60], "little")
    if kind == CALIBRATED:
        return _calibrated(data), []
    if kind not in (EMBEDDED, LINKED) or length < VERSION_5:
        return None, []
    start, size = struct.unpack_from("<II", data, HEADER + 112)
    profile = data[HEADER + start : HEADER + start + size]
    if kind == LINKED:
        return None, [f"{name} names a colour profile in another file: left out, its colours are taken for sRGB"]
    return profile, []


def _calibrated(data: bytes) -> bytes | None:
    """Make a profile of the end points (XYZ, 2.30 bits) and gammas (16.16 bits); None if they are 0."""
    corners = np.array(struct.unpack_from("<9i", data, HEADER + 60), dtype=np.float64).reshape(3, 3).T / 2**30
    gammas = struct.unpack_from("<3I", data, HEADER + 96)
    if not corners.any() or abs(np.linalg.det(corners)) < 1e-6 or corners.sum(1)[1] <= 0:
        return None
    curves: list[Curve] = [(0, (gamma / 65536,)) if gamma else SRGB_CURVE for gamma in gammas]
    try:
        return profile_of_matrix(corners / corners.sum(1)[1], (curves[0], curves[1], curves[2]))
    except (ValueError, ArithmeticError, struct.error):  # no colours, or values outside the range of a profile
        return None
