"""Labels in every script: no letter becomes an empty box."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from a2f import lettering
from a2f.lettering import draw_text, text_width


@pytest.fixture(autouse=True)
def fresh():
    """Search the fonts again in each test."""
    for kept in (lettering._fonts, lettering._has):
        kept.cache_clear()
    yield
    for kept in (lettering._fonts, lettering._has):
        kept.cache_clear()


def drawn(text: str, size: int = 20) -> np.ndarray:
    sheet = Image.new("RGB", (600, 60), "white")
    draw_text(ImageDraw.Draw(sheet), (10, 10), text, size=size, fill=(0, 0, 0))
    return np.asarray(sheet)


def has_dejavu() -> bool:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        return False
    return True


def test_plain_letters_are_drawn_as_pillow_draws_them() -> None:
    sheet = Image.new("RGB", (600, 60), "white")
    ImageDraw.Draw(sheet).text((10, 10), "photo_x4.jpg", fill=(0, 0, 0), font=ImageFont.load_default(20))
    np.testing.assert_array_equal(drawn("photo_x4.jpg"), np.asarray(sheet))


@pytest.mark.skipif(not has_dejavu(), reason="the machine has no DejaVu Sans")
def test_letters_of_a_fallback_font() -> None:
    boxes = ImageFont.load_default(20).getmask("\U0010ffff")
    for letter in "²λüЖ":
        mask = lettering._parts(letter, 20)[0][1].getmask(letter)
        assert (mask.size, bytes(mask)) != (boxes.size, bytes(boxes))
    ((text, font),) = lettering._parts("A²F, λ, ü", 20)
    assert text == "A²F, λ, ü"
    assert font.getname()[0] == "DejaVu Sans"


def test_characters_without_a_font_are_written_as_code_points() -> None:
    for letter in ("\U0010fffe", "\ue000"):
        ((shown, _),) = lettering._parts(f"a {letter}", 20)
        assert shown == f"a U+{ord(letter):04X}"
        assert text_width(f"a {letter}", 20) == text_width(shown, 20)


def test_no_fallback_font(monkeypatch) -> None:
    monkeypatch.setattr(lettering, "FONTS", ())
    assert lettering._parts("λ", 20) == [("U+03BB", lettering._fonts(20)[0])]
    assert (drawn("λ") < 128).any()
