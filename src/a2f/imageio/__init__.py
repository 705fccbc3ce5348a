"""Read and write image files without losing pixels or metadata."""

from a2f.imageio.formats import FORMATS, Format, check_conversion, check_format, format_of_suffix, left_out_note
from a2f.imageio.jpeg_quality import estimate_jpeg_quality, quality_of_table
from a2f.imageio.limits import DEFAULT_MAX_PIXELS
from a2f.imageio.picture import ColourSignal, Metadata, Picture, is_transparent
from a2f.imageio.read import read_image
from a2f.imageio.write import encode_bands, encode_image, encoding_bytes, write_image

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "ColourSignal",
    "Format",
    "Metadata",
    "Picture",
    "check_conversion",
    "check_format",
    "encode_bands",
    "encode_image",
    "encoding_bytes",
    "estimate_jpeg_quality",
    "format_of_suffix",
    "is_transparent",
    "left_out_note",
    "quality_of_table",
    "read_image",
    "write_image",
]
