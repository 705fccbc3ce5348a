"""Draw text on sheets, in every script for which this machine has a font."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

# Fonts of Linux, macOS and Windows that cover many letters; Pillow looks for them in the system's font folders.
FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "segoeui.ttf", "Arial Unicode.ttf"),
    *("arial.ttf", "NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "DroidSansFallbackFull.ttf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "Hiragino Sans GB.ttc", "PingFang.ttc", "AppleSDGothicNeo.ttc"),
    *(
        "YuGothM.ttc",
        "meiryo.ttc",
        "msgothic.ttc",
        "msyh.ttc",
        "malgun.ttf",
        "Nirmala.ttf",
        "NotoSansArabic-Regular.ttf",
    ),
    *("NotoSansHebrew-Regular.ttf", "NotoSansThai-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "unifont.otf"),
)
MISSING_GLYPH_LETTER = "\U0010ffff"  # no font has this letter: it is drawn as the font's symbol for missing letters


def draw_text(
    pen: "ImageDraw", at: tuple[float, float], text: str, *, size: int, fill: tuple[int, int, int], anchor: str = "la"
) -> None:
    """Draw one line of text.

    Args:
        pen: draws on the sheet.
        at: position of the start of the line.
        text: the line; a letter that no font has is drawn as its code point, for example U+65E5.
        size: height of the letters, pixels.
        fill: colour of the letters.
        anchor: the part of the line at `at`: "la" the upper edge, "ls" the base line.
    """
    x, y = at
    parts = _parts(text, size)
    if len(parts) == 1 and parts[0][1] is _fonts(size)[0]:
        pen.text(at, text, fill=fill, font=parts[0][1], anchor=anchor)
        return
    base = y + _fonts(size)[0].getmetrics()[0] if anchor == "la" else y  # one base line for all fonts
    for part, font in parts:
        pen.text((x, base), part, fill=fill, font=font, anchor="ls")
        x += font.getlength(part)


def text_width(text: str, size: int) -> float:
    """The width of a line, pixels."""
    return float(sum(font.getlength(part) for part, font in _parts(text, size)))


@cache
def _fonts(size: int) -> tuple[Any, ...]:
    """Pillow's own font, then all fonts of `FONTS` that are found."""
    from PIL import ImageFont

    found = [ImageFont.load_default(size)]
    for name in FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:  # not on this machine
            continue
    return tuple(found)


def _parts(text: str, size: int) -> list[tuple[str, Any]]:
    """Split the line into parts with one font each; a single part if one font has all letters."""
    fonts = _fonts(size)
    for number, font in enumerate(fonts):
        if all(_has(size, number, letter) for letter in text):
            return [(text, font)]
    parts: list[tuple[str, Any]] = []
    for letter in text:
        having = next((font for n, font in enumerate(fonts) if _has(size, n, letter)), None)
        font, shown = (fonts[0], f"U+{ord(letter):04X}") if having is None else (having, letter)
        if parts and parts[-1][1] is font:
            parts[-1] = parts[-1][0] + shown, font
        else:
            parts.append((shown, font))
    return parts


@cache
def _has(size: int, number: int, letter: str) -> bool:
    if letter.isspace():
        return True
    font = _fonts(size)[number]
    drawn, lacking = font.getmask(letter), font.getmask(MISSING_GLYPH_LETTER)
    return (drawn.size, bytes(drawn)) != (lacking.size, bytes(lacking))
