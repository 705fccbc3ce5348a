"""HDR10 metadata: the mastering display of a video, and its brightness."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

Point = tuple[Fraction, Fraction]


@dataclass(frozen=True, kw_only=True)
class Mastering:
    """The mastering display (SMPTE ST 2086).

    Attributes:
        red: x and y.
        green: x and y.
        blue: x and y.
        white: x and y.
        darkest: luminance, cd/m2.
        brightest: luminance, cd/m2.
    """

    red: Point
    green: Point
    blue: Point
    white: Point
    darkest: Fraction
    brightest: Fraction

    def text(self, *, colour_unit: int, light_unit: int) -> str:
        """Format it for encoders, in fractions of a unit; 1 gives decimal numbers."""

        def number(value: Fraction, unit: int) -> str:
            return str(round(value * unit)) if unit > 1 else f"{float(value):.6g}"

        def point(letter: str, at: Point) -> str:
            return f"{letter}({number(at[0], colour_unit)},{number(at[1], colour_unit)})"

        colours = point("G", self.green) + point("B", self.blue) + point("R", self.red) + point("WP", self.white)
        return f"{colours}L({number(self.brightest, light_unit)},{number(self.darkest, light_unit)})"


@dataclass(frozen=True, kw_only=True)
class Hdr:
    """HDR10 metadata.

    Attributes:
        mastering: the mastering display; None if undeclared.
        light: brightest pixel and brightest mean of a frame (MaxCLL, MaxFALL), cd/m2; None if undeclared.
    """

    mastering: Mastering | None = None
    light: tuple[int, int] | None = None


def hdr_of(side_data: Mapping[str, bytes]) -> Hdr:
    """HDR10 metadata from the side data of a frame, by FFmpeg's names."""
    mastering, light = None, None
    if (block := side_data.get("MASTERING_DISPLAY_METADATA")) and len(block) >= 88:
        numbers = struct.unpack_from("<22i", block)  # AVMasteringDisplayMetadata: ten fractions, two flags
        red_x, red_y, green_x, green_y, blue_x, blue_y, white_x, white_y, dark, bright = (
            Fraction(numbers[2 * n], numbers[2 * n + 1] or 1) for n in range(10)
        )
        if numbers[20] and numbers[21]:
            mastering = Mastering(
                red=(red_x, red_y),
                green=(green_x, green_y),
                blue=(blue_x, blue_y),
                white=(white_x, white_y),
                darkest=dark,
                brightest=bright,
            )
    if (block := side_data.get("CONTENT_LIGHT_LEVEL")) and len(block) >= 8:
        light = struct.unpack_from("<2I", block)
    return Hdr(mastering=mastering, light=light)
