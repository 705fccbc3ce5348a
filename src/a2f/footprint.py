"""Whether all of the way from a picture to a file fits into the memory, told before anything is computed."""

import math
from collections.abc import Iterator, Sequence

from a2f.imageio import Picture, encoding_bytes, is_transparent
from a2f.sizes import Size
from a2f.upscaler import BandUpscaler, Upscaler

Stage = tuple[BandUpscaler, Size, int]  # who runs, on what size, bytes that are held besides


def check_memory(picture: Picture, passes: Sequence[Upscaler], *, size: Size | None, format: str) -> None:
    """Make sure, before anything is computed, that all of the way to the file fits into what the passes may take.

    Args:
        picture: to enlarge.
        passes: as `upscale_pixels`; without limits where they are not `BandUpscaler`.
        size: the same.
        format: of the file.

    Raises:
        MemoryLimitError: if it does not; says the least that works.
    """
    bounded = [upscaler for upscaler in passes if isinstance(upscaler, BandUpscaler)]
    if not bounded or len(bounded) < len(passes):
        return
    streamed = size is None and len(passes) == 1
    final = size or enlarged_size(picture.size, bounded)
    channels, deep = picture.pixels.shape[2], picture.is_deep
    light = picture.light is not None
    file = encoding_bytes(format, size=final, channels=channels, deep=deep, light=light, streamed=streamed)
    stages = _stages_of_one_pass(picture, bounded[0], file) if streamed else _stages(picture, bounded, final, file)
    short = max(upscaler.shortage(height=h, width=w, besides=b) for upscaler, (w, h), b in stages)
    if short:
        what = f"{picture.size[0]} x {picture.size[1]} pixels, enlarged to {final[0]} x {final[1]} as {format},"
        raise bounded[-1].too_little(what, short)


def enlarged_size(size: Size, passes: Sequence[Upscaler]) -> Size:
    """Width and height behind all passes."""
    factor = math.prod(upscaler.scale for upscaler in passes)
    return size[0] * factor, size[1] * factor


def _stages_of_one_pass(picture: Picture, upscaler: BandUpscaler, file: int) -> Iterator[Stage]:
    """Of a pass that is encoded while it runs: alpha, if there is any, then colours."""
    given_px = picture.size[0] * picture.size[1]
    made_px = given_px * upscaler.scale**2
    if picture.data_band or is_transparent(picture.pixels):
        yield upscaler, picture.size, 20 * made_px + file
        yield upscaler, picture.size, 28 * given_px + picture.pixels.itemsize * made_px + file
    else:
        yield upscaler, picture.size, file


def _stages(picture: Picture, passes: Sequence[BandUpscaler], final: Size, file: int) -> Iterator[Stage]:
    """Of passes whose results are held in floating point, 12 bytes a pixel and 4 of alpha, then resized and encoded."""
    alpha, size, held = picture.data_band or is_transparent(picture.pixels), picture.size, 0
    for upscaler in passes:
        given, size = size, enlarged_size(size, [upscaler])
        given_px, made_px = given[0] * given[1], size[0] * size[1]
        if alpha:
            yield upscaler, given, held + 20 * made_px
        held = made_px * (16 if alpha else 12)
        yield upscaler, given, given_px * (28 if alpha else 12) + held
    final_px = final[0] * final[1]
    encoding = final_px * (12 + 4 * alpha + picture.pixels[0, 0].nbytes) + file
    # Pillow works with a copy of each plane, and one that has its final width
    resizing = made_px * (32 if alpha else 24) + final_px * (48 if alpha else 16) + 4 * final[0] * size[1]
    yield upscaler, given, max(encoding, 0 if final == size else resizing) + 12 * given_px
