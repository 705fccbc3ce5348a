"""The libvips loader of each format, chosen by the format that `read` detected, not by libvips' own detection.

libvips has several loaders for some formats (for example for a JPEG with a gain map), with different options. A loader
chosen here gets only options that it supports, so a rejected option is a fault of the installation, never of the file.
"""

from typing import TYPE_CHECKING, Any

from a2f.errors import A2FError
from a2f.imageio.forked import begin_vips
from a2f.imageio.png_text import with_metadata_first

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

UNLIMITED: dict[str, Any] = {"unlimited": True}  # our own limit is used instead of that of libvips
LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("jpegload_buffer", UNLIMITED),
    "png": ("pngload_buffer", UNLIMITED),
    "webp": ("webpload_buffer", {}),
    "tiff": ("tiffload_buffer", UNLIMITED),
    "gif": ("gifload_buffer", {}),
    "avif": ("heifload_buffer", UNLIMITED),
}


def open_vips(data: bytes, format: str, *, fail_on: str) -> "VipsImage":
    """Open a file whose format is known.

    Args:
        data: the whole file.
        format: a key of `LOADERS`.
        fail_on: the damage at which libvips stops: "none", "truncated" or "error".

    Raises:
        pyvips.Error: if the file cannot be decoded.
        A2FError: if this libvips lacks the loader or one of the options.
        UsageError: in a process that was forked after its parent used libvips.
    """
    import pyvips

    begin_vips()
    loader, options = LOADERS[format]
    options = {"fail_on": fail_on, **options}
    try:
        known = pyvips.Introspect.get(loader).optional_input
    except pyvips.Error as error:
        raise A2FError(f"{_version()} cannot read {format}: it lacks {loader}; install pyvips-binary") from error
    if unknown := sorted(set(options) - set(known)):
        raise A2FError(f"{_version()} does not know {', '.join(unknown)} of {loader}: install a newer pyvips-binary")
    if format == "png":
        data = with_metadata_first(data)
    image: VipsImage = getattr(pyvips.Image, loader)(data, **options)
    return image


def _version() -> str:
    import pyvips

    return "libvips " + ".".join(str(pyvips.version(part)) for part in range(3))
