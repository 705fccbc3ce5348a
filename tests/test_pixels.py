"""Grey, alpha, depth and exact sizes with a simple upscaler."""

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2f import load
from a2f.alpha import FAINT_ALPHA, fill_hidden
from a2f.errors import Cancelled, InputError, MemoryLimitError
from a2f.imageio import Picture, read_image
from a2f.pixels import encode_enlarged, upscale_pixels
from a2f.upscaler import Control, Upscaler


class Nearest:
    """Repeats pixels, so that the exact result is known."""

    description = "nearest"

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def __call__(self, image: np.ndarray) -> np.ndarray:
        assert image.dtype == np.float32
        assert image.shape[2] == 3
        return image.repeat(self.scale, 0).repeat(self.scale, 1)


@pytest.fixture(scope="module")
def network() -> Upscaler:
    return load("sd", scale=2, threads=2).engine


def noise(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype is np.float32:
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.integration
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.lists(st.sampled_from([2, 3]), max_size=2),
)
def test_shape_and_dtype_are_kept(h: int, w: int, c: int, dtype: type, scales: list[int]) -> None:
    large = upscale_pixels(noise((h, w, c), dtype), [Nearest(s) for s in scales])
    factor = int(np.prod(scales))
    assert large.shape == (h * factor, w * factor, c)
    assert large.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_nearest_upscaler_keeps_exact_values(dtype: type, channels: int) -> None:
    pixels = noise((5, 7, channels), dtype)
    if channels in (2, 4):
        pixels[..., -1] = np.iinfo(dtype).max  # otherwise alpha is processed separately
    np.testing.assert_array_equal(upscale_pixels(pixels, [Nearest(2)]), pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("size", [(13, 8), (1, 1), (40, 3), (20, 14)])
def test_exact_size(size: tuple[int, int]) -> None:
    for channels in (1, 2, 3, 4):
        assert upscale_pixels(noise((7, 10, channels), np.uint8), [Nearest(2)], size=size).shape == (
            size[1],
            size[0],
            channels,
        )


def test_flat_image_stays_flat_at_any_size() -> None:
    flat = np.full((9, 9, 4), (10, 200, 77, 131), np.uint8)
    np.testing.assert_array_equal(
        upscale_pixels(flat, [Nearest(2)], size=(23, 17)), np.full((17, 23, 4), (10, 200, 77, 131))
    )


def test_opaque_alpha_stays_opaque_and_does_not_change_colour(network: Upscaler) -> None:
    for dtype in (np.uint8, np.uint16):
        rgb, top = noise((12, 10, 3), dtype), np.iinfo(dtype).max
        rgba = np.concatenate([rgb, np.full((12, 10, 1), top, dtype)], axis=2)
        large = upscale_pixels(rgba, [network])
        assert (large[..., 3] == top).all()
        np.testing.assert_array_equal(large[..., :3], upscale_pixels(rgb, [network]))


def test_transparent_image_stays_transparent(network: Upscaler) -> None:
    pixels = noise((12, 10, 4), np.uint8)
    pixels[..., 3] = 0
    assert (upscale_pixels(pixels, [network])[..., 3] == 0).all()


def test_alpha_away_from_edges_is_exact(network: Upscaler) -> None:
    alpha = np.zeros((40, 40, 1), np.uint8)
    alpha[:, 20:] = 255
    large = upscale_pixels(np.concatenate([noise((40, 40, 3), np.uint8), alpha], axis=2), [network])[..., 3]
    assert (large[:, :38] == 0).all()
    assert (large[:, 42:] == 255).all()


def test_no_specks_beside_a_hard_edge(network: Upscaler) -> None:
    y, x = np.mgrid[-24:24, -24:24]
    alpha = np.where(x * x + y * y < 300, 255, 0).astype(np.uint8)[..., None]
    large = upscale_pixels(np.concatenate([np.full((48, 48, 3), 9, np.uint8), alpha], axis=2), [network])[..., 3]
    distance = np.hypot(*(np.mgrid[0:96, 0:96] / 2 - 23.75))
    assert large[distance > 300**0.5 + 1.6].max() <= 8  # the network alone leaves 50 here
    assert large[distance < 300**0.5 - 1.6].min() >= 247


def test_no_fringe_from_hidden_colours(network: Upscaler) -> None:
    """A red disc on transparent green must not get a green rim."""
    y, x = np.mgrid[-16:16, -16:16]
    inside = (x * x + y * y < 120)[..., None]
    disc = np.where(inside, np.array([220, 30, 30, 255], np.uint8), np.array([0, 255, 0, 0], np.uint8))
    large = upscale_pixels(disc, [network]).astype(int)
    seen = large[large[..., 3] > 0]
    assert seen[:, 1].max() < 60
    black = np.where(inside, np.array([220, 30, 30, 255], np.uint8), np.array([0, 0, 0, 0], np.uint8))
    dark = upscale_pixels(black, [network])
    np.testing.assert_array_equal(dark, upscale_pixels(disc, [network]))


def test_transparent_pixels_get_the_nearest_colour() -> None:
    rgb = np.zeros((8, 8, 3), np.float32)
    alpha = np.zeros((8, 8), np.float32)
    rgb[0, 0], alpha[0, 0] = (1, 0, 0), 1
    rgb[7, 7], alpha[7, 7] = (0, 0, 1), 0.25
    filled = fill_hidden(rgb, alpha)
    np.testing.assert_allclose(filled[1, 1], (1, 0, 0))
    np.testing.assert_allclose(filled[6, 6], (0, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(filled[0, 0], rgb[0, 0])


@pytest.mark.parametrize("size", [(50, 50), (99, 131), (200, 170)])
def test_resizing_transparency_changes_no_colour_and_causes_no_ringing(size: tuple[int, int]) -> None:
    y, x = np.mgrid[-32:32, -32:32]
    alpha = np.where(x * x + y * y < 500, 255, 0).astype(np.uint8)[..., None]
    disc = np.concatenate([np.full((64, 64, 3), (220, 30, 30), np.uint8), alpha], axis=2)
    passes = [Nearest(2)] if size[0] > 64 else []
    large = upscale_pixels(disc, passes, size=size).astype(int)
    visible = large[large[..., 3] > 0]
    assert np.abs(visible[:, :3] - (220, 30, 30)).max() <= 1
    rows, columns = (np.arange(side) + 0.5 for side in size[::-1])
    distance = np.hypot(rows[:, None] / size[1] * 64 - 32, columns / size[0] * 64 - 32)
    assert large[distance > 500**0.5 + 4, 3].max() == 0
    assert large[distance < 500**0.5 - 4, 3].min() == 255


@pytest.mark.parametrize("faint", [1, 2])
def test_colour_of_faint_pixels_hardly_reaches_opaque_ones(network: Upscaler, faint: int) -> None:
    y, x = np.mgrid[-16:16, -16:16]
    inside = (x * x + y * y < 120)[..., None]
    red = np.array([220, 30, 30, 255], np.uint8)
    expected = upscale_pixels(np.where(inside, red, np.array([220, 30, 30, 0], np.uint8)), [network]).astype(int)
    stray = upscale_pixels(np.where(inside, red, np.array([0, 255, 0, faint], np.uint8)), [network]).astype(int)
    opaque = expected[..., 3] > 240
    # a faint pixel keeps this share of its colour; the colours differ by 225; without mixing, 79 pixels change
    share = faint / 255 / FAINT_ALPHA
    assert np.abs(stray - expected)[opaque, :3].max() <= share * 225


def test_nearly_transparent_picture_keeps_its_colours() -> None:
    rgb = noise((9, 11, 3), np.float32)
    np.testing.assert_array_equal(fill_hidden(rgb, np.full((9, 11), 1 / 255, np.float32)), rgb)
    alpha = np.linspace(1 / 16, 1, 99, dtype=np.float32).reshape(9, 11)
    np.testing.assert_array_equal(fill_hidden(rgb, alpha), rgb)


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4"])
def test_either_byte_order(dtype: str) -> None:
    values = noise((4, 5, 3), np.uint16) if dtype[1] == "u" else noise((4, 5, 3), np.float32)
    large = upscale_pixels(values.astype(dtype), [Nearest(2)])
    assert large.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(large, values.repeat(2, 0).repeat(2, 1))


def test_sixteen_bit_gradient_keeps_its_levels(network: Upscaler) -> None:
    ramp = np.linspace(5000, 60000, 1500).astype(np.uint16).reshape(1, -1, 1).repeat(8, 0)
    large = upscale_pixels(ramp, [network])
    assert large.dtype == np.uint16
    assert len(np.unique(large)) > 1000


def test_grey_is_grey_in_rgb(network: Upscaler) -> None:
    grey = noise((9, 9, 1), np.uint8)
    as_rgb = upscale_pixels(grey.repeat(3, 2), [network]).astype(float) @ (0.299, 0.587, 0.114)
    assert np.abs(upscale_pixels(grey, [network])[..., 0] - as_rgb).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4, 3), np.float64), "uint8, uint16 or float32, not float64"),
        (np.zeros((4, 4, 3), np.int32), "not int32"),
        (np.zeros((4, 4, 5), np.uint8), "1 to 4 channels"),
        (np.zeros((4, 4), np.uint8), "H, W, C"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.full((2, 2, 3), np.nan, np.float32), "NaN"),
        (np.full((2, 2, 3), np.inf, np.float32), "infinity"),
        (np.full((2, 2, 3), 200, np.float32), r"must be in \[0, 1\], not in \[200, 200\]"),
        ([[1, 2]], "a list"),
    ],
)
def test_bad_arrays(pixels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        upscale_pixels(pixels, [Nearest(2)])


def test_failed_write_releases_its_memory(network) -> None:
    picture = Picture(pixels=np.zeros((9, 9, 3), np.uint8))
    parts = encode_enlarged(picture, [network], format="ppm")
    with ThreadPoolExecutor(2) as pool:
        assert pool.submit(next, parts).result()  # one thread begins, and another ends it
        parts.close()

        def take_all() -> bool:
            with network.memory.take(network.memory.budget() * network.memory.jobs):
                return True

        assert pool.submit(take_all).result()


@pytest.mark.parametrize(("channels", "most"), [(3, 1.1), (4, 1.3)])
def test_exact_size_needs_little_more_memory_than_a_factor(channels: int, most: float) -> None:
    """The bands are resized one by one, so that the whole result is never in memory in floating point."""
    tight = load("sd", scale=2, threads=2, max_memory=10**6).engine
    picture = Picture(pixels=np.zeros((3000, 4000, channels), np.uint8))
    least = []
    for size in (None, (7680, 5760)):
        with pytest.raises(MemoryLimitError, match="4000 x 3000 pixels, enlarged to") as caught:
            next(encode_enlarged(picture, [tight], size=size, format="png"))
        least.append(int(re.search(r"at least (\d+) MB", str(caught.value))[1]))
    assert least[1] < most * least[0]


def seamless(channels: int, dtype: type = np.uint8, side: int = 40) -> np.ndarray:
    """A texture that continues across its borders."""
    y, x = np.mgrid[0:side, 0:side] * (2 * np.pi / side)
    planes = [0.5 + 0.3 * np.sin(3 * x + 2 * y + c) + 0.15 * np.sin(7 * x - 5 * y) for c in range(channels)]
    values = np.stack(planes, -1).clip(0, 1)
    return values.astype(dtype) if dtype is np.float32 else np.round(values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.integration
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("independent", [False, True])
def test_tileable_result_equals_the_centre_of_repeated_tiles(
    network: Upscaler, channels: int, independent: bool
) -> None:
    tile = seamless(channels)
    many = upscale_pixels(np.tile(tile, (5, 5, 1)), [network], independent=independent)
    made = upscale_pixels(tile, [network], tileable=True, independent=independent)
    middle = many[160:240, 160:240].astype(int)
    assert made.shape == (80, 80, channels)
    assert np.abs(made - middle).max() <= 1  # the gates pool over whole tiles here, over parts of them there
    plain = upscale_pixels(tile, [network], independent=independent)
    assert np.abs(plain - middle).max() > 3


@pytest.mark.integration
@pytest.mark.parametrize(("channels", "passes"), [(3, 1), (4, 2)])
def test_tileable_at_an_exact_size(network: Upscaler, channels: int, passes: int) -> None:
    tile = seamless(channels, np.uint16)
    size = (70, 70) if passes == 1 else (150, 150)
    made = upscale_pixels(tile, [network] * passes, size=size, tileable=True)
    shifted = upscale_pixels(np.roll(tile, (20, 20), (0, 1)), [network] * passes, size=size, tileable=True)
    half = size[0] // 2
    assert made.shape == (size[1], size[0], channels)
    back = np.roll(shifted, (-half, -half), (0, 1)).astype(int)
    assert np.abs(made - back).max() <= 300  # of 65,535: the borders of one are the middle of the other


def test_tileable_textures_smaller_than_the_margin(network: Upscaler) -> None:
    assert upscale_pixels(seamless(3, side=5), [network], tileable=True).shape == (10, 10, 3)
    assert upscale_pixels(seamless(3, side=1), [network], tileable=True).shape == (2, 2, 3)


def test_tileable_pictures_are_encoded_completely(network: Upscaler) -> None:
    tile = seamless(3)
    blob = b"".join(encode_enlarged(Picture(pixels=tile), [network], format="png", tileable=True))
    np.testing.assert_array_equal(read_image(blob).pixels, upscale_pixels(tile, [network], tileable=True))


@pytest.mark.parametrize("channels", [2, 4])
def test_independent_alpha_keeps_the_colours_of_transparent_pixels(network: Upscaler, channels: int) -> None:
    pixels = noise((20, 24, channels), np.uint8)
    pixels[..., -1] = np.where(pixels[..., -1] > 99, 0, pixels[..., -1])
    picture = Picture(pixels=pixels)
    blob = b"".join(encode_enlarged(picture, [network], format="png", independent=True))
    made = read_image(blob).pixels
    np.testing.assert_array_equal(made[..., :-1], upscale_pixels(pixels[..., :-1], [network]))
    np.testing.assert_array_equal(made[..., -1:], upscale_pixels(pixels[..., -1:], [network]))
    assert (upscale_pixels(pixels, [network])[..., :-1] != made[..., :-1]).any()


@pytest.mark.parametrize("size", [None, (70, 50)])
@pytest.mark.parametrize("channels", [3, 4])
def test_progress_of_all_runs_together_rises_to_one(network: Upscaler, channels: int, size) -> None:
    told: list[float] = []
    pixels = noise((12, 10, channels), np.uint8)
    upscale_pixels(pixels, [network, network], size=size, control=Control(progress=told.append))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert len(told) == (4 if channels == 4 else 2)  # alpha runs by itself


def test_a_cancelled_picture_gives_no_file_and_leaves_the_upscaler_usable(network: Upscaler) -> None:
    asked = count()
    control = Control(cancelled=lambda: next(asked) > 0)  # alpha runs, the colours do not
    with pytest.raises(Cancelled):
        list(encode_enlarged(Picture(pixels=noise((20, 20, 4), np.uint8)), [network], format="png", control=control))
    assert upscale_pixels(noise((4, 4, 3), np.uint8), [network]).shape == (8, 8, 3)
