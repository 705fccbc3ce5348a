"""Figure 2: the architecture, drawn from a configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2f.figures.style import BLUE, GREEN, GREY, ORANGE, PAGE_IN, PURPLE, RED, drawing, save
from a2f.variants import A2FConfig

WIDTH, HEIGHT = 140.0, 78.0  # units of the drawing
HEIGHT_IN = PAGE_IN * HEIGHT / WIDTH
SMALL_PT, TEXT_PT = 5.5, 6.5
ALL_DRAWN = 5  # networks with more blocks show the first two and the last
CHAIN_Y, BUS_Y, BUS_STEP = 56.0, 47.0, 2.2
BLOCK_W, BLOCK_H = 13.0, 8.0


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Draws boxes and arrows on an axis, in the units of the drawing."""

    axis: Any

    def box(self, x: float, y: float, w: float, h: float, text: str, color: str) -> None:
        """Draw a box around a centre, with a text in it."""
        from matplotlib.patches import FancyBboxPatch

        patch = FancyBboxPatch(
            (x - w / 2, y - h / 2), w, h, boxstyle="round,pad=0,rounding_size=0.8",
            facecolor=color + "22", edgecolor=color, linewidth=0.8, zorder=3,
        )  # fmt: skip
        self.axis.add_patch(patch)
        self.text(x, y, text)

    def text(self, x: float, y: float, text: str, *, size: float = SMALL_PT, color: str = "black") -> None:
        """Draw a text around a centre."""
        self.axis.text(x, y, text, ha="center", va="center", fontsize=size, color=color, zorder=5, linespacing=1.15)

    def path(self, points: list[tuple[float, float]], *, color: str = GREY, arrow: bool = True) -> None:
        """Draw a line through points, with an arrow head at its end."""
        *before, last = points
        xs, ys = zip(*(points if not arrow else before), strict=True)
        self.axis.plot(xs, ys, color=color, linewidth=0.7, solid_joinstyle="round", zorder=2)
        if arrow:
            style = {"arrowstyle": "-|>,head_width=0.14,head_length=0.28", "color": color, "linewidth": 0.7,
                     "shrinkA": 0, "shrinkB": 0}  # fmt: skip
            self.axis.annotate("", xy=last, xytext=before[-1], arrowprops=style, zorder=2)

    def sign(self, x: float, y: float, text: str) -> None:
        """Draw an operation (+ or ×) in a circle."""
        self.axis.plot([x], [y], "o", markersize=8, markerfacecolor="white", markeredgecolor="black",
                       markeredgewidth=0.7, zorder=4)  # fmt: skip
        self.text(x, y, text, size=TEXT_PT)


def shown_blocks(blocks: int) -> list[int | None]:
    """The numbers of the blocks to draw; None for omitted blocks."""
    return list(range(1, blocks + 1)) if blocks <= ALL_DRAWN else [1, 2, None, blocks]


def draw_network(config: A2FConfig, *, output: Path) -> None:
    """Draw Figure 2: the chain of blocks with the auxiliary features, and one block in detail.

    Args:
        config: configuration of a network with projection and attention.
        output: .svg, .pdf or .png.

    Raises:
        UsageError: for a suffix that cannot be written.
        MissingExtraError: if matplotlib is not installed.
        ImageWriteError: if the file cannot be written.
    """
    with drawing(width_in=PAGE_IN, height_in=HEIGHT_IN) as figure:
        axis = figure.subplots()
        axis.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
        axis.set_axis_off()
        pen = Pen(axis=axis)
        _chain(pen, config)
        _block(pen, config)
        save(figure, output)


def _chain(pen: Pen, config: A2FConfig) -> None:
    """Draw the whole network, from left to right (Eq. 1 to 5)."""
    c, up = config.channels, 3 * config.scale**2
    shown = shown_blocks(config.blocks)
    k = config.head_kernel
    pen.box(6, CHAIN_Y, 8, 8, "LR\n[3, H, W]", GREY)
    pen.box(20, CHAIN_Y, 11, BLOCK_H, f"head\n{k}×{k} conv\n3→{c}", BLUE)
    pen.path([(10, CHAIN_Y), (14.5, CHAIN_Y)])
    left, right = 37.0, 103.0
    gap = (right - left) / max(1, len(shown) - 1)
    centres = [left + gap * n for n in range(len(shown))]
    tail, add = right + 18, 132.0
    nodes = [(25.5, "$x_0$")]
    previous = 25.5
    for number, x in zip(shown, centres, strict=True):
        pen.path([(previous, CHAIN_Y), (x - BLOCK_W / 2, CHAIN_Y)])
        if number is None:
            pen.text(x, CHAIN_Y, "· · ·", size=TEXT_PT + 3)
        else:
            pen.box(x, CHAIN_Y, BLOCK_W, BLOCK_H, f"A²F block {number}", ORANGE)
        previous = x + BLOCK_W / 2
        nodes.append((previous, f"$x_{{{number or '…'}}}$"))
    _bus(pen, nodes, centres, shown)
    pen.path([(previous, CHAIN_Y), (tail - 7, CHAIN_Y)])
    pen.box(tail, CHAIN_Y, 14, 11, f"tail\n3×3 conv\n{c}→{up}\nPixelShuffle ×{config.scale}", BLUE)
    pen.path([(tail + 7, CHAIN_Y), (add - 1.4, CHAIN_Y)])
    pen.sign(add, CHAIN_Y, "+")
    top = CHAIN_Y + 14
    pen.box(64, top, 44, 6, f"skip: 3×3 conv 3→{up}, PixelShuffle ×{config.scale}", BLUE)
    pen.path([(6, CHAIN_Y + 4), (6, top), (42, top)])
    pen.path([(86, top), (add, top), (add, CHAIN_Y + 1.4)])
    pen.box(add, CHAIN_Y - 13, 12, 8, f"SR\n[3, {config.scale}H, {config.scale}W]", GREY)
    pen.path([(add, CHAIN_Y - 1.4), (add, CHAIN_Y - 9)])


def _bus(pen: Pen, nodes: list[tuple[float, str]], centres: list[float], shown: list[int | None]) -> None:
    """Draw the auxiliary features: each x_j is a separate line with a tap for every later block (Eq. 6)."""
    for j, (x, name) in enumerate(nodes[:-1]):
        if j and shown[j - 1] is None:
            continue
        y, start = BUS_Y - BUS_STEP * j, x + 1.5
        later = [n for n in range(j, len(shown)) if shown[n] is not None]
        taps = [centres[n] - 3 + 2.0 * j for n in later]
        pen.axis.plot([start], [CHAIN_Y], "o", color=RED, markersize=2.2, zorder=4)
        pen.text(start + 0.6, CHAIN_Y + 2.2, name, size=TEXT_PT, color=RED)
        pen.path([(start, CHAIN_Y), (start, y), (taps[-1], y)], color=RED, arrow=False)
        for tap in taps:
            pen.path([(tap, y), (tap, CHAIN_Y - BLOCK_H / 2)], color=RED)
            if tap != taps[-1]:
                pen.axis.plot([tap], [y], "o", color=RED, markersize=1.4, zorder=4)
    last, name = nodes[-1]
    pen.text(last + 2.1, CHAIN_Y + 2.2, name, size=TEXT_PT, color=RED)


def _block(pen: Pen, config: A2FConfig) -> None:
    """Draw one block (Eq. 6 to 9)."""
    c, hidden = config.channels, config.hidden
    att, res, own = 25.0, 14.0, 5.0
    pen.text(16, 33, "A²F block $i$", size=TEXT_PT + 1)
    pen.box(11, att, 17, 6, "concatenate\n$x_0$, …, $x_{i-1}$", RED)
    pen.box(34, att, 17, 6, f"proj: 1×1 conv\n$i$·{c}→{c}", GREEN)
    pen.path([(19.5, att), (25.5, att)])
    up = att + 8
    told = f"att: mean over the image,\n1×1 conv {c}→{c}, ReLU, 1×1 conv {c}→{c}, sigmoid"
    pen.box(74, up, 50, 7, told, PURPLE)
    pen.path([(42.5, att), (102.6, att)])
    pen.path([(46, att), (46, up), (49, up)])
    pen.path([(99, up), (104, up), (104, att + 1.4)])
    pen.sign(104, att, "×")
    pen.box(58, res, 50, 6, f"res: 3×3 conv {c}→{hidden}, ReLU, 3×3 conv {hidden}→{c}", BLUE)
    pen.text(11, res, "$x_{i-1}$", size=TEXT_PT, color=RED)
    pen.path([(14, res), (33, res)])
    pen.path([(20, res), (20, own), (122, own), (122, res - 1.4)])
    pen.path([(83, res), (120.6, res)])
    pen.path([(105.4, att), (122, att), (122, res + 1.4)])
    for x, y, name in ((113, att + 2.2, "att"), (113, res + 2.2, "res"), (113, own + 2.2, "x")):
        pen.text(x, y, rf"× $\lambda^{{{name}}}_i$", size=TEXT_PT)
    pen.sign(122, res, "+")
    pen.path([(123.4, res), (131, res)])
    pen.text(133.5, res, "$x_i$", size=TEXT_PT, color=RED)
