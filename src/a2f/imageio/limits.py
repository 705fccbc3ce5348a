"""Check the size of a picture before it is decoded."""

from dataclasses import dataclass

from a2f.errors import Hint, ImageReadError, MemoryLimitError, PixelLimitError

DEFAULT_MAX_PIXELS = 256_000_000
MIN_DECODED_PX = 4_000_000  # smaller pictures are always decoded; the network then checks its memory
# Peak bytes of memory while a picture is decoded, for each byte of its samples: of 8 bits, of more. Not less than
# `python -m benchmarks.decoding` measures.
DECODING = {
    "jpeg": (3.7, 3.7),
    "png": (3.5, 3.5),
    "tiff": (3.5, 4.6),
    "gif": (4.2, 4.2),
    "webp": (4.8, 4.8),
    "avif": (6.3, 9.2),
    "heic": (3.5, 7.7),
    "jxl": (5.7, 5.7),
    "exr": (5.2, 5.2),
    "bmp": (4.8, 4.8),
    "tga": (4.8, 4.8),
    "dds": (4.8, 4.8),
    "ppm": (4.0, 6.1),
}
MIN_RGB_BYTES = 3 * min(eight for eight, _ in DECODING.values())  # for a pixel of 8-bit RGB, in the best format


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout of the pixels, from the header.

    Attributes:
        format: format of the file, a key of `DECODING`.
        width: width, pixels.
        height: height, pixels.
        channels: number of channels, with alpha.
        sample_bytes: bytes per decoded sample.
    """

    format: str
    width: int
    height: int
    channels: int
    sample_bytes: int

    @property
    def decoding_bytes(self) -> int:
        """The approximate peak memory of decoding."""
        samples = self.width * self.height * self.channels * self.sample_bytes
        return int(samples * DECODING[self.format][self.sample_bytes > 1])


def check_memory(layout: Layout, name: str, max_memory: int) -> None:
    """Raise an error if decoding a picture needs too much memory; small pictures are always allowed.

    Args:
        layout: layout of the picture.
        name: name of the image in errors.
        max_memory: allowed memory, bytes.

    Raises:
        MemoryLimitError: if it needs more.
    """
    needed = layout.decoding_bytes
    if needed > max_memory and layout.width * layout.height > MIN_DECODED_PX:
        raise MemoryLimitError(
            f"decoding {name}, {layout.width} x {layout.height} pixels with {layout.channels} channels of "
            f"{8 * layout.sample_bytes} bits, takes {needed / 1e6:.0f} MB; {max_memory / 1e6:.0f} MB are allowed",
            Hint(text="raise {option}", option="max_memory"),
        )


def check_size(width: int, height: int, name: str, max_pixels: int | None) -> None:
    """Raise an error for a picture with too many pixels, or none.

    Args:
        width: width in the file, pixels.
        height: height in the file, pixels.
        name: name of the image in errors.
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
