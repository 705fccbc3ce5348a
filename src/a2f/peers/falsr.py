"""FALSR-A, -B and -C: three networks found by architecture search.

Chu, Zhang, Ma, Xu, Li, "Fast, Accurate and Lightweight Super-Resolution with Neural Architecture Search", ICPR 2020
(arXiv:1901.07261). Code read: the evaluation script (github.com/xiaomi-automl, no licence found). The networks are
those of the graphs that the authors released there; the layer names give kind, features, kernel and repeats. Trained by
its authors on luma of DIV2K, at x2 only. The luma has full range: black is 0, white is 1.

Table 6 prints 1021K, 326K and 408K with biases, and 234.7, 74.7 and 93.7 G Multi-Adds. The graph of A has 1021K and
235.0 G, the graph of B 325K and 74.5 G; differences of 0.1 to 0.4 % are not explained. The graph of C has 427K and 98.0
G: its last convolution also reads cell 1, whose 64 channels (18K, 4.2 G) are not in the printed figures.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from a2f.peers.luma import OnLuma

WIDTH = 32  # channels of the first features and of those before the pixel shuffle


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the genotype.

    Attributes:
        kind: "conv", "group" (grouped convolutions) or "inverted" (inverted bottlenecks with twice the width inside).
        features: output channels.
        kernel: 1 or 3.
        repeats: number of consecutive convolutions or bottlenecks.
        skip: whether the input is added to the output.
        groups: groups of the convolutions.
        given: the concatenated inputs: 0 for the first features, i for cell i - 1.
    """

    kind: Literal["conv", "group", "inverted"]
    features: int
    kernel: int
    repeats: int
    skip: bool
    given: tuple[int, ...]
    groups: int = 1


def conv(features: int, kernel: int, repeats: int, skip: bool, *given: int) -> Cell:
    """A cell of plain convolutions."""
    return Cell(kind="conv", features=features, kernel=kernel, repeats=repeats, skip=skip, given=given)


def group(groups: int, features: int, kernel: int, repeats: int, *given: int) -> Cell:
    """A cell of grouped convolutions."""
    return Cell(kind="group", features=features, kernel=kernel, repeats=repeats, skip=False, given=given, groups=groups)


def inverted(features: int, kernel: int, repeats: int, skip: bool, *given: int) -> Cell:
    """A cell of inverted bottlenecks."""
    return Cell(kind="inverted", features=features, kernel=kernel, repeats=repeats, skip=skip, given=given)


GENOTYPES: dict[str, tuple[tuple[Cell, ...], tuple[int, ...]]] = {  # cells, and inputs of the last convolution
    "a": (
        (
            conv(64, 3, 4, True, 0),
            conv(48, 1, 1, True, 1),
            conv(64, 3, 4, True, 2),
            conv(64, 3, 4, True, 2, 3),
            conv(64, 3, 4, True, 0, 2, 4),
            conv(64, 1, 4, False, 5),
            conv(64, 3, 4, True, 0, 2, 5, 6),
        ),
        (0, 1, 2, 3, 4, 5, 6, 7),
    ),
    "b": (
        (
            inverted(16, 3, 1, True, 0),
            inverted(48, 1, 2, True, 0, 1),
            conv(16, 1, 2, True, 0, 1, 2),
            inverted(32, 3, 4, False, 3),
            conv(64, 3, 2, False, 2, 3, 4),
            group(4, 16, 3, 4, 2, 4, 5),
            conv(16, 3, 1, True, 0, 1, 2, 6),
        ),
        (1, 4, 6, 7),
    ),
    "c": (
        (
            group(2, 32, 1, 1, 0),
            conv(64, 1, 4, False, 0, 1),
            inverted(48, 3, 4, False, 2),
            group(2, 32, 1, 1, 1, 3),
            group(4, 32, 1, 1, 0, 4),
            conv(48, 1, 4, False, 0, 5),
            conv(16, 3, 1, True, 1, 6),
        ),
        (0, 2, 6, 7),
    ),
}


class Convolutions(nn.Module):
    """A cell of plain or grouped convolutions, each with its ReLU."""

    def __init__(self, cell: Cell, given: int) -> None:
        super().__init__()
        self.skip = cell.skip and cell.repeats > 1
        widths = [given, *[cell.features] * (cell.repeats - 1)]
        self.convs = nn.ModuleList(
            nn.Conv2d(w, cell.features, cell.kernel, padding=cell.kernel // 2, groups=cell.groups) for w in widths
        )
        self.act = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, given, H, W] -> [N, features, H, W]."""
        first: Tensor = self.act(self.convs[0](x))
        out = first
        for conv in self.convs[1:]:
            out = self.act(conv(out))
        return first + out if self.skip else out


class Bottleneck(nn.Module):
    """An inverted bottleneck: expansion to twice the width, a depthwise convolution, projection, and a shortcut."""

    def __init__(self, features: int, kernel: int) -> None:
        super().__init__()
        wide = 2 * features
        self.expand = nn.Conv2d(features, wide, kernel, padding=kernel // 2)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.project = nn.Conv2d(wide, features, kernel, padding=kernel // 2)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.project(self.act(self.depthwise(self.act(self.expand(x))))) + x
        return out


class Bottlenecks(nn.Module):
    """A cell of inverted bottlenecks after a 1x1 convolution."""

    def __init__(self, cell: Cell, given: int) -> None:
        super().__init__()
        self.skip = cell.skip and cell.repeats > 1
        self.enter = nn.Conv2d(given, cell.features, 1)
        self.body = nn.Sequential(*[Bottleneck(cell.features, cell.kernel) for _ in range(cell.repeats)])

    def forward(self, x: Tensor) -> Tensor:
        """[N, given, H, W] -> [N, features, H, W]."""
        first = self.enter(x)
        out: Tensor = self.body(first)
        return first + out if self.skip else out


class FALSR(nn.Module):
    """The luma network.

    Args:
        genotype: "a", "b" or "c".
    """

    def __init__(self, genotype: str) -> None:
        super().__init__()
        self.cells, self.last_given = GENOTYPES[genotype]
        self.head = nn.Conv2d(1, WIDTH, 3, padding=1)
        widths, made = [WIDTH], []
        for cell in self.cells:
            given = sum(widths[i] for i in cell.given)
            made.append(Bottlenecks(cell, given) if cell.kind == "inverted" else Convolutions(cell, given))
            widths.append(cell.features)
        self.body = nn.ModuleList(made)
        self.last = nn.Conv2d(sum(widths[i] for i in self.last_given), WIDTH, 3, padding=1)
        self.tail = nn.Conv2d(WIDTH // 4, 1, 3, padding=1)
        self.act = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1, H, W] -> [N, 1, 2H, 2W]."""
        given = [self.act(self.head(x))]
        for cell, module in zip(self.cells, self.body, strict=True):
            given.append(module(torch.cat([given[i] for i in cell.given], dim=1)))
        out = self.act(self.last(torch.cat([given[i] for i in self.last_given], dim=1))) + given[0]
        n, c, height, width = out.shape  # TensorFlow's order of the pixel shuffle: rows, columns, channels
        out = out.reshape(n, 2, 2, c // 4, height, width).permute(0, 3, 4, 1, 5, 2)
        made: Tensor = self.tail(out.reshape(n, c // 4, 2 * height, 2 * width))
        return made


def falsr_a(scale: int) -> nn.Module:
    """FALSR-A on RGB, [N, 3, H, W] -> [N, 3, 2H, 2W]; scale is 2."""
    return OnLuma(FALSR("a"), scale, full_range=True)


def falsr_b(scale: int) -> nn.Module:
    """FALSR-B on RGB, [N, 3, H, W] -> [N, 3, 2H, 2W]; scale is 2."""
    return OnLuma(FALSR("b"), scale, full_range=True)


def falsr_c(scale: int) -> nn.Module:
    """FALSR-C on RGB, [N, 3, H, W] -> [N, 3, 2H, 2W]; scale is 2."""
    return OnLuma(FALSR("c"), scale, full_range=True)
