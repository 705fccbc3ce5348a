"""Tags of TIFF files: those that are kept (names, GeoTIFF), and those that are reported."""

from collections.abc import Sequence
from dataclasses import replace

from a2f.imageio.exif import EXIF_IFD, GPS_IFD
from a2f.imageio.iptc import PHOTOSHOP_MARK, cleaned_iptc
from a2f.imageio.tiff import DESCRIPTION, DESCRIPTIVE, IPTC, MIN_IS_WHITE, PHOTOMETRIC
from a2f.imageio.tiff_directory import (
    Field,
    doubles_field,
    doubles_of,
    field_of,
    first_fields,
    for_classic,
    in_order,
    layout_of,
    number_of,
    numbers_of,
)

PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, GEO_DOUBLES, GEO_TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
GEO = (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, GEO_DOUBLES, GEO_TEXTS)
PHOTOSHOP, NO_DATA, PALETTE = 34377, 42113, 3
NAMES = {
    269: "DocumentName", 285: "PageName", 337: "TargetPrinter", 301: "TransferFunction", 318: "WhitePoint",
    319: "PrimaryChromaticities", PHOTOSHOP: "Photoshop resources", 42112: "GDAL metadata",
    NO_DATA: "GDAL no-data value",
    **dict.fromkeys(GEO, "GeoTIFF"),
}  # fmt: skip
TOLD = {330: "further pictures (SubIFDs)", 37724: "Photoshop layers", 50844: "GeoTIFF RPCs",
        **dict.fromkeys((50838, 50839), "ImageJ overlays")}  # fmt: skip
# Tags about the storage of the old pixels, and tags that are read separately.
STORED = {
    *range(254, 260), *range(PHOTOMETRIC, 269), *range(273, 285), *range(286, 298), 300, 317, *range(320, 326),
    *range(326, 329), *range(332, 337), *range(338, 350), 351, *range(512, 522), *range(529, 533), 559, 700, IPTC,
    34675, EXIF_IFD, GPS_IFD, 40965, *DESCRIPTIVE, DESCRIPTION,
}  # fmt: skip
RASTER_TYPE, PIXEL_IS_POINT = 1025, 2


def carried_tags(data: bytes, *, turned: bool, size: tuple[int, int]) -> tuple[tuple[Field, ...], list[str]]:
    """The kept tags of a file, little-endian, and names of those that are left out.

    Args:
        data: a TIFF file.
        turned: whether the picture was rotated, so that its GeoTIFF position is invalid.
        size: width and height of the picture, upright.
    """
    layout = layout_of(data)
    if layout is None:
        return (), []
    fields = for_classic(first_fields(data), layout.order)
    kept = [field for field in in_order(fields, layout.order, "<") if field.tag in NAMES]
    lost = dict.fromkeys(TOLD[field.tag] for field in fields if field.tag in TOLD)
    if turned and any(field.tag in GEO for field in kept):
        kept = [field for field in kept if field.tag not in GEO]
        lost["GeoTIFF, since the picture was turned"] = None
    kept = [_photoshop(field, size, turned=turned) if field.tag == PHOTOSHOP else field for field in kept]
    unknown = sorted({field.tag for field in fields} - STORED - NAMES.keys() - TOLD.keys())
    if unknown:
        shown = ", ".join(map(str, unknown[:5])) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        lost[f"TIFF tags that are not known here ({shown})"] = None
    return tuple(kept), list(lost)


def no_data_of(data: bytes, *, top: int | None) -> tuple[float, float] | None:
    """The value for "no data" in a GDAL file, in the file and in libvips; None if there is none.

    Args:
        data: a TIFF file.
        top: the largest sample value, which libvips uses to invert files with white at 0; None for floating point.
    """
    layout, fields = layout_of(data), first_fields(data)
    field = field_of(fields, NO_DATA)
    kind = number_of(fields, PHOTOMETRIC, layout.order) if layout else None
    if field is None or kind == PALETTE:
        return None
    try:
        value = float(field.value.rstrip(b"\0").decode("ascii"))
    except ValueError:
        return None
    return value, top - value if kind == MIN_IS_WHITE and top is not None else value


def names_of(tags: Sequence[Field]) -> list[str]:
    """The names of tags, without duplicates."""
    return list(dict.fromkeys(NAMES[field.tag] for field in tags))


def updated_tags(tags: Sequence[Field], *, size: tuple[int, int], given: tuple[int, int] | None) -> list[Field]:
    """Update the tags for a new size: the scale of GeoTIFF changes (OGC 19-008r4, 7.1.2 and B.6).

    Args:
        tags: result of `carried_tags`.
        size: new width and height.
        given: original width and height; without them nothing changes.
    """
    factors = (size[0] / given[0], size[1] / given[1]) if given else (1.0, 1.0)
    keys = field_of(tags, GEO_KEYS)
    # If a pixel is a point, its coordinates mean its centre, and the centre of the first pixel moves.
    shift = 0.5 if keys and _raster_type(keys) == PIXEL_IS_POINT else 0.0
    return [_scaled(field, factors, shift) for field in tags]


def _raster_type(keys: Field) -> int:
    numbers = numbers_of([keys], GEO_KEYS, "<")
    return next((numbers[i + 3] for i in range(4, len(numbers) - 3, 4) if numbers[i] == RASTER_TYPE), 0)


def _scaled(field: Field, factors: tuple[float, float], shift: float) -> Field:
    values = list(doubles_of(field, "<"))
    if field.tag == PIXEL_SCALE and len(values) >= 2:
        values[:2] = values[0] / factors[0], values[1] / factors[1]
    elif field.tag == TIE_POINTS:
        for at in range(0, len(values) - 5, 6):
            for side in (0, 1):
                values[at + side] = (values[at + side] + shift) * factors[side] - shift
    elif field.tag == TRANSFORMATION and len(values) == 16:
        for row in (0, 4, 8):
            a, b = values[row] / factors[0], values[row + 1] / factors[1]
            values[row + 3] += shift * (a - values[row] + b - values[row + 1])
            values[row : row + 2] = a, b
    else:
        return field
    return doubles_field(field.tag, values, "<")


def _photoshop(field: Field, size: tuple[int, int], *, turned: bool) -> Field:
    value = cleaned_iptc(PHOTOSHOP_MARK + field.value, size=size, turned=turned)[len(PHOTOSHOP_MARK) :]
    return replace(field, count=len(value), value=value)
