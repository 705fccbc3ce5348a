"""Write animations: GIF and WebP with libvips, AVIF with Pillow, PNG from the PNG files of the frames."""

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from a2f.imageio.animation import MILLISECOND, Frame
from a2f.imageio.heif_boxes import with_plays
from a2f.imageio.picture import Animation, Metadata, Picture, without_degrees
from a2f.imageio.png_chunks import SIGNATURE, Chunk, chunk_bytes, chunks_of
from a2f.imageio.write import encode_bands, encode_image

_NONE, _SOURCE = 0, 0  # APNG: the frame stays, and replaces the pixels below it


def encode_animation(
    picture: Picture,
    frames: Iterator[Frame],
    *,
    size: tuple[int, int],
    format: str,
    quality: int | None = None,
    strip: bool = False,
) -> bytes:
    """Encode the frames of an animation with its durations.

    Args:
        picture: a picture with an animation; its metadata are written too.
        frames: the frames of the result, [h, w, 3 or 4], as many as in the animation.
        size: width and height of the frames.
        format: one of `ANIMATED`.
        quality: from 1 to 100, for lossy formats; None: the default of `encode_image`.
        strip: leave out all metadata.

    Raises:
        ImageWriteError: if the encoder fails. Errors of making a frame are passed on.
    """
    animation = picture.animation
    assert animation is not None
    first = replace(picture, animation=None)
    if format == "png":
        return _apng(first, frames, animation, strip=strip)
    if format == "avif":
        return _avif(first, frames, animation, quality=quality, strip=strip)
    solid = (without_degrees(f) if format == "gif" and f.shape[2] == 4 else f for f in frames)
    width, height = size
    tall = width, height * animation.count
    return b"".join(
        encode_bands(
            picture, solid, size=tall, format=format, quality=quality, strip=strip, force=True, timing=animation
        )
    )


def _apng(picture: Picture, frames: Iterator[Frame], animation: Animation, *, strip: bool) -> bytes:
    """Make an animated PNG: each frame is encoded as a PNG of the changed region, whose data become frame chunks."""
    made, before, number = [SIGNATURE], None, 0
    for frame, duration in zip(frames, animation.durations, strict=True):
        top, left, part = _changed(frame, before)
        own = replace(picture, pixels=part, metadata=picture.metadata if before is None else Metadata())
        blob = encode_image(own, format="png", strip=strip, force=True)
        chunks = [chunk for chunk in chunks_of(blob) if chunk.kind != b"IEND"]
        if before is None:
            made += [_whole(chunk, blob) for chunk in chunks if chunk.kind == b"IHDR"]
            made.append(chunk_bytes(b"acTL", struct.pack(">II", animation.count, animation.plays)))
            made += [_whole(chunk, blob) for chunk in chunks if chunk.kind not in (b"IHDR", b"IDAT")]
        exact = duration.limit_denominator(65535)
        delay = (exact.numerator, exact.denominator) if exact.numerator < 65536 else (round(duration), 1)
        height, width = part.shape[:2]
        place = struct.pack(">IIIII", number, width, height, left, top)
        made.append(chunk_bytes(b"fcTL", place + struct.pack(">HHBB", *delay, _NONE, _SOURCE)))
        number += 1
        for chunk in chunks:
            if chunk.kind == b"IDAT" and before is None:
                made.append(_whole(chunk, blob))
            elif chunk.kind == b"IDAT":
                made.append(chunk_bytes(b"fdAT", struct.pack(">I", number) + chunk.body(blob)))
                number += 1
        before = frame
    return b"".join([*made, chunk_bytes(b"IEND", b"")])


def _changed(frame: Frame, before: Frame | None) -> tuple[int, int, Frame]:
    """The region in which a frame differs from the frame before it; one pixel if they are equal."""
    if before is None:
        return 0, 0, frame
    differs = (frame != before).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, frame[:1, :1]
    top, left = int(rows[0]), int(columns[0])
    return top, left, frame[top : rows[-1] + 1, left : columns[-1] + 1]


def _whole(chunk: Chunk, data: bytes) -> bytes:
    return data[chunk.at : chunk.end]


def _avif(
    picture: Picture, frames: Iterator[Frame], animation: Animation, *, quality: int | None, strip: bool
) -> bytes:
    from PIL import Image

    metadata, out = Metadata() if strip else picture.metadata, io.BytesIO()
    images = [Image.fromarray(frame) for frame in frames]
    options: dict[str, Any] = {"icc_profile": metadata.profile, "exif": metadata.exif, "xmp": metadata.xmp}
    times = [round(duration / MILLISECOND) for duration in animation.durations]
    final = quality or 80
    images[0].save(
        out,
        "AVIF",
        save_all=True,
        append_images=images[1:],
        duration=times,
        quality=final,
        subsampling="4:4:4" if final >= 90 else "4:2:0",
        **{key: value for key, value in options.items() if value},
    )
    return with_plays(out.getvalue(), animation.plays)
