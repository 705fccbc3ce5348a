"""How large a picture may be, asked before it is decoded."""

from a2f.errors import Hint, ImageReadError, PixelLimitError

DEFAULT_MAX_PIXELS = 256_000_000


def check_size(width: int, height: int, name: str, max_pixels: int | None) -> None:
    """Refuse a picture of too many pixels, or of none.

    Args:
        width: pixels, as the file says.
        height: pixels, as the file says.
        name: what to call the image in errors.
        max_pixels: largest width times height; None for no limit.

    Raises:
        ImageReadError: if there are no pixels.
        PixelLimitError: if there are too many.
    """
    if width < 1 or height < 1:
        raise ImageReadError(f"{name} is empty ({width} x {height} pixels)")
    if max_pixels is not None and width * height > max_pixels:
        raise PixelLimitError(
            f"{name} has {width} x {height} = {width * height:,} pixels, more than the limit of {max_pixels:,}",
            Hint(text="raise {option} if you trust the file", option="max_pixels"),
        )
