"""Animations: frames, times, loop counts and transparency."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

import a2f
from a2f.errors import ImageReadError, LossyFormatError
from a2f.imageio import read_image
from a2f.imageio.animation import frames_of
from a2f.imageio.heif_boxes import with_plays
from a2f.imageio.png_chunks import SIGNATURE, chunk_bytes, chunks_of

TIMES = [100, 40, 40, 250, 70]
SIZE = (24, 16)


# Two pictures of 24 x 16 with the property irot 1, by avifenc 0.11.1 (--irot 1 --timescale 10 -y 444): `HALVES` and 255
# minus `HALVES`.
TURNED_AVIF = base64.b85decode(
    "0000iW^{RQVRmVA00000VRmU|VRmVAZF6QZX>)HlZE0pPZE0a<O+hh10004(ZDn*}000000000eXk=`10000000000aA{+7000000000000000Y-wU"
    ")c4=k+0000EaA|aH000000096104!;2Z({%e002Y)00IC300001000L00000m00IC2009612G0Nh02u%P077YLZe{=g000020000QX>Mj^0ssI2009"
    "61VRkSvLvL(vasU7T02*m-W@Q2Z00002003cjFfl=FaA;uw0000QX>w&|000000000EVRd+H00IC3009610L^J|a&Q0u0H$ehV{ZTe02FC+aAg1h00"
    "00002lxO01yBG01$9#cxeCt0009B2nYZG01RPvF++hM00000025<xY;ta6Y<K_x01W^JfB*mh32Aa~bO8VW01j|zcxeCt000390000CVRkV?fdCu;0"
    "000uVRd*z00000b#iVxZE$60I&E-eXF@t-X=89Yb9r-gWo>ghVRd+EY-wR~c{*WiaA;uw0000VX>e^}0000000002009L70)qsF00IO728Rd$00jhX"
    "Z*O)0004Mxc4%Y)000000002zFQh#H0002zFQh#H000UA00000000620RR920000000000000000RR910000000000000000RR9100000000000000"
    "$000000000000000000000000000000000000006200Js>a$#!#003xoYiMKv000310002zFQh#H0002zFQh#H0003100000000000006200000000"
    "0000000000000RR910000000000000000RR9100000000000000$000007ytkO5C8xG00FvfWNBdl001m)WN2go000000002zFQh#H0002zFQh#H00"
    "0UA0000000072!~g&Q001axWNdN(000000001RX=8K%00000000000001NX<}h^X=VTb00CZYX>Mi!000zrZD?cw000310000000000001OpX>Mi!0"
    "010ha%E-!0000000031000bia%>;~0003100ACzbYg4(000zobYpJ-000000003100#L00010wbaP_>00000000310003100062000310010wbaQ$D"
    "000000000000062001xm001fg000zobaQh6000000003100031000<sbaZn700000000310006200031005qIbaP|?00000000310053*b}%sj0000"
    "000031000000000000000000007yu9eNB{r;NB{r;000000SZA+O&~*WWNB_^0000000000000000000000000000>O{{R303}JRLLxCUw000006Ju"
    "{|a&BX6cmM$a4FCp!00009X>xCL0RR915MyI=bN~PV0DJ%d00002T6A(@YXATMXmo36WB~vG0RR910Ov2HJpcdz0Ov2HJpcdz0ssI200000000000s"
    "sI2000000000000000000310000000000000000003100000000000000006+i$000;O000mG000006m)WBW&i*H3}JP6YybcN0RR92)@@{IVE_OCE"
    "Nx_HWB~vG000000Ov2HJpcdz0Ov2HJpcdz3IG5A000000#(ES00000C}?DCasU7T000000AY1_b^rhX00000000000BmVuVRmU|00001dTnWLW&i*H"
    "6n1TBWB>pF0RR910000000000BxGrBW&i*H9At83W&i*H000000RR9140UpBAOHXW0RR92I&*YlYybcN6mxWAZvX%Q000000RR97&j0`b9CLJYV*mg"
    "E000000RR910RR910ssI20RR919CLJYdH?_b00000000000ssI282|tP5dZ)H6mxWQa{vGU000000RR910RR917;|)Va{vGU000000RR910ssI20RR"
    "91x^r}MWB>pF000000RR91s$q68F#rGn000000RR91000000000000000000;O5CBL3002k;000000003BK~GH}LvLhhZf5`h00000000000000000"
    "0000000082|qO000bOb}>VN02}}S000nUV{>!>0001d00000001~)b$Dq20001Wa&9_paAjvYZE$60LONq<V{kfid2@7SZF4$db$DrPX<>4CI$>;ZX"
    "kh>V004|_WMOm?0162J0006V{Mz{{G71m?fB*n3b}T-J5&$v{FayAV002gS1OV5>LlOWA3?Kji0v-I?`5+;n(lQ<t04e|g0FVG6<|%$xiA)T)7dfN^"
    "JT?_Eajm;?@DczrCNcrwKmY(EQ~&@0AOKJRwIiTY4R3)CfU_?i+j3^mP8jb)iILy"
)
HALVES = np.zeros((16, 24, 3), np.uint8)
HALVES[:8], HALVES[:, :8, 0] = 200, 90


class Nearest:
    """Repeats each pixel, and counts the images."""

    scale = 2
    description = "nearest x2"

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        self.runs += 1
        return image.repeat(2, axis=0).repeat(2, axis=1)


def pictures(*, clear: bool) -> list[Image.Image]:
    """Frames of a moving square on a transparent or grey background; the third frame equals the second."""
    made = []
    for at in (0, 4, 4, 8, 12):
        image = Image.new("RGBA", SIZE, (0, 0, 0, 0) if clear else (90, 90, 90, 255))
        image.paste((230, 40 + 10 * at, 20, 255), (at, 4, at + 8, 12))
        made.append(image if clear else image.convert("RGB"))
    return made


def saved(format: str, *, clear: bool, **options: Any) -> bytes:
    out, made = io.BytesIO(), pictures(clear=clear)
    made[0].save(out, format, save_all=True, append_images=made[1:], duration=TIMES, **options)
    return out.getvalue()


def told(data: bytes) -> tuple[list[float], Any, list[NDArray[np.uint8]]]:
    """The times, loop count and complete frames, read by Pillow."""
    image = Image.open(io.BytesIO(data))
    times, frames = [], []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        times.append(round(frame.info["duration"]))
        frames.append(np.asarray(frame.convert("RGBA")))
    return times, image.info.get("loop"), frames


GIVEN: dict[str, Callable[[bool], bytes]] = {
    "GIF": lambda clear: saved("GIF", clear=clear, loop=3, disposal=2 if clear else 1),
    "PNG": lambda clear: saved("PNG", clear=clear, loop=3),
    "WEBP": lambda clear: saved("WEBP", clear=clear, loop=3, lossless=True, exact=True),
    "AVIF": lambda clear: saved("AVIF", clear=clear, quality=100, subsampling="4:4:4"),
}


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("format", GIVEN)
def test_frames_times_loop_and_transparency_are_kept(format: str, clear: bool, tmp_path: Path) -> None:
    given, upscaler = GIVEN[format](clear), Nearest()
    path = tmp_path / f"a.{format.lower()}"
    path.write_bytes(given)
    made = a2f.upscale(path, model=upscaler)
    times, loop, frames = told(given)
    new_times, new_loop, large = told(made.read_bytes())
    assert (new_times, new_loop) == (times, loop)
    assert sum(times) == sum(TIMES)
    assert len(large) == len(frames)
    for frame, big in zip(frames, large, strict=True):
        assert big.shape == (32, 48, 4)
        expected = frame.repeat(2, axis=0).repeat(2, axis=1).astype(int)
        off = np.abs(big[..., 3] - expected[..., 3])
        assert (off <= (4 if format == "AVIF" else 0)).mean() > (0.9 if clear else 0.9999)  # edges are enlarged softly
        visible = (expected[..., 3:] > 127) & (off <= 4)[..., None]
        assert np.abs((big[..., :3] - expected[..., :3]) * visible).mean() < (6 if format == "AVIF" else 1)
    distinct = 1 + sum(not np.array_equal(a, b) for a, b in pairwise(frames))
    assert upscaler.runs <= distinct * (2 if clear else 1)  # alpha runs by itself


@pytest.mark.parametrize(("plays", "loop"), [(0, 0), (1, None), (2, 1), (6, 5)])
def test_loop_count_of_a_gif_is_kept(plays: int, loop: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(saved("GIF", clear=False, **({} if loop is None else {"loop": loop})))
    animation = read_image(path).animation
    assert animation is not None
    assert animation.plays == plays
    assert told(a2f.upscale(path, model=Nearest()).read_bytes())[1] == loop


@pytest.mark.parametrize("plays", [0, 1, 2, 7])
@pytest.mark.parametrize("format", ["avif", "gif", "webp", "png"])
def test_loop_count_of_an_avif_is_kept_in_all_formats(plays: int, format: str, tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    path.write_bytes(with_plays(saved("AVIF", clear=False), plays))
    before = read_image(path).animation
    assert before is not None
    assert before.plays == plays
    a2f.upscale(path, model=Nearest(), output=tmp_path / f"b.{format}", force=format == "gif")
    after = read_image(tmp_path / f"b.{format}").animation
    assert after is not None
    assert after.plays == plays
    assert sum(told((tmp_path / f"b.{format}").read_bytes())[0]) == sum(TIMES)


def test_loop_count_of_an_avif_follows_the_standard() -> None:
    data = with_plays(saved("AVIF", clear=False), 3)
    header, edits = data.index(b"tkhd") + 4, data.index(b"elst") + 4
    assert int.from_bytes(data[header + 28 : header + 36], "big") == 3 * sum(TIMES)  # version 1, milliseconds
    assert int.from_bytes(data[edits + 8 : edits + 16], "big") == sum(TIMES)
    assert data[edits : edits + 4] == bytes([1, 0, 0, 1])  # it repeats
    once = with_plays(data, 1)
    assert once[edits : edits + 4] == bytes([1, 0, 0, 0])


def with_checksums(data: bytes) -> bytes:
    """Change chunks of a PNG, and update their checksums."""
    return SIGNATURE + b"".join(chunk_bytes(chunk.kind, chunk.body(data)) for chunk in chunks_of(data))


def test_times_of_a_png_are_exact_fractions(tmp_path: Path) -> None:
    given = saved("PNG", clear=False)
    exact = given.replace(
        (40).to_bytes(2, "big") + (1000).to_bytes(2, "big"), (1).to_bytes(2, "big") + (30).to_bytes(2, "big")
    )
    path = tmp_path / "a.png"
    path.write_bytes(exact)
    with Image.open(path) as image:
        assert getattr(image, "n_frames") >= 4  # noqa: B009
    animation = read_image(path).animation
    assert animation is not None
    made = read_image(a2f.upscale(path, model=Nearest())).animation
    assert made is not None
    assert made.durations == animation.durations


def test_conversion_to_an_animated_format_keeps_all_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(GIVEN["GIF"](True))
    for suffix in ("png", "webp"):
        made = a2f.upscale(path, model=Nearest(), output=tmp_path / f"b.{suffix}")
        assert told(made.read_bytes())[0] == told(path.read_bytes())[0]
    with pytest.warns(UserWarning, match="only the first is read"):
        a2f.upscale(path, model=Nearest(), output=tmp_path / "b.tif", force=True)


def test_gif_refuses_partial_transparency_in_later_frames(tmp_path: Path) -> None:
    first, second = pictures(clear=True)[:2]
    second.putalpha(second.getchannel("A").point(lambda a: a // 2))
    path = tmp_path / "a.webp"
    first.save(path, save_all=True, append_images=[second], duration=50, lossless=True)
    with pytest.raises(LossyFormatError, match="frames of"):
        a2f.upscale(path, model=Nearest(), output=tmp_path / "a.gif")
    assert len(told(a2f.upscale(path, model=Nearest(), output=tmp_path / "b.gif", force=True).read_bytes())[0]) == 2


def test_truncated_frame_is_reported() -> None:
    animation = read_image(GIVEN["PNG"](False)).animation
    assert animation is not None
    assert [frame.shape for frame in frames_of(animation, colours=3)] == [(16, 24, 3)] * animation.count
    cut = replace(animation, data=animation.data[: len(animation.data) * 3 // 4])
    with pytest.raises(ImageReadError, match="cannot be read"):
        list(frames_of(cut, colours=3))


def test_profile_and_exif_are_kept(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("PNG", "WEBP"):
        path = tmp_path / f"a.{format.lower()}"
        path.write_bytes(saved(format, clear=False, icc_profile=profile))
        made = a2f.upscale(path, model=Nearest())
        with Image.open(made) as image:
            assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["png", "webp"])
def test_frames_are_turned_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exact = {"lossless": True} if format == "webp" else {}
    given = read_image(saved(format, clear=False, exif=exif.tobytes(), **exact))
    assert given.animation is not None
    frames = list(frames_of(given.animation, colours=3))
    wanted = []
    for picture in pictures(clear=False):
        picture.getexif()[0x0112] = orientation
        wanted.append(np.asarray(ImageOps.exif_transpose(picture)))
    for at in (0, 1, -1):  # Pillow merges the third frame of a PNG with the second one
        np.testing.assert_array_equal(frames[at], wanted[at])
    np.testing.assert_array_equal(given.pixels[..., :3], wanted[0])
    made = a2f.upscale(saved(format, clear=False, exif=exif.tobytes(), **exact), model=Nearest())
    assert Image.open(io.BytesIO(made)).getexif().get(0x0112, 1) == 1
    results = told(made)[2]
    assert len(results) == len(frames)
    for frame, result in zip(frames, results, strict=True):
        np.testing.assert_array_equal(result[..., :3], frame.repeat(2, axis=0).repeat(2, axis=1))


def test_frames_of_an_avif_are_turned_by_its_boxes() -> None:
    given = read_image(TURNED_AVIF)
    assert given.animation is not None
    first, second = frames_of(given.animation, colours=3)
    assert np.abs(first.astype(int) - np.rot90(HALVES)).mean() < 3
    assert np.abs(second.astype(int) - np.rot90(255 - HALVES)).mean() < 3
    assert np.abs(given.pixels[..., :3].astype(int) - first).max() <= 2


def test_an_animated_png_with_a_long_chunk_before_its_control_chunk() -> None:
    blob = saved("png", clear=False)
    long = blob[:33] + chunk_bytes(b"iTXt", b"Title\0\0\0\0\0" + b"x" * 9000) + blob[33:]
    animation = read_image(long).animation
    assert animation is not None
    assert animation == read_image(blob).animation
