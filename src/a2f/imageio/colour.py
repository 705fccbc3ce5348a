"""Colour spaces given without an ICC profile, unsuitable profiles, and conversion to sRGB."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2f.errors import ImageWriteError, count_of
from a2f.imageio.picture import ColourSignal, Metadata

Matrix = NDArray[np.float64]
Chromaticities = tuple[float, float, float, float, float, float, float, float]  # x and y of white, red, green, blue

D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D65_XY, DCI_XY, C_XY = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
# By the code points of ITU-T H.273, Table 2.
PRIMARIES: dict[int, Chromaticities] = {
    1: (*D65_XY, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    4: (*C_XY, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*D65_XY, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*D65_XY, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*D65_XY, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    8: (*C_XY, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*D65_XY, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (*DCI_XY, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*D65_XY, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    22: (*D65_XY, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}
ADOBE_RGB: Chromaticities = (*D65_XY, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)  # with a gamma of 563 / 256
# Curves of ICC.1:2022, Table 68: the function's type, then g, a, b, c, d.
Curve = tuple[int, tuple[float, ...]]
SRGB_CURVE: Curve = (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
BT709_CURVE: Curve = (3, (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081))
SMPTE240_CURVE: Curve = (3, (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0913))
# By the code points of ITU-T H.273, Table 3.
TRANSFERS: dict[int, Curve] = {
    1: BT709_CURVE, 4: (0, (2.2,)), 5: (0, (2.8,)), 6: BT709_CURVE, 7: SMPTE240_CURVE, 8: (0, (1.0,)),
    13: SRGB_CURVE, 14: BT709_CURVE, 15: BT709_CURVE, 17: (0, (2.6,)),
}  # fmt: skip
COLUMNS, CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")  # tags of a profile
PARAMETERS = (1, 3, 4, 5, 7)  # number of parameters of each parametric function, Table 68
MATRIX_TAGS = (*COLUMNS, *CURVES, b"kTRC", b"chad")
UNSPECIFIED, BT709, LINEAR, SRGB, PQ, HLG = 2, 1, 8, 13, 16, 18
SDR_WHITE_NITS = 203  # white of HDR pictures, ITU-R BT.2408


def signal_of_cicp(primaries: int, transfer: int, *, grey: bool) -> tuple[ColourSignal | None, str | None]:
    """The colour signal of two code points of ITU-T H.273.

    Args:
        primaries: code point of Table 2.
        transfer: code point of Table 3.
        grey: whether the pixels are grey.

    Returns:
        The signal, or None for sRGB and unspecified code points; and a note about unknown code points.
    """
    known = primaries if primaries != UNSPECIFIED else BT709, transfer if transfer != UNSPECIFIED else SRGB
    if known == (BT709, SRGB):
        return None, None
    if known[0] not in PRIMARIES or (known[1] not in TRANSFERS and known[1] not in (PQ, HLG)):
        said = f"colours by code points that are not known here ({primaries}, {transfer})"
        return ColourSignal(cicp=known), f"{said}: kept in avif and png, taken for sRGB elsewhere"
    if known[1] in (PQ, HLG):
        return ColourSignal(cicp=known), None
    profile = profile_of(PRIMARIES[known[0]], TRANSFERS[known[1]], grey=grey)
    return ColourSignal(cicp=known, profile=profile), None


def profile_of(primaries: Chromaticities, curve: Curve, *, grey: bool) -> bytes:
    """Make an ICC profile (version 4) of primaries and one curve; for grey pixels only of the curve."""
    if grey:
        return _profile(b"GRAY", {b"kTRC": _curve(curve)})
    matrix = rgb_to_xyz(primaries)
    return profile_of_matrix(matrix, (curve, curve, curve))


def profile_of_matrix(matrix: Matrix, curves: tuple[Curve, Curve, Curve]) -> bytes:
    """Make an ICC profile from the XYZ of red, green and blue (columns, under their own white) and a curve for each."""
    adapted = _to_d50(matrix.sum(1))
    columns = (adapted @ matrix).T
    tags = {
        name: _xyz(column) for name, column in zip(COLUMNS, columns, strict=True)
    }  # fmt: skip
    tags |= {name: _curve(curve) for name, curve in zip(CURVES, curves, strict=True)}
    tags[b"chad"] = b"sf32" + bytes(4) + b"".join(_fixed(value) for value in adapted.flat)
    return _profile(b"RGB ", tags)


def rgb_to_xyz(primaries: Chromaticities) -> Matrix:
    """The matrix from linear RGB to XYZ, with Y = 1 for white."""
    columns = np.array([_xyz_of_xy(*primaries[i : i + 2]) for i in (2, 4, 6)]).T
    white = _xyz_of_xy(*primaries[:2])
    return np.asarray(columns * np.linalg.solve(columns, white), dtype=np.float64)


def _xyz_of_xy(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_d50(white: NDArray[np.float64]) -> Matrix:
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ (white / white[1])))
    return np.asarray(np.linalg.inv(BRADFORD) @ scale @ BRADFORD, dtype=np.float64)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(value) for value in values)


def _curve(curve: Curve) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", curve[0], 0) + b"".join(_fixed(value) for value in curve[1])


def _text(text: str) -> bytes:
    body = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(body), 28) + body


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("As the file told"), b"cprt": _text("Public domain"), b"wtpt": _xyz(D50), **tags}
    table, values, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(values), len(value))
        values += value + bytes(-len(value) % 4)
    head = struct.pack(">I4xI4s4s4s", start + len(values), 0x04300000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return head.ljust(128, b"\0") + table + values


def fitting(pixels: NDArray[Any], icc: bytes, name: str) -> tuple[NDArray[Any], bytes | None, list[str]]:
    """Make pixels and profile consistent.

    Grey pixels with an RGB profile become RGB. A damaged profile and a profile for other channels are left out.

    Args:
        pixels: [H, W, C] uint8 or uint16.
        icc: ICC profile of the file.
        name: name of the file in notes.

    Returns:
        Pixels, profile, notes.
    """
    space, wanted = icc[16:20], b"GRAY" if pixels.shape[2] < 3 else b"RGB "
    if space == wanted and _readable(icc):
        return pixels, icc, []
    if (space, wanted) == (b"RGB ", b"GRAY") and _readable(icc):
        rgb = pixels[..., :1].repeat(3, axis=2)
        rgb = np.concatenate([rgb, pixels[..., 1:]], axis=2)
        return rgb, icc, [f"{name} is grey with a colour profile for RGB: the result is RGB with that profile"]
    return pixels, None, [f"{name} has {misfit_of(icc, wanted)}: left out, its colours are taken for sRGB"]


def misfit_of(icc: bytes, wanted: bytes) -> str | None:
    """What is wrong with a profile for a colour space, e.g. b"CMYK"; None if it is valid."""
    if not _readable(icc):
        return "a damaged colour profile"
    if icc[16:20] == wanted:
        return None
    called = icc[16:20].decode("ascii", "replace").strip()
    return f"a colour profile for {called}, but its pixels are not {called}"


def _readable(icc: bytes) -> bool:
    """Whether LittleCMS can use a profile; libvips treats an unreadable profile as sRGB."""
    from PIL import Image, ImageCms

    mode = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}.get(icc[16:20])
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if mode is not None:  # profiles for other modes are not used
            transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
            ImageCms.applyTransform(Image.new(mode, (1, 1)), transform)
    except (OSError, ValueError, ImageCms.PyCMSError):
        return False
    return len(icc) >= 132


def is_linear(icc: bytes) -> bool:
    """Whether all curves of a profile are linear: half the value is half the light."""
    curves = [body for name, body in tags_of_profile(icc).items() if name in (*CURVES, b"kTRC")]
    lines = (b"curv\0\0\0\0\0\0\0\0", b"curv\0\0\0\0\0\0\0\1\1\0", b"para\0\0\0\0\0\0\0\0\0\1\0\0")
    return bool(curves) and all(curve.startswith(lines) for curve in curves)


def tags_of_profile(icc: bytes) -> dict[bytes, bytes]:
    """The tags of a profile by their signatures (ICC.1:2022, 7.3)."""
    tags = dict[bytes, bytes]()
    for at in range(132, min(132 + 12 * int.from_bytes(icc[128:132], "big"), len(icc) - 11), 12):
        start, length = struct.unpack_from(">II", icc, at + 4)
        tags[icc[at : at + 4]] = icc[start : start + length]
    return tags


def with_srgb_curve(icc: bytes) -> bytes:
    """Make a profile with the primaries of a matrix profile and the curve of sRGB."""
    tags = tags_of_profile(icc)
    made = {name: _curve(SRGB_CURVE) if name[1:] == b"TRC" else tags[name] for name in MATRIX_TAGS if name in tags}
    return _profile(icc[16:20], made)


def is_matrix_profile(icc: bytes) -> bool:
    """Whether a profile has curves, and primaries unless it is for grey, and no tables."""
    tags = tags_of_profile(icc)
    wanted = (*COLUMNS, *CURVES) if icc[16:20] == b"RGB " else (b"kTRC",)
    tables = any(name[:3] in (b"A2B", b"D2B") for name in tags)
    return not tables and all(len(tags.get(name, b"")) >= 12 for name in wanted)


def primaries_of_profile(icc: bytes) -> Chromaticities:
    """The primaries of an RGB matrix profile, under their own white if the profile has it."""
    tags = tags_of_profile(icc)
    columns = np.array([_numbers(tags[name])[:3] for name in COLUMNS]).T
    told, white = _numbers(tags.get(b"chad", b"")), _numbers(tags.get(b"wtpt", b""))
    if len(told) == 9 and abs(np.linalg.det(told.reshape(3, 3))) > 1e-6:
        adapted = told.reshape(3, 3)
    else:  # version 2 has only the white
        adapted = _to_d50(white if len(white) == 3 and white.min() > 0 else D50)
    native = np.linalg.solve(adapted, columns)
    with np.errstate(all="ignore"):  # columns whose sum is zero
        corners = [xyz[:2] / xyz.sum() for xyz in (native.sum(1), *native.T)]
    return tuple(float(value) for xy in corners for value in xy)  # type: ignore[return-value]


def decoded(values: NDArray[np.float64], icc: bytes) -> NDArray[np.float64]:
    """Convert values [..., 1 or 3] to linear light with the curves of a matrix profile, extended beyond [0, 1]."""
    tags = tags_of_profile(icc)
    names = CURVES if values.shape[-1] == 3 else (b"kTRC",)
    size = np.abs(values)
    planes = [_on_curve(size[..., i], tags[name]) for i, name in enumerate(names)]
    return np.asarray(np.where(values < 0, -1, 1) * np.stack(planes, axis=-1))


def _on_curve(x: NDArray[np.float64], body: bytes) -> NDArray[np.float64]:
    """Apply a curve to values from 0 up (ICC.1:2022, 10.6 and 10.18); a table is extended with its last slope."""
    if body[:4] == b"curv":
        count = int.from_bytes(body[8:12], "big")
        table = np.frombuffer(body[12 : 12 + 2 * count], ">u2").astype(np.float64)
        if len(table) < 2:
            return np.asarray(x ** (table[0] / 256 if len(table) else 1))
        table /= 65535
        inside = np.interp(x, np.linspace(0, 1, len(table)), table)
        return np.asarray(inside + (x - 1).clip(0) * (table[-1] - table[-2]) * (len(table) - 1))
    kind = int.from_bytes(body[8:10], "big")
    told = _numbers(body[4:])[: PARAMETERS[kind]]
    g, a, b, c, d, e, f = np.append(told, (1, 1, 0, 0, 0, 0, 0)[len(told) :])
    if kind in (1, 2):  # in these, c is an offset of the result
        d, e, f, c = -b / a, c, c, 0
    return np.asarray(np.where(x >= d, (a * x + b).clip(0) ** g + e, c * x + f))


def _numbers(body: bytes) -> NDArray[np.float64]:
    """Read the fixed-point numbers (16.16 bits) of a tag after its 8-byte header."""
    whole = body[8 : len(body) - len(body) % 4]
    return np.frombuffer(whole, ">i4").astype(np.float64) / 65536


def without_padding(icc: bytes) -> bytes:
    """Set the length in the header of a profile."""
    return icc[: int.from_bytes(icc[:4], "big")]


def to_srgb(pixels: NDArray[Any], metadata: Metadata) -> NDArray[Any]:
    """Convert the colours of pixels [H, W, C] uint8 or uint16 to sRGB; alpha is unchanged.

    Raises:
        ImageWriteError: if the profile cannot be read.
    """
    signal = metadata.signal
    if signal is not None and signal.is_hdr:
        return _hdr_to_srgb(pixels, signal)
    icc = metadata.profile
    if icc is None:
        return pixels
    import pyvips

    colours = 3 if pixels.shape[2] > 2 else 1
    deep = pixels.dtype == np.uint16
    kind = ("rgb16" if deep else "srgb") if colours == 3 else ("grey16" if deep else "b-w")
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels[..., :colours])).copy(interpretation=kind)
    if misfit_of(icc, b"RGB " if colours == 3 else b"GRAY"):
        raise ImageWriteError(
            f"cannot convert to sRGB: the colour profile is not one for {count_of(colours, 'channel')}"
        )
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    try:
        converted = image.icc_transform("srgb", embedded=True, depth=16 if deep else 8).numpy()
    except pyvips.Error as error:
        raise ImageWriteError("cannot convert to sRGB: the colour profile is damaged") from error
    converted = converted if converted.ndim == 3 else converted[:, :, None]
    converted = converted[..., :colours]  # grey pixels have three equal channels in sRGB
    return np.concatenate([converted, pixels[..., colours:]], axis=2)


def widened(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Scale integers with a white of 2**bits - 1 to the white of their type.

    Args:
        values: from 0 to 2**bits - 1.
        bits: 1 to 16.

    Returns:
        uint8 up to 8 bits, uint16 from 9 bits on.
    """
    dtype = np.uint8 if bits <= 8 else np.uint16
    white, top = 2**bits - 1, int(np.iinfo(dtype).max)
    if white == top:
        return values.astype(dtype, copy=False)
    scaled: NDArray[Any] = ((values.astype(np.uint32) * (2 * top) + white) // (2 * white)).astype(dtype)
    return scaled


def without_premultiplied(pixels: NDArray[Any]) -> NDArray[Any]:
    """Divide the colours of pixels [H, W, 2 or 4] uint8 or uint16 by their alpha.

    Colours with an alpha of 0 become 0, because they are only coding noise.
    """
    top, alpha = np.iinfo(pixels.dtype).max, pixels[..., -1:].astype(np.float64)
    plain = np.divide(pixels[..., :-1] * float(top), alpha, out=np.zeros(pixels[..., :-1].shape), where=alpha > 0)
    colours = np.floor(plain.clip(0, top) + 0.5).astype(pixels.dtype)
    return np.concatenate([colours, pixels[..., -1:]], axis=2)


def full_range(pixels: NDArray[Any]) -> NDArray[Any]:
    """Expand colours from the limited range of video (black 16, white 235 of 255) to full range; alpha is unchanged."""
    colours = 3 if pixels.shape[2] > 2 else 1
    top, unit = np.iinfo(pixels.dtype).max, 256 if pixels.dtype == np.uint16 else 1
    values = (pixels[..., :colours].astype(np.float64) / unit - 16) / 219
    full = np.floor(values.clip(0, 1) * top + 0.5).astype(pixels.dtype)
    return np.concatenate([full, pixels[..., colours:]], axis=2)


def _hdr_to_srgb(pixels: NDArray[Any], signal: ColourSignal) -> NDArray[Any]:
    """Convert HDR for an SDR screen: white is 203 cd/m2, brighter values are clipped."""
    assert signal.cicp is not None
    primaries, transfer = signal.cicp
    top = np.iinfo(pixels.dtype).max
    colours = 3 if pixels.shape[2] > 2 else 1
    values = pixels[..., :colours].astype(np.float64) / top
    light = (_pq_nits(values) if transfer == PQ else _hlg_nits(values)) / SDR_WHITE_NITS
    if colours == 3:
        light = (
            light @ (np.linalg.inv(rgb_to_xyz(PRIMARIES[BT709])) @ rgb_to_xyz(PRIMARIES.get(primaries, PRIMARIES[9]))).T
        )
    light = light.clip(0, 1)
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.concatenate([np.floor(shown * top + 0.5).astype(pixels.dtype), pixels[..., colours:]], axis=2)


def _pq_nits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The EOTF of SMPTE ST 2084."""
    root = values ** (1 / 78.84375)
    light = (root - 0.8359375).clip(0) / (18.8515625 - 18.6875 * root)
    return np.asarray(10_000 * light ** (1 / 0.1593017578125))


def _hlg_nits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse OETF of ITU-R BT.2100, then its OOTF for a screen of 1000 cd/m2, per channel."""
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return np.asarray(1000 * scene**1.2)
