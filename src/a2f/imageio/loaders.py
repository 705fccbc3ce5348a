"""The libvips loader for each format: chosen by what `read` found in the content, never by libvips' own look at it.

libvips has loaders for kinds of a format (a JPEG with a gain map, say) that know other options than the plain one. A
loader chosen here gets the options that it knows, so that a refused option is a fault of the installation, never a
damaged file.
"""

from typing import TYPE_CHECKING, Any

from a2f.errors import A2FError
from a2f.imageio.forked import begin_vips
from a2f.imageio.png_text import with_metadata_first

if TYPE_CHECKING:
    from pyvips import Image as VipsImage

UNLIMITED: dict[str, Any] = {"unlimited": True}  # our own limit stands; libvips' would be a second one
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
        fail_on: the damage at which libvips gives up: "none", "truncated" or "error".

    Raises:
        pyvips.Error: if the file cannot be decoded.
        A2FError: if this libvips lacks the loader or one of the options.
        UsageError: as `begin_vips`.
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
