"""`a2f.upscale` returns the type that it was given."""

import inspect
import io
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms

import a2f
from a2f.cli.upscale import upscale as upscale_command
from a2f.errors import (
    ImageReadError,
    InputError,
    LossyFormatError,
    OutputExistsError,
    PixelLimitError,
    TruncatedImageError,
    UnknownModelError,
    UsageError,
    WeightsError,
    WriteError,
)
from a2f.imageio import FORMATS
from a2f.weights import find_shipped, shipped_models


class Nearest:
    """Repeats pixels, and counts its calls."""

    description = "nearest"

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.runs = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.runs += 1
        return image.repeat(self.scale, 0).repeat(self.scale, 1)


def photo(mode: str = "RGB", size: tuple[int, int] = (13, 9)) -> Image.Image:
    rng = np.random.default_rng(1)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size[::-1]).astype(np.uint16))
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3), (6, 8, 4)])
def test_arrays(dtype: type, shape: tuple[int, ...]) -> None:
    given = np.full(shape, 1 if dtype is np.float32 else 200, dtype)
    large = a2f.upscale(given, scale=2)
    assert large.dtype == dtype
    assert large.shape == (12, 16, *shape[2:])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("1", "L"), ("P", "RGB"), ("CMYK", "RGB"),
        ("YCbCr", "RGB"), ("I;16", "I;16"),
    ],
)  # fmt: skip
def test_pil_images(mode: str, expected: str) -> None:
    large = a2f.upscale(photo(mode), scale=2)
    assert isinstance(large, Image.Image)
    assert (large.mode, large.size) == (expected, (26, 18))


def test_pil_metadata_is_kept_and_orientation_applied() -> None:
    image = photo()
    exif = image.getexif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info.update(icc_profile=profile, dpi=(300, 300))
    large = a2f.upscale(image, scale=2)
    assert large.size == (18, 26)
    assert large.info["icc_profile"] == profile
    assert large.info["dpi"] == (300, 300)
    assert large.getexif().get(0x0112, 1) == 1
    assert large.getexif()[0x010F] == "Maker"


def test_pil_image_on_its_side_is_planned_upright() -> None:
    image = photo(size=(40, 10))
    image.getexif()[0x0112] = 6
    nearest = Nearest(2)
    assert a2f.upscale(image, size=(40, 20), model=nearest).size == (40, 20)
    assert nearest.runs == 2  # 10 x 40 upright: four times as wide


@pytest.mark.parametrize(("mode", "expected"), [("RGB", "RGBA"), ("L", "LA"), ("1", "LA"), ("P", "RGBA")])
def test_pil_transparent_colour_becomes_alpha(mode: str, expected: str) -> None:
    image = Image.new(mode, (8, 6), 1 if mode == "P" else "white")
    image.paste(0 if mode == "P" else "black", (0, 0, 4, 6))
    file = io.BytesIO()
    image.save(file, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)
    given = Image.open(file)
    assert given.mode == mode
    large = a2f.upscale(given, model=Nearest(2))
    assert large.mode == expected
    alpha = np.asarray(large)[..., -1]
    assert (alpha[:, :6] == 0).all()
    assert (alpha[:, 10:] == 255).all()


def test_pil_tiff_keeps_descriptive_tags_and_drops_layout_tags() -> None:
    file = io.BytesIO()
    photo().save(file, "TIFF", tiffinfo={271: "Maker"}, dpi=(300, 300))
    large = a2f.upscale(Image.open(file), scale=2)
    exif = large.getexif()
    assert exif[271] == "Maker"
    assert set(exif) <= {271, 0x8769, 0x8825}  # beside it only the pointers to what it has of EXIF and GPS
    assert large.info["dpi"] == (300, 300)


def test_pil_file_that_ends_early() -> None:
    file = io.BytesIO()
    photo(size=(64, 64)).save(file, "JPEG")
    with pytest.raises(ImageReadError, match="truncated"):
        a2f.upscale(Image.open(io.BytesIO(file.getvalue()[:-600])), scale=2)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_bytes_stay_in_their_format(format: str) -> None:
    out = io.BytesIO()
    photo().save(out, format)
    large = Image.open(io.BytesIO(a2f.upscale(out.getvalue(), scale=2)))
    assert (large.format, large.size) == (format, (26, 18))


def test_path_is_written_beside_the_input_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ein Bild.png"
    photo().save(path)
    before = path.read_bytes()
    written = a2f.upscale(path, scale=2)
    assert written == tmp_path / "ein Bild_x2.png"
    with Image.open(written) as image:
        assert image.size == (26, 18)
    assert a2f.upscale(str(path), scale=2, overwrite=True) == str(written)
    with pytest.raises(WriteError, match="overwrite=True"):
        a2f.upscale(path, scale=2)
    with pytest.raises(WriteError, match="input itself"):
        a2f.upscale(path, scale=2, output=path, overwrite=True)
    assert path.read_bytes() == before
    assert a2f.upscale(path, size=(31, 20)).name == "ein Bild_31x20.png"


@pytest.mark.parametrize(
    ("asked", "size", "name"),
    [
        ({"width": 26}, (26, 18), "a_w26.png"),
        ({"height": 27}, (39, 27), "a_h27.png"),
        ({"max_side": 30}, (30, 21), "a_max30.png"),
        ({"size": (20, 20)}, (20, 20), "a_20x20.png"),
    ],
)
def test_exact_sizes(asked: dict[str, object], size: tuple[int, int], name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo().save(path)
    for model in (Nearest(2), "sd"):
        assert a2f.upscale(photo(), model=model, **asked).size == size
    assert a2f.load("sd", scale=2)(photo(), **asked).size == size
    written = a2f.upscale(path, **asked)
    assert written.name == name
    with Image.open(written) as image:
        assert image.size == size


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"width": 30, "height": 20}, "not width and height"),
        ({"width": 0}, "at least 1 pixel"),
        ({"max_side": 2.5}, "max_side must be in whole pixels, not 2.5"),
        ({"width": "30"}, "width must be in whole pixels"),
    ],
)
def test_impossible_exact_sizes(asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        a2f.upscale(photo(), **asked)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"width": 30}, "scale and width exclude each other"),
        ({"height": 30}, "scale and height exclude each other"),
        ({"size": (30, 20)}, "scale and size exclude each other"),
        ({"max_side": 30}, "scale and max_side exclude each other"),
        ({"model": Nearest(3)}, "scale=2: the model enlarges 3 times: leave out scale"),
        ({"model": find_shipped("sd", scale=4).path}, "scale=2: the model enlarges 4 times: leave out scale"),
    ],
    ids=["width", "height", "size", "max_side", "upscaler", "file"],
)
def test_a_scale_is_never_ignored(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        a2f.upscale(photo(), scale=2, **given)


def test_scale_is_fixed_by_a_weights_file_or_an_upscaler() -> None:
    path = find_shipped("sd", scale=2).path
    assert a2f.load(path).scale == a2f.load("sd", scale=2).scale == 2
    assert a2f.load("sd").scale == 4
    with pytest.raises(UsageError, match="scale=4: the model enlarges 2 times"):
        a2f.load(path, scale=4)
    assert a2f.upscale(photo(), model=path).size == a2f.upscale(photo(), scale=2).size


def test_default_model_equals_that_of_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo().save(path, quality=30)
    written = a2f.upscale(path, scale=2, output=tmp_path / "python.png")
    assert CliRunner().invoke(upscale_command, [str(path), "-s", "2", "-o", str(tmp_path / "line.png")]).exit_code == 0
    assert written.read_bytes() == (tmp_path / "line.png").read_bytes()
    robust = a2f.upscale(path, scale=2, model="sd-robust", output=tmp_path / "robust.png")
    assert written.read_bytes() == robust.read_bytes()


@pytest.mark.parametrize("ways", ["path", "bytes", "command line"])
@pytest.mark.parametrize("format", [name for name, holds in FORMATS.items() if not holds.moves and not holds.extra])
def test_a_format_without_animations_is_an_error_in_all_front_ends(ways: str, format: str, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    photo().save(path, save_all=True, append_images=[photo().rotate(90)])
    target = tmp_path / f"b{FORMATS[format].suffixes[0]}"
    if ways == "command line":
        words = [str(path), "-s", "2", "-o", str(target)]
        done = CliRunner().invoke(upscale_command, words, standalone_mode=False)
        assert done.return_value == 2
        assert f"{format} cannot store animations" in done.stderr
    else:
        image, how = (path, {"output": target}) if ways == "path" else (path.read_bytes(), {"format": format})
        with pytest.raises(LossyFormatError, match=f"{format} cannot store animations"):
            a2f.upscale(image, scale=2, **how)
    assert not target.exists()


def test_an_animation_without_frames_and_transparency_loses_both(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGBA", (20, 20), colour) for colour in ((255, 0, 0, 0), (0, 255, 0, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(LossyFormatError, match="jpeg cannot hold transparency") as found:
        a2f.upscale(path, scale=2, output=tmp_path / "b.jpg")
    assert found.value.loses == ("transparency", "animation")


def test_a_gif_of_more_than_256_colours_is_an_error_unless_it_was_a_gif(tmp_path: Path) -> None:
    many = Image.fromarray(np.arange(30 * 20 * 3, dtype=np.uint8).reshape(20, 30, 3)).resize((60, 40))
    few = many.quantize(16)
    many.save(tmp_path / "many.png")
    few.save(tmp_path / "few.png")
    many.convert("L").save(tmp_path / "grey.png")
    many.save(tmp_path / "own.gif")
    with pytest.raises(LossyFormatError, match="gif can store only 256 colours: choose png or webp, or accept"):
        a2f.upscale(tmp_path / "many.png", scale=2, format="gif")
    assert a2f.upscale(tmp_path / "many.png", scale=2, format="gif", force=True).exists()
    for name in ("few.png", "grey.png", "own.gif"):
        assert a2f.upscale(tmp_path / name, scale=2, format="gif").exists()


def test_format_and_strip_of_files(tmp_path: Path) -> None:
    out, path, nearest = io.BytesIO(), tmp_path / "a.png", Nearest(2)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    photo().save(out, "PNG", exif=exif)
    path.write_bytes(out.getvalue())
    made = Image.open(io.BytesIO(a2f.upscale(out.getvalue(), format="webp", model=nearest)))
    assert (made.format, made.getexif()[0x010F]) == ("WEBP", "Maker")
    bare = Image.open(io.BytesIO(a2f.upscale(out.getvalue(), format="JPG", strip=True, model=nearest)))
    assert (bare.format, dict(bare.getexif())) == ("JPEG", {})
    assert a2f.upscale(path, format="tiff", model=nearest) == tmp_path / "a_x2.tif"
    assert a2f.load("sd", scale=2)(path, format="webp").name == "a_x2.webp"
    assert a2f.upscale(path, format="jpg", output=tmp_path / "b.jpeg", model=nearest).exists()
    with pytest.raises(UsageError, match="two formats"):
        a2f.upscale(path, format="webp", output=tmp_path / "c.png", model=nearest)
    with pytest.raises(UsageError, match=r"unknown image format 'wepb'.*did you mean 'webp'"):
        a2f.upscale(path, format="wepb", model=nearest)
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("asked", [{"format": "png"}, {"strip": True}, {"quality": 90}])
def test_encoding_options_need_a_file(asked: dict[str, object]) -> None:
    for image in (photo(), np.asarray(photo())):
        with pytest.raises(InputError, match=f"{next(iter(asked))} is for files"):
            a2f.upscale(image, model=Nearest(2), **asked)


def test_times_are_preserved(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo().save(path)
    os.utime(path, ns=(10**18, 10**18 + 10**9))
    written = a2f.upscale(path, model=Nearest(2), preserve_times=True)
    assert written.stat().st_mtime_ns == 10**18 + 10**9
    with pytest.raises(InputError, match="preserve_times is for images given as a path"):
        a2f.upscale(photo(), model=Nearest(2), preserve_times=True)


def test_python_accepts_the_options_of_the_command_line() -> None:
    of_files = {"inputs", "recursive", "suffix", "skip_existing", "never_shrink", "jobs"}  # for many files at once
    of_people = {"dry_run", "as_json", "verbose", "quiet"}
    of_batches = {"journal", "resume", "retry_failed", "shard", "watch", "settle", "quarantine"}
    of_clusters = {"ray", "ray_cpus", "ray_gpus"}
    asked = {parameter.name for parameter in upscale_command.params} - of_files - of_people - of_batches - of_clusters
    takes = {*inspect.signature(a2f.upscale).parameters, *inspect.signature(a2f.load).parameters}
    assert asked <= takes
    once = {*inspect.signature(a2f.upscale).parameters} - {"scale", "model", "ensemble"}
    assert set(inspect.signature(a2f.LoadedUpscaler.__call__).parameters) - {"self"} == once


def test_path_refuses_a_lossy_format_before_running(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = photo("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(path)
    with pytest.raises(LossyFormatError, match="transparency"):
        a2f.upscale(path, output=tmp_path / "a.jpg")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_unwritable_path_is_refused_before_running(tmp_path: Path) -> None:
    path, nearest = tmp_path / "a.png", Nearest(4)
    photo().save(path)
    with pytest.raises(WriteError, match="is a folder: give the name"):
        a2f.upscale(path, output=tmp_path, overwrite=True, model=nearest)
    with pytest.raises(WriteError, match="there is no folder"):
        a2f.upscale(path, output=tmp_path / "none" / "b.png", model=nearest)
    with pytest.raises(UsageError, match="unknown image format"):
        a2f.upscale(path, output=tmp_path / "b", model=nearest)
    wide = io.BytesIO()
    Image.new("RGB", (20000, 1)).save(wide, "JPEG")
    (tmp_path / "wide.jpg").write_bytes(wide.getvalue())
    for given in (tmp_path / "wide.jpg", wide.getvalue()):
        with pytest.raises(UsageError, match="65535 pixels per side"):
            a2f.upscale(given, model=nearest)
    assert nearest.runs == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "wide.jpg"]


def test_dropped_animation_frames_are_reported(tmp_path: Path) -> None:
    out = io.BytesIO()
    photo().save(out, "GIF", save_all=True, append_images=[photo("L"), photo()])
    path = tmp_path / "moving.gif"
    path.write_bytes(out.getvalue())
    with pytest.raises(LossyFormatError, match="jpeg cannot store animations: choose gif, png, webp or avif"):
        a2f.upscale(path, scale=2, output=tmp_path / "still.jpg")
    with pytest.warns(UserWarning, match="only the first is read") as caught:
        a2f.upscale(path, scale=2, output=tmp_path / "still.jpg", force=True)
    assert caught[0].filename == __file__
    with Image.open(io.BytesIO(a2f.upscale(out.getvalue(), scale=2))) as large:
        assert getattr(large, "n_frames") == 3  # noqa: B009


def test_all_inputs_give_equal_pixels(tmp_path: Path) -> None:
    image = photo()
    path = tmp_path / "a.png"
    image.save(path)
    expected = a2f.upscale(np.asarray(image), scale=2)
    np.testing.assert_array_equal(np.asarray(a2f.upscale(image, scale=2)), expected)
    np.testing.assert_array_equal(np.asarray(Image.open(a2f.upscale(path, scale=2))), expected)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(a2f.upscale(path.read_bytes(), scale=2)))), expected)
    np.testing.assert_array_equal(a2f.upscale(np.asarray(image), model=a2f.load("sd", scale=2)), expected)


def test_exact_size_of_an_array() -> None:
    assert a2f.upscale(np.zeros((10, 20, 3), np.uint8), size=(33, 44)).shape == (44, 33, 3)


@pytest.mark.parametrize("size", [(0, 5), (4, -1), (20.5, 20), 20, (20,), (1, 2, 3), "20x20", (700, 40)])
@pytest.mark.parametrize("given", [np.zeros((10, 20, 3), np.uint8), Image.new("RGB", (20, 10))], ids=["array", "PIL"])
def test_impossible_sizes(given: Any, size: Any) -> None:
    with pytest.raises(UsageError, match=r"size|at most 16 times"):
        a2f.upscale(given, size=size)


@pytest.mark.parametrize("size", [None, (3, 3)])
def test_empty_images(size: tuple[int, int] | None) -> None:
    for empty in (Image.new("RGB", (0, 5)), np.zeros((5, 0, 3), np.uint8)):
        with pytest.raises(InputError, match="empty"):
            a2f.upscale(empty, size=size)


def test_weights_file_that_changes_is_read_again(tmp_path: Path) -> None:
    shipped = {scale: a2f.load("sd", scale=scale) for scale in (2, 4)}
    files = {m.scale: m.path for m in shipped_models() if m.name == "sd"}
    path, image = tmp_path / "mine.safetensors", np.full((5, 4, 3), 0.3, np.float32)
    for scale, upscaler in shipped.items():
        path.write_bytes(files[scale].read_bytes())
        assert a2f.upscale(image, model=path).shape == (5 * scale, 4 * scale, 3)
        np.testing.assert_array_equal(a2f.upscale(image, model=str(path)), a2f.upscale(image, model=upscaler))


def test_one_upscaler_in_eight_threads_gives_the_pixels_of_one() -> None:
    upscaler = a2f.load("sd", scale=2, threads=2)
    rng = np.random.default_rng(0)
    images = [rng.random((8 + i, 30 - i, 3), dtype=np.float32) for i in range(24)]
    alone = [upscaler(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(upscaler, images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((4, 4, 2), np.uint8), np.zeros((4,), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 4), np.int64),
        np.full((3, 3), np.nan, np.float32), 17, None, [1, 2],
    ],
)  # fmt: skip
def test_bad_images(given: Any) -> None:
    with pytest.raises(InputError):
        a2f.upscale(given, scale=2)


def test_bad_models_and_files(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UnknownModelError, match=r"unknown model 'xl' \(did you mean 'l'\?\)\. Choose one of: s x2"):
        a2f.upscale(image, model="xl")
    for nothing in (None, 4, object()):
        with pytest.raises(UnknownModelError, match="a model is a name"):
            a2f.upscale(image, model=nothing)
    for scale in (7, 5, "2", 2.0):
        for call in (lambda scale: a2f.upscale(image, scale=scale), lambda scale: a2f.load("sd", scale=scale)):
            with pytest.raises(UsageError, match=f"scale={re.escape(repr(scale))}: choose 2, 3 or 4"):
                call(scale)
    assert a2f.upscale(image, scale=np.int64(2)).shape == (8, 8, 3)
    with pytest.raises(WeightsError, match="No such file"):
        a2f.load(tmp_path / "none.safetensors")
    with pytest.raises(ImageReadError, match="No such file"):
        a2f.upscale(tmp_path / "none.png")
    with pytest.raises(ImageReadError, match="known format"):
        a2f.upscale(b"no image at all")
    with pytest.raises(InputError, match="given as a path"):
        a2f.upscale(image, output="x.png")


def test_open_files_and_other_dtypes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    with path.open("rb") as file, pytest.raises(InputError, match=r"is an open file: pass file\.read\(\), or its path"):
        a2f.upscale(file)
    with pytest.raises(InputError, match=r"uint8, uint16 or floating point in .*, not int32"):
        a2f.upscale(np.zeros((4, 4, 3), np.int32))
    for dtype in (">u2", np.float16, np.float64):
        assert a2f.upscale(np.zeros((4, 4, 3), dtype), scale=2).dtype == np.dtype(dtype)


def test_damaged_files_are_read_if_allowed(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 80).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(TruncatedImageError, match="allow_truncated=True"):
        a2f.upscale(path)
    with pytest.warns(UserWarning, match="the missing part is grey or black"):
        large = a2f.upscale(path.read_bytes(), allow_truncated=True)
    assert Image.open(io.BytesIO(large)).size == (256, 256)


def test_only_one_of_eight_threads_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo().save(path)
    begin = threading.Barrier(8)

    class Waiting(Nearest):
        def __call__(self, image: np.ndarray) -> np.ndarray:
            begin.wait()
            return super().__call__(image)

    def one(_: int) -> bool:
        try:
            a2f.upscale(path, model=Waiting(2))
        except OutputExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 1


def test_output_with_a_trailing_slash(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png")
    with pytest.raises(WriteError, match="is a folder"):
        a2f.upscale(tmp_path / "a.png", model=Nearest(2), output=f"{tmp_path}/b.png/")


def test_pixel_limit_in_python(tmp_path: Path) -> None:
    photo(size=(40, 30)).save(tmp_path / "a.png")
    with pytest.raises(PixelLimitError, match="max_pixels"):
        a2f.upscale(tmp_path / "a.png", model=Nearest(2), max_pixels=1000)
    with pytest.raises(PixelLimitError, match="max_pixels"):
        a2f.upscale((tmp_path / "a.png").read_bytes(), model=Nearest(2), max_pixels=1000)


@pytest.mark.parametrize("path", ["", ".", "/", Path()])
def test_path_without_a_file_name_is_refused(path: Any) -> None:
    with pytest.raises(ImageReadError, match=r"is not an image: give the path of a file"):
        a2f.upscale(path, scale=2, model=Nearest(2))
