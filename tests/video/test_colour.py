"""Frames to RGB and back."""

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from a2f.errors import ImageReadError
from a2f.video.colour import (
    LEFT,
    TOP_LEFT,
    WEIGHTS,
    Colours,
    Siting,
    is_full,
    layout_of,
    matrix_of,
    planes_of,
    to_frame,
    to_image,
)
from a2f.video.hdr import hdr_of

FORMATS = (
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv411p",
    "yuv420p10le",
    "yuv444p12le",
    "gbrp",
    "gbrp10le",
    "gray",
    "yuva420p",
)
RGB = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1]]], np.float32)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_colours_round_trip(format: str, full: bool, matrix: int) -> None:
    layout = layout_of(format)
    for colour in RGB.reshape(-1, 3):
        image = np.broadcast_to(colour, (6, 10, 3)).astype(np.float32)
        image = np.concatenate([image, np.full((6, 10, 1), 0.25, np.float32)], 2) if layout.alpha else image
        image = image[..., :1] if layout.kind == "grey" else image
        back = to_image(
            planes_of(to_frame(image, layout, matrix=matrix, full=full), layout), layout, matrix=matrix, full=full
        )
        assert back.shape == image.shape
        assert np.abs(back - image).max() <= 2.2 / (2**layout.bits - 1)


def test_code_values_match_the_standards() -> None:
    layout = layout_of("yuv444p")
    image = np.array([[[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]], np.float32)
    limited = [plane[0].tolist() for plane in planes_of(to_frame(image, layout, matrix=1, full=False), layout)]
    assert limited == [[235, 16, 63, 32], [128, 128, 102, 240], [128, 128, 240, 118]]  # BT.709, 8 bits
    full = [plane[0].tolist() for plane in planes_of(to_frame(image, layout, matrix=6, full=True), layout)]
    assert full == [[255, 0, 76, 29], [128, 128, 85, 255], [128, 128, 255, 107]]  # JFIF


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(FORMATS), st.booleans(), st.integers(0, 2**32 - 1))
def test_grey_frames_of_any_size_are_exact(h: int, w: int, format: str, full: bool, seed: int) -> None:
    layout = layout_of(format)
    levels = np.random.default_rng(seed).integers(0, 256, (h, w, 1)).astype(np.float32) / 255
    image = levels.repeat(layout.channels if layout.alpha else 1, axis=2) if layout.alpha else levels
    frame = to_frame(image, layout, matrix=1, full=full)
    back = to_image(planes_of(frame, layout), layout, matrix=1, full=full)
    reach = 2**layout.bits - 1 if full or (layout.kind == "rgb" and full) else 219 << (layout.bits - 8)
    assert np.abs(back[..., :1] - levels).max() <= 0.51 / reach + 1e-6
    if layout.channels > 1:
        assert np.ptp(back[..., :3], axis=2).max() <= 1e-6


def test_chroma_lies_on_the_left_luma_sample() -> None:
    layout = layout_of("yuv420p")
    ramp = np.linspace(0, 1, 32, dtype=np.float32)
    image = np.stack(
        [np.broadcast_to(ramp, (8, 32)), np.full((8, 32), 0.5, np.float32), np.full((8, 32), 0.5, np.float32)], 2
    )
    back = to_image(planes_of(to_frame(image, layout, matrix=1, full=True), layout), layout, matrix=1, full=True)
    error = (back - image)[:, 2:-2]  # a shift by half a sample would be 1/64 everywhere
    assert abs(float(error[..., 0].mean())) < 0.002


def test_packed_formats_equal_planar_ones() -> None:
    rng = np.random.default_rng(0)
    frame = VideoFrame.from_ndarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8), "rgb24")
    for packed, planar in (("nv12", "yuv420p"), ("yuyv422", "yuv422p"), ("p010le", "yuv420p10le"), ("bgr0", "gbrp")):
        given = frame.reformat(format=planar)
        layout = layout_of(packed)
        assert layout.format == planar
        for a, b in zip(planes_of(given.reformat(format=packed), layout), planes_of(given, layout), strict=True):
            assert (a == b).all()


def test_unsupported_formats_are_refused() -> None:
    for format in ("bayer_rggb8", "xyz12le", "ya8", "gbrpf32le", "yuv420p16be"):
        with pytest.raises(ImageReadError, match=format):
            layout_of(format)
    for matrix in (8, 10, 14):
        with pytest.raises(ImageReadError, match=f"matrix {matrix}"):
            matrix_of(Colours(matrix=matrix), width=640, height=480)
    assert [matrix_of(Colours(), width=w, height=h) for w, h in ((720, 576), (1280, 720), (1024, 577))] == [6, 1, 1]
    assert {matrix_of(Colours(matrix=m), width=1, height=1) for m in WEIGHTS} == set(WEIGHTS)
    assert [is_full(Colours(range=r), f) for r, f in ((0, "yuv420p"), (2, "yuv420p"), (1, "gbrp"), (0, "gbrp"))] == [
        False,
        True,
        False,
        True,
    ]
    assert is_full(Colours(range=1), "yuvj420p")


def test_truncated_side_data_are_ignored() -> None:
    assert hdr_of({}) == hdr_of({"MASTERING_DISPLAY_METADATA": b"\0" * 20, "CONTENT_LIGHT_LEVEL": b"\0"})
    assert av.library_versions["libavutil"][0] >= 59  # whose structure is read here


@pytest.mark.parametrize("format", ["yuv420p", "yuv411p"])
@pytest.mark.parametrize("siting", [LEFT, TOP_LEFT, Siting(across=0.5, down=0.5), Siting(across=0, down=1)])
def test_chroma_round_trip_at_every_location(format: str, siting: Siting) -> None:
    layout = layout_of(format)
    ramps = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    image = np.stack([ramps[0], ramps[1], np.full((48, 64), 0.5)], 2).astype(np.float32)
    planes = planes_of(to_frame(image, layout, matrix=1, full=True, siting=siting), layout)
    back = to_image(planes, layout, matrix=1, full=True, siting=siting)
    error = np.abs((back - image)[8:-8, 8:-8].mean(axis=(0, 1)))
    assert error.max() < 0.001  # of half a sample's shift: 0.008
    elsewhere = to_image(planes, layout, matrix=1, full=True, siting=Siting(across=1, down=siting.down))
    assert abs(float((elsewhere - image)[8:-8, 8:-8].mean(axis=(0, 1))[0])) > 0.002
