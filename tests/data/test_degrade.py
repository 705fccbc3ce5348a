import io
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from a2f.data.degrade import KERNELS, Degradation, Drawn, Jpeg, cut, degraded, jpeg, shrinking
from a2f.data.patches import Patches
from a2f.errors import InputError, UsageError
from a2f.resize import imresize

CPU = torch.device("cpu")
PLAIN = Drawn(kernel="bicubic", blur=None, noise=0.0, shot=0.0, jpegs=())
Pair = tuple[np.ndarray, np.ndarray]


def photograph(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Noise at several scales. It has edges for JPEG, and no kernel drives its values outside 0..255."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 128.0)
    for size in (1, 3, 8, 24):
        positions = rng.uniform(-20, 20, (-(-height // size), -(-width // size), 3))
        total += positions.repeat(size, 0).repeat(size, 1)[:height, :width]
    return total.clip(0, 255).astype(np.uint8)


def pair(scale: int, height: int = 60, width: int = 72, *, seed: int = 0) -> Pair:
    hr = photograph(scale * height, scale * width, seed=seed)
    return hr, imresize(hr, scale=1 / scale)


def made(images: Pair, drawn: Drawn, *, y: int = 20, x: int = 24, patch: int = 16, scale: int = 4) -> np.ndarray:
    return degraded(images, drawn, y=y, x=x, patch=patch, scale=scale, rng=np.random.default_rng(0))


def test_draws_have_the_requested_shares() -> None:
    asked = Degradation(untouched=0.2, blur=0.4, noise=0.3, shot=0.5, jpeg=0.7, second_jpeg=0.25, full_chroma=0.4)
    drawn = [asked.draw(np.random.default_rng((1, number))) for number in range(4000)]
    kept = [d for d in drawn if d is not None]
    files = [d.jpegs for d in kept if d.jpegs]
    share = lambda found, among: sum(map(bool, found)) / len(among)  # noqa: E731
    assert 1 - len(kept) / len(drawn) == pytest.approx(0.2, abs=0.03)
    assert share([d.blur for d in kept], kept) == pytest.approx(0.4, abs=0.03)
    assert share([d.noise for d in kept], kept) == pytest.approx(0.3, abs=0.03)
    assert share([d.shot for d in kept], kept) == pytest.approx(0.5, abs=0.03)
    assert share(files, kept) == pytest.approx(0.7, abs=0.03)
    assert share([len(f) == 2 for f in files], files) == pytest.approx(0.25, abs=0.03)
    assert share([f[-1].full_chroma for f in files], files) == pytest.approx(0.4, abs=0.03)
    for kernel in KERNELS:
        assert share([d.kernel == kernel for d in kept], kept) == pytest.approx(getattr(asked, kernel), abs=0.03)
    blurs = [d.blur for d in kept if d.blur]
    assert share([one != other for one, other, _ in blurs], blurs) == pytest.approx(0.3, abs=0.05)
    qualities = [j.quality for f in files for j in f]
    assert (min(qualities), max(qualities)) == (30, 95)
    assert {j.top % 8 for f in files for j in f[-1:]} == set(range(8))
    assert {j.left for f in files for j in f[-1:]} == set(range(16))
    assert {j.top for f in files for j in f[:-1]} == set(range(1, 8))  # the second grid never matches the first
    assert max(max(b[:2]) for b in blurs) <= asked.blur_max
    assert min(min(b[:2]) for b in blurs) >= asked.blur_min


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(
            ({name: value}, f"degradation: {name} = {value}")
            for name in ("untouched", "blur", "anisotropic", "noise", "shot", "jpeg", "full_chroma", "second_jpeg")
            for value in (-0.1, 1.1)
        ),
        ({"blur_min": 0.5, "blur_max": 0.4}, "blur_min = 0.5, blur_max = 0.4: rising, between 0 and 2"),
        ({"blur_max": 2.5}, "blur_max = 2.5"),
        ({"noise_min": -1.0}, "noise_min = -1.0"),
        ({"shot_max": 100.0}, "shot_max = 100.0"),
        ({"quality_min": 0}, "quality_min = 0"),
        ({"quality_max": 101}, "quality_max = 101"),
        ({"quality_min": 96}, "quality_min = 96, quality_max = 95"),
        *(({kernel: -0.1}, "weights of at least 0") for kernel in KERNELS),
        (dict.fromkeys(KERNELS, 0.0), "at least one weight must be greater than 0"),
    ],
)
def test_bad_ranges(given: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Degradation(**given)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_patch_equals_that_of_the_whole_image(scale: int) -> None:
    images = pair(scale)
    np.testing.assert_array_equal(made(images, PLAIN, scale=scale), images[1][20:36, 24:40])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_match_pillow(scale: int, kernel: str) -> None:
    hr, lr = pair(scale)
    # Bicubic with a blur that changes nothing; without the blur, the patch would be read from the LR image.
    drawn = replace(PLAIN, kernel=kernel, blur=(0.0, 0.0, 0.0) if kernel == "bicubic" else None)
    names = {"bicubic": "BICUBIC", "bilinear": "BILINEAR", "area": "BOX", "lanczos": "LANCZOS"}
    whole = Image.fromarray(hr).resize((lr.shape[1], lr.shape[0]), getattr(Image.Resampling, names[kernel]))
    got = made((hr, np.zeros_like(lr)), drawn, scale=scale, patch=18)
    assert np.abs(got.astype(int) - np.asarray(whole)[20:38, 24:42]).max() <= 1  # Pillow rounds between its passes
    first, weights = shrinking(kernel, scale=scale)
    assert weights.sum() == pytest.approx(1)
    assert first + (len(weights) - 1) / 2 == (scale - 1) / 2  # no shift


def gauss(images: Pair, blur: tuple[float, float, float], *, scale: int) -> np.ndarray:
    """Compute LR pixels [20:24, 24:28] directly: the blur as a sum over HR pixels, and the kernel "area"."""
    one, other = scale * blur[0], scale * blur[1]
    radius = math.ceil(3 * max(one, other))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = np.cos(blur[2]) * x + np.sin(blur[2]) * y, np.cos(blur[2]) * y - np.sin(blur[2]) * x
    weights = np.exp(-0.5 * ((along / one) ** 2 + (across / other) ** 2))
    weights /= weights.sum()
    total = np.zeros((4 * scale, 4 * scale, 3))
    for dy, dx, weight in zip(y.flat, x.flat, weights.flat, strict=True):
        total += weight * images[0][20 * scale + dy :, 24 * scale + dx :][: 4 * scale, : 4 * scale]
    return total.reshape(4, scale, 4, scale, 3).mean((1, 3))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("blur", [(0.5, 0.5, 0.0), (0.6, 0.1, 0.7), (0.2, 0.6, 2.1), (0.5, 0.3, 1.2)])
def test_blur_is_the_drawn_gaussian(scale: int, blur: tuple[float, float, float]) -> None:
    images = pair(scale)
    got = made(images, replace(PLAIN, kernel="area", blur=blur), scale=scale)[:4, :4]
    assert np.abs(got - gauss(images, blur, scale=scale)).max() < 1  # half a grey level is the rounding


def test_noise_has_the_drawn_deviation() -> None:
    grey = lambda level: (np.full((640, 640, 3), level, np.uint8), np.full((160, 160, 3), level, np.uint8))  # noqa: E731
    for level in (60, 200):
        gaussian = made(grey(level), replace(PLAIN, noise=5.0), patch=128, y=9, x=9)
        poisson = made(grey(level), replace(PLAIN, shot=8.0), patch=128, y=9, x=9)
        both = made(grey(level), replace(PLAIN, kernel="area", noise=5.0, shot=8.0), patch=128, y=9, x=9)
        at = 8 * math.sqrt(level / 255)
        for noisy, deviation in ((gaussian, 5.0), (poisson, at), (both, math.hypot(5, at))):
            assert noisy.mean() == pytest.approx(level, abs=0.1)
            assert noisy.std() == pytest.approx(math.hypot(deviation, math.sqrt(1 / 12)), rel=0.02)


def by_pillow(image: np.ndarray, quality: int, subsampling: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(("quality", "full_chroma"), [(30, False), (75, True)])
def test_jpeg_has_the_drawn_quality_and_grid(quality: int, full_chroma: bool) -> None:
    images = pair(4, 90, 90)
    drawn = replace(PLAIN, jpegs=(Jpeg(quality=quality, full_chroma=full_chroma, top=3, left=10),))
    got = made(images, drawn, y=35, x=42)
    # The JPEG starts 3 rows above and 10 columns left of the patch, in the whole image at (32, 32) too.
    whole = by_pillow(images[1][:, :], quality, 0 if full_chroma else 2)[35:51, 42:58]
    if full_chroma:  # blocks are independent
        np.testing.assert_array_equal(got, whole)
    else:  # colour is interpolated over blocks, at the end of the file without the next one
        np.testing.assert_array_equal(got[:12, :5], whole[:12, :5])
    assert np.abs(got.astype(int) - images[1][35:51, 42:58]).mean() > 1


def test_second_jpeg_is_cropped_from_the_first() -> None:
    images = pair(4, 90, 90)
    first = Jpeg(quality=40, full_chroma=True, top=5, left=2)
    second = Jpeg(quality=80, full_chroma=True, top=9, left=12)
    got = made(images, replace(PLAIN, jpegs=(first, second)), y=30, x=34)
    whole = by_pillow(images[1][16:, 20:], 40, 0)  # 30 - 5 - 9, 34 - 2 - 12
    np.testing.assert_array_equal(got, by_pillow(whole[5:, 2:], 80, 0)[9:25, 12:28])


def test_beyond_the_border_the_image_is_mirrored() -> None:
    image = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    got = cut(image, top=-2, left=3, height=5, width=4)
    np.testing.assert_array_equal(got, image[[1, 0, 0, 1, 2]][:, [3, 4, 4, 3]])
    np.testing.assert_array_equal(cut(image, top=1, left=0, height=2, width=5), image[1:3])
    hr, lr = pair(4, 16, 16)  # no room for any margin
    drawn = Drawn(kernel="lanczos", blur=(0.6, 0.3, 1.0), noise=2.0, shot=2.0, jpegs=(Jpeg(**JPEG), Jpeg(**JPEG)))
    got = made((hr, lr), drawn, y=0, x=0)
    assert got.shape == (16, 16, 3)
    assert np.abs(got.astype(int) - lr).mean() < 20


JPEG = {"quality": 60, "full_chroma": False, "top": 7, "left": 7}
SETS = [pair(2, 50, 60, seed=1), pair(2, 70, 40, seed=2), pair(2, 32, 32, seed=3)]


def patches(degradation: Degradation | None = None, *, seed: int = 5) -> Patches:
    return Patches(SETS, scale=2, seed=seed, device=CPU, degradation=degradation)


@pytest.mark.integration
def test_patches_depend_only_on_seed_and_step() -> None:
    shape = {"batch": 6, "patch": 24, "busiest_of": 2}
    one, alone = patches(Degradation()), patches(Degradation())
    alone._thread = None
    for step in (0, 1, 2, 9, 10, 3):
        lr, hr, _ = one.batch(step, **shape)
        assert torch.equal(lr, alone.batch(step, **shape)[0])
        for rank in (0, 1):
            part = patches(Degradation()).batch(step, **shape, part=slice(rank, None, 2))
            assert torch.equal(part[0], lr[rank::2])
            assert torch.equal(part[1], hr[rank::2])
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda step: alone.batch(step, **shape)[0], range(8)))
    for step in range(8):
        assert torch.equal(several[step], alone.batch(step, **shape)[0])
    assert not torch.equal(several[0], several[1])
    assert not torch.equal(several[0], patches(Degradation(), seed=6).batch(0, **shape)[0])


def test_positions_and_untouched_patches_equal_those_without_degradation() -> None:
    asked, shape, same = Degradation(untouched=0.4, jpeg=1.0), {"batch": 16, "patch": 24, "busiest_of": 3}, 0
    for step in range(4):
        plain, worse = patches().batch(step, **shape), patches(asked).batch(step, **shape)
        assert torch.equal(plain[1], worse[1])
        assert worse[0].dtype == torch.float32
        assert worse[0].is_contiguous(memory_format=torch.channels_last)
        assert torch.equal((worse[0] * 255).round() / 255, worse[0])
        for number in range(16):
            untouched = asked.draw(np.random.default_rng((5, step, number + 1))) is None
            assert untouched == torch.equal(plain[0][number], worse[0][number])
            # Equal position and symmetry: a patch from another position differs far more.
            assert (plain[0][number] - worse[0][number]).abs().mean() < 0.06
            same += untouched
    assert same == pytest.approx(0.4 * 64, abs=12)


def test_empty_degradation_gives_the_plain_patches() -> None:
    nothing = Degradation(untouched=0, blur=0, bilinear=0, area=0, lanczos=0, noise=0, shot=0, jpeg=0)
    for step in range(3):
        one, other = (p.batch(step, batch=8, patch=24, busiest_of=2)[0] for p in (patches(), patches(nothing)))
        assert torch.equal(one, other)


def test_degraded_images_stay_in_main_memory() -> None:
    assert patches(Degradation()).home == CPU
    with pytest.raises(InputError, match="computed in main memory"):
        Patches(SETS, scale=2, seed=0, device=CPU, resident=True, degradation=Degradation())


def test_validation_jpeg_equals_that_of_pillow() -> None:
    image = photograph(50, 61)
    np.testing.assert_array_equal(jpeg(image, quality=50), by_pillow(image, 50, 2))
    np.testing.assert_array_equal(jpeg(image, quality=50, full_chroma=True), by_pillow(image, 50, 0))


def test_every_field_is_a_number() -> None:
    """TOML stores all fields in one flat table."""
    assert {type(getattr(Degradation(), field.name)) for field in fields(Degradation)} == {int, float}
