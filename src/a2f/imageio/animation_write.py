"""Writing animations: GIF and WebP through libvips, AVIF through Pillow, PNG from the files of its frames."""

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

_NONE, _SOURCE = 0, 0  # of APNG: the frame stays, and replaces what is below it


def encode_animation(
    picture: Picture,
    frames: Iterator[Frame],
    *,
    size: tuple[int, int],
    format: str,
    quality: int | None = None,
    strip: bool = False,
) -> bytes:
    """Encode the frames of a picture's animation, with its times.

    Args:
        picture: with an animation; its metadata go along.
        frames: of the result, [h, w, 3 or 4], as many as the animation has.
        size: width and height of them.
        format: one of `ANIMATED`.
        quality: as `encode_image`.
        strip: leave out all metadata.

    Raises:
        ImageWriteError: if the encoder fails. What making a frame raises comes through.
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
    """An animated PNG: each frame is a PNG of what has changed, whose data go into the chunks of the animation."""
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
    """Where a frame differs from the one before it, and what is there; one pixel where nothing does."""
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
