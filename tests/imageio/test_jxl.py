"""JPEG XL: what the header of the codestream tells and the decoders do not.

The files were made from `PICTURE` by cjxl 0.7 with `-e 9`; its other options are named beside them.
"""

import base64
import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from a2f.errors import ImageReadError, LossyFormatError, TruncatedImageError
from a2f.imageio import Picture, encode_image, read_image
from a2f.imageio.colour import PRIMARIES, SRGB_CURVE, profile_of, tags_of_profile
from a2f.imageio.jxl_codestream import codestream_header
from a2f.imageio.picture import ColourSignal

Y, X = np.mgrid[:8, :8]
PICTURE = np.floor(np.stack([X / 8, Y / 8, np.full((8, 8), 0.2)], -1) * 255 + 0.5).astype(np.uint8)
TAIL = "2m%2Bpa4raX_(4`_bMm|ouWy{7~IR~7|g#rfW6Fm2XG0S{a^Z3B<*quJO="
P3 = base64.b85decode("{|Z4sKqfZ=" + TAIL)  # -d 0, RGB_D65_DCI_Rel_SRG
LINEAR_E = base64.b85decode("{|Z4sfEX<T" + TAIL)  # -d 0, RGB_EER_SRG_Rel_Lin
LOSSY_P3 = base64.b85decode(  # -d 0.1, RGB_D65_DCI_Rel_SRG
    "{|Z4sLMAr?027D+%mM%ZssaE|p)$(2!OOXxFF$lxOxw85&{o?PmM|us0TvQYJua_g?j)6M#ISsrgi1I9H)I3ETjjs-7yqa$KXU&jw$vt##)1Y}VHSm"
    "4BL{)0b+&)O^4BjJ)wXP?q)vbVNt1va02`j>8ikUDA#Ruf1^"
)
PQ = base64.b85decode(  # -d 0, RGB_D65_202_Rel_PeQ
    "{|Z3_5RgZYI2-@~0006A0s#P^082P&n976qDkun@qDjXX+{@?~%)dK;z07(Ca0#3JU;0%f?Q#h`2L"
)
GAMMA = base64.b85decode(  # -d 0, RGB_D65_SRG_Rel_g0.5555556
    "{|Z4sKqV`tiU<M$0H6R%IBA&5gZC;Z2%Vxy#~9qp=orkuJAl2+dIxX`oBdz<RV3|l2|Nb"
)
LOSSY_WITH_PROFILE = base64.b85decode(  # -d 0.1, with a profile of P3 whose curves are the table TABLE
    "{|Z4s3fDUWMsHv10!1)jE|>%$HDO+ok8Q!cE-xswQbE<(*cm$oAI0oaAIO5{S)k#UcnGpC0&hLb0DBn2;b|UX>@?AxCRgp~vNcR04DW}v65$<!{D?V"
    "fisDzqr7J!`&Ee~MLV#rlo&`)Bbtz!esacl-ru~{V$*bmv1Xo!$<l3THryd1N`gQBjsa-Cy$9k79nW{ks`GR_W`RAX1c3>qxNK6-wZVrTmVdD&fOpd"
    "z#;*UZt!#62@=YC~sgSqv!WNU=PX)rwm0^3M1kr)gB28={70tmQ`g5XjpLO~JtNeUIE6qPQe#ZoG@Sn4v!q57+p!=cqy4{fzw+WZ^v81TFTOxK%#{+"
    "X-XXT^5{=?9X3{@Ev#fBxx51pRU$K)V1Fhycg||Np8208pVa%DBPHxt=dSbXZK=xX#d4+ZL8ECY}Kn5>8>`!h17wz^HCFh6GrIN;m>f#?GtSKk2(Z+"
    "Wj7S=Z;}Rb!sGw(qU4N1d@%=kOa8-=w92h{VuH7(TSA?8AebXU_+FUUBX>d3PNN;kO2"
)
GREY_LEVELS = np.linspace(0, 1, 256)
TABLE = 0.7 * GREY_LEVELS**2.2 + 0.3 * GREY_LEVELS**3


@pytest.mark.parametrize("blob", [P3, LOSSY_P3], ids=["lossless", "lossy"])
def test_code_points_are_read_from_the_codestream(blob: bytes) -> None:
    picture = read_image(blob)
    assert np.abs(picture.pixels.astype(int) - PICTURE).mean() < (1e-9 if blob is P3 else 2)
    assert picture.metadata.profile == profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)
    for format in ("jxl", "jpeg", "png", "tiff", "webp"):
        again = read_image(encode_image(picture, format=format))
        assert again.metadata.profile == picture.metadata.profile, format


def test_code_points_of_hdr_are_kept_or_refused() -> None:
    picture = read_image(PQ)
    assert picture.metadata.signal == ColourSignal(cicp=(9, 16))
    with pytest.raises(LossyFormatError, match="HDR"):
        encode_image(picture, format="jpeg")


def test_colours_without_code_points_become_a_profile() -> None:
    gamma = read_image(GAMMA)
    np.testing.assert_array_equal(gamma.pixels, PICTURE)
    assert gamma.metadata.icc is not None
    np.testing.assert_allclose(_to_srgb(PICTURE, gamma.metadata.icc), _srgb((PICTURE / 255) ** 1.8) * 255, atol=1.5)
    other = read_image(LINEAR_E)
    assert other.metadata.icc == profile_of((1 / 3, 1 / 3, *PRIMARIES[1][2:]), (0, (1.0,)), grey=False)


def test_a_profile_that_the_decoder_does_not_apply_is_told() -> None:
    picture = read_image(LOSSY_WITH_PROFILE)
    assert picture.metadata.profile is None
    assert "converted to sRGB" in picture.notes[0]
    assert (
        np.abs(
            picture.pixels - _to_srgb(PICTURE, _with_table(profile_of(PRIMARIES[12], SRGB_CURVE, grey=False)))
        ).mean()
        < 4
    )


@pytest.mark.parametrize("channels", [2, 4])
def test_premultiplied_alpha_is_no_darker(channels: int) -> None:
    alpha = (X * 30 + 40).astype(np.uint8)
    colours = PICTURE[..., : channels - 1]
    multiplied = np.rint(colours * (alpha[..., None] / 255)).astype(np.uint8)
    plain = bytes(imagecodecs.jpegxl_encode(np.dstack([multiplied, alpha]), lossless=True, usecontainer=False))
    picture = read_image(_associated(plain))
    np.testing.assert_array_equal(picture.pixels[..., -1], alpha)
    assert np.abs(picture.pixels[..., :-1].astype(int) - colours).max() <= 4  # rounding, divided by 40 of 255


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_first_frame_of_an_animation_is_read(channels: int) -> None:
    first = np.dstack([PICTURE, PICTURE[..., :1]])[..., :channels].squeeze()
    picture = read_image(bytes(imagecodecs.jpegxl_encode(np.stack([first, 255 - first]), lossless=True)))
    np.testing.assert_array_equal(picture.pixels.squeeze(), first)


def test_further_channels_are_told() -> None:
    planes = np.stack([PICTURE[..., 0]] * 3)
    picture = read_image(bytes(imagecodecs.jpegxl_encode(planes, lossless=True, planar=True)))
    np.testing.assert_array_equal(picture.pixels[..., 0], planes[0])
    assert any("further channels (unknown)" in note for note in picture.notes)


@pytest.mark.parametrize("quality", [90, 100])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_results_of_16_bits_are_srgb(channels: int, quality: int) -> None:
    pixels = np.dstack([PICTURE, PICTURE[..., :1]])[..., :channels].astype(np.uint16).repeat(8, 0).repeat(8, 1) * 257
    if channels in (2, 4):
        pixels[..., -1] |= 1 << 15  # lossy colours under an alpha of 0 are not kept
    blob = encode_image(Picture(pixels=pixels), format="jxl", quality=quality)
    header = codestream_header(blob, "x")
    assert header.cicp == (1, 13)
    assert header.converted == (quality < 100)
    back = read_image(blob)
    assert back.metadata.profile is None
    assert np.abs(back.pixels.astype(float) - pixels).mean() / 65535 < (0.02 if quality < 100 else 1e-9)


def test_a_header_cut_anywhere() -> None:
    for cut in range(2, 8):
        with pytest.raises(TruncatedImageError):
            codestream_header(LOSSY_WITH_PROFILE[:2] + b"\0" * (cut - 2), "x")
    for cut in range(2, len(P3)):
        with pytest.raises(ImageReadError):
            read_image(P3[:cut])


def _with_table(icc: bytes) -> bytes:
    """Replace the curves of a profile, which all three colours have in common, by `TABLE`."""
    curve = b"curv" + bytes(4) + (256).to_bytes(4, "big") + np.round(TABLE * 65535).astype(">u2").tobytes()
    tags = tags_of_profile(icc) | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start, table, values = 128 + 4 + 12 * len(tags), len(tags).to_bytes(4, "big"), b""
    for name, value in tags.items():
        table += name + (start + len(values)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        values += value + bytes(-len(value) % 4)
    whole = icc[4:128] + table + values
    return (len(whole) + 4).to_bytes(4, "big") + whole


def _to_srgb(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    given, wanted = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(Image.fromarray(pixels), given, wanted, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    return np.asarray(made).astype(float)


def _srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _associated(blob: bytes) -> bytes:
    """Mark the alpha of a codestream of 8 x 8 pixels as multiplied into the colours.

    In the header, the alpha with default properties is a single bit, which becomes eleven: not default, type alpha,
    integers, of 8 bits, not smaller, without a name, associated. Then follow whether the pixels are in XYB, and the
    colours: for RGB one bit for sRGB, for grey 15 bits. At the end are three bits: no extensions, no other transforms.
    """
    bits = [byte >> place & 1 for byte in blob[2:] for place in range(8)]
    at = 9 + 1 + 1 + 3 + 1 + 2  # size, not all default, no further fields, depth, buffers, number of channels
    assert bits[at] == 1
    end = at + 6 if bits[at + 2] else at + 20
    head = [*bits[:at], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, *bits[at + 1 : end]]
    head += [0] * (-len(head) % 8)
    packed = bytes(sum(bit << place for place, bit in enumerate(head[i : i + 8])) for i in range(0, len(head), 8))
    return blob[:2] + packed + blob[2 + -(-end // 8) :]
