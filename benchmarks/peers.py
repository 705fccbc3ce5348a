"""Published light networks at x4 with random weights, to measure what they cost, and the figures of their papers.

Written from the papers; sizes that a paper leaves open are those at which the counts it prints come out. Structures
that training alone needs (SPAN's parallel convolutions, CARN-M's upsamplers of other scales) are left out, so that
time and memory are those of use.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 4
OPSET = 17
MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's RGB
COLOURS = 3 * SCALE**2  # what a pixel shuffle makes RGB of

Conv = Callable[..., nn.Module]  # (channels in, channels out, *, stride, padding)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A network and what is published about it.

    Attributes:
        name, year, venue: of the paper, or of the challenge.
        make: the network with random weights.
        parameters_k: published, thousands.
        elsewhere_k: those of them that do not run at x4, thousands.
        multi_adds_g: published Multi-Adds to 1280x720, 10^9; None where not found.
        set5, set14, b100: published PSNR-Y at x4, dB; None where not found.
        source: of these figures.
    """

    name: str
    year: int
    venue: str
    make: Callable[[], nn.Module]
    parameters_k: int
    elsewhere_k: float = 0
    multi_adds_g: float | None = None
    set5: float | None = None
    set14: float | None = None
    b100: float | None = None
    source: str

    def build(self) -> nn.Module:
        """The network for use, [N, 3, H, W] -> [N, 3, 4H, 4W]; the same weights each time, the global seed unmoved."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make().eval().requires_grad_(False)


def export_onnx(network: nn.Module, *, lr_size: tuple[int, int] | None = None) -> bytes:
    """A network as an ONNX file: input "lr", output "sr", float32.

    Args:
        network: one that `Peer.build` gave, on the CPU.
        lr_size: width and height of the LR image, pixels; None for a file that takes images and batches of any size.
    """
    width, height = lr_size or (48, 40)
    size = {0: "batch", 2: "height", 3: "width"}
    blob = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch would rather have its other exporter used
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, height, width),),
            blob,  # type: ignore[arg-type]  # as its documentation allows
            input_names=["lr"],
            output_names=["sr"],
            dynamic_axes=None if lr_size else {"lr": size, "sr": {0: "batch", 2: "4*height", 3: "4*width"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return blob.getvalue()


def conv3(inputs: int, outputs: int, *, stride: int = 1, padding: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 3x3 convolution."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding, groups=groups)


def lrelu() -> nn.Module:
    """As IMDN and its successors have it."""
    return nn.LeakyReLU(0.05, inplace=True)


def blueprint(inputs: int, outputs: int, *, stride: int = 1, padding: int = 1) -> nn.Module:
    """BSConv-U, of BSRN: a 1x1 convolution, then a 3x3 one channel by channel."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        conv3(outputs, outputs, stride=stride, padding=padding, groups=outputs),
    )


class Residual(nn.Module):
    """What it holds, and its input added."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.body(x) + x
        return out


class Contrast(nn.Module):
    """Contrast-aware channel attention, of IMDN: gates from the mean plus the standard deviation."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(channels, squeezed, 1), nn.ReLU(True), nn.Conv2d(squeezed, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        mean = x.mean((2, 3), keepdim=True)  # [N, C, 1, 1]
        deviation = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * torch.sigmoid(self.gate(mean + deviation))


class Spatial(nn.Module):
    """Enhanced spatial attention (ESA), of RFANet: gates seen from afar, at a sixth of the size.

    Args:
        channels: of what is gated.
        inner: channels inside.
        conv: what its 3x3 convolutions are.
        act: between the three convolutions at the small size, as RFDN and BSRN have them; None for one, as RLFN has.
    """

    def __init__(self, channels: int, inner: int, conv: Conv, act: Callable[[], nn.Module] | None) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.direct = nn.Conv2d(inner, inner, 1)
        self.shrink = conv(inner, inner, stride=2, padding=0)
        small = [conv(inner, inner)]
        for _ in range(2 if act else 0):
            small += [act(), conv(inner, inner)] if act else []
        self.small = nn.Sequential(*small)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W], H and W at least 15."""
        reduced = self.reduce(x)
        far = self.small(F.max_pool2d(self.shrink(reduced), 7, 3))
        far = F.interpolate(far, (x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(far + self.direct(reduced)))


class Splitting(nn.Module):
    """IMDB, of IMDN: after each convolution a quarter of the channels is kept, the others go on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kept = channels // 4
        going = channels - self.kept
        self.steps = nn.ModuleList(conv3(given, channels) for given in (channels, going, going))
        self.last = conv3(going, self.kept)
        self.act = lrelu()
        self.fuse = nn.Sequential(Contrast(channels, channels // 16), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        going, kept = x, []
        for step in self.steps:
            y = self.act(step(going))
            kept.append(y[:, : self.kept])
            going = y[:, self.kept :]
        out: Tensor = self.fuse(torch.cat([*kept, self.last(going)], 1)) + x
        return out


class Distilling(nn.Module):
    """RFDB, of RFDN, and ESDB, of BSRN: 1x1 convolutions keep a half, shallow residuals go on."""

    def __init__(self, channels: int, conv: Conv, act: nn.Module, *attention: nn.Module) -> None:
        super().__init__()
        half = channels // 2
        self.keep = nn.ModuleList(nn.Conv2d(channels, half, 1) for _ in range(3))
        self.steps = nn.ModuleList(conv(channels, channels) for _ in range(3))
        self.last = conv(channels, half)
        self.act = act
        self.fuse = nn.Sequential(nn.Conv2d(4 * half, channels, 1), *attention)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        going, kept = x, []
        for keep, step in zip(self.keep, self.steps, strict=True):
            kept.append(self.act(keep(going)))
            going = self.act(step(going) + going)
        out: Tensor = self.fuse(torch.cat([*kept, self.act(self.last(going))], 1))
        return out


class Trunk(nn.Module):
    """What IMDN, RFDN, RLFN and BSRN share: head, blocks, a long skip and one pixel shuffle.

    Args:
        blocks: in a row.
        channels: between them.
        act: after the 1x1 convolution that fuses what all blocks gave; None to go on with the last one's.
        conv: what the convolutions before and after the blocks are.
        copies: of the RGB channels, one after the other, for the head; BSRN has 4.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], channels: int, act: nn.Module | None, conv: Conv = conv3, copies: int = 1
    ) -> None:
        super().__init__()
        self.copies = copies
        self.head, self.blocks = conv(3 * copies, channels), nn.ModuleList(blocks)
        self.fuse = nn.Sequential(nn.Conv2d(len(blocks) * channels, channels, 1), act) if act else None
        self.smooth, self.up = conv(channels, channels), conv3(channels, COLOURS)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 3, 4H, 4W]."""
        first = self.head(torch.cat([x] * self.copies, 1) if self.copies > 1 else x)
        given = [first]
        for block in self.blocks:
            given.append(block(given[-1]))
        out = self.fuse(torch.cat(given[1:], 1)) if self.fuse else given[-1]
        return F.pixel_shuffle(self.up(self.smooth(out) + first), SCALE)


class PixelAttention(nn.Module):
    """Gates for each channel and pixel, of PAN; where a body is given, they gate what it gives."""

    def __init__(self, channels: int, body: nn.Module | None = None) -> None:
        super().__init__()
        self.gate, self.body = nn.Conv2d(channels, channels, 1), body

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return (self.body(x) if self.body else x) * torch.sigmoid(self.gate(x))


class Halves(nn.Module):
    """SC-PA without its skip, of PAN: a plain half and one with pixel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        plain, gated, after = (nn.Conv2d(half, half, 3, padding=1, bias=False) for _ in range(3))
        self.halves = nn.ModuleList()
        for body in ([plain], [PixelAttention(half, gated), after]):
            enter = nn.Conv2d(channels, half, 1, bias=False)
            self.halves.append(nn.Sequential(enter, nn.LeakyReLU(0.2, True), *body, nn.LeakyReLU(0.2, True)))
        self.leave = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        out: Tensor = self.leave(torch.cat([half(x) for half in self.halves], 1))
        return out


class PAN(nn.Module):
    """PAN: SC-PA blocks, two steps of nearest neighbours with convolutions, a bilinear skip."""

    def __init__(self, channels: int, upper: int, blocks: int) -> None:
        super().__init__()
        trunk = [Residual(Halves(channels)) for _ in range(blocks)]
        layers: list[nn.Module] = [conv3(3, channels), Residual(*trunk, conv3(channels, channels))]
        for given in (channels, upper):
            layers += [nn.Upsample(scale_factor=2), conv3(given, upper), PixelAttention(upper)]
            layers += [nn.LeakyReLU(0.2, True), conv3(upper, upper), nn.LeakyReLU(0.2, True)]
        self.body = nn.Sequential(*layers, conv3(upper, 3))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 3, 4H, 4W]."""
        out: Tensor = self.body(x) + F.interpolate(x, scale_factor=SCALE, mode="bilinear", align_corners=False)
        return out


class Cascade(nn.Module):
    """Units in a row, each with a 1x1 fusion of all that came before, of CARN."""

    def __init__(self, units: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.fuse = nn.ModuleList(nn.Conv2d((i + 2) * channels, channels, 1) for i in range(len(units)))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        given, out = [x], x
        for unit, fuse in zip(self.units, self.fuse, strict=True):
            given.append(unit(out))
            out = F.relu(fuse(torch.cat(given, 1)))
        return out


class CARNM(nn.Module):
    """CARN-M: cascades of cascades, grouped convolutions, the three units of a cascade with the same weights."""

    mean: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        body = Cascade([Cascade([self.unit(channels)] * 3, channels) for _ in range(3)], channels)
        layers: list[nn.Module] = [conv3(3, channels), body]
        for _ in range(2):
            layers += [conv3(channels, 4 * channels, groups=4), nn.ReLU(True), nn.PixelShuffle(2)]
        self.body = nn.Sequential(*layers, conv3(channels, 3))

    @staticmethod
    def unit(channels: int) -> nn.Module:
        """The efficient residual block."""
        first, second = (conv3(channels, channels, groups=4) for _ in range(2))
        pointwise = nn.Conv2d(channels, channels, 1)
        return nn.Sequential(Residual(first, nn.ReLU(True), second, nn.ReLU(True), pointwise), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 3, 4H, 4W]."""
        out: Tensor = self.body(x - self.mean) + self.mean
        return out


class Swift(nn.Module):
    """SPAB, of SPAN: features gate themselves by an odd function, without parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (conv3(channels, channels) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, C, H, W] -> two of the same: what the block gives, and the features after its first convolution."""
        early = F.silu(self.conv1(x), inplace=True)
        out = self.conv3(F.silu(self.conv2(early), inplace=True))
        return (out + x) * (torch.sigmoid(out) - 0.5), early


class SPAN(nn.Module):
    """SPAN with each of its 3x3 convolutions fused, as it is used."""

    mean: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.head, self.smooth, self.up = conv3(3, channels), conv3(channels, channels), conv3(channels, COLOURS)
        self.blocks = nn.ModuleList(Swift(channels) for _ in range(6))
        self.fuse = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 3, 4H, 4W]."""
        given = [self.head((x - self.mean) * 255)]
        for block in self.blocks:
            out, early = block(given[-1])
            given.append(out)
        fused = self.fuse(torch.cat([given[0], self.smooth(given[-1]), given[1], early], 1))
        return F.pixel_shuffle(self.up(fused), SCALE)


def imdn() -> nn.Module:
    """64 channels, 6 blocks."""
    return Trunk([Splitting(64) for _ in range(6)], 64, lrelu())


def rfdn() -> nn.Module:
    """RFDN of the paper: 48 channels, 6 blocks, IMDN's gates at a quarter: so its x2, x3 and x4 counts come out."""
    return Trunk([Distilling(48, conv3, lrelu(), Contrast(48, 12)) for _ in range(6)], 48, lrelu())


def rfdn_aim() -> nn.Module:
    """RFDN as it won AIM 2020: 50 channels, 4 blocks, ESA."""
    return Trunk([Distilling(50, conv3, lrelu(), Spatial(50, 12, conv3, nn.ReLU)) for _ in range(4)], 50, lrelu())


def rlfn(channels: int, middle: int, blocks: int) -> nn.Module:
    """RLFN: blocks (RLFB) of three convolutions with `middle` channels between them."""
    widths = ((channels, middle), (middle, middle), (middle, channels))
    made = []
    for _ in range(blocks):
        body = [layer for inputs, outputs in widths for layer in (conv3(inputs, outputs), lrelu())]
        tail = nn.Conv2d(channels, channels, 1), Spatial(channels, 16, conv3, None)
        made.append(nn.Sequential(Residual(*body), *tail))
    return Trunk(made, channels, None)


def bsrn() -> nn.Module:
    """64 channels, 8 blocks with both attentions and a skip each."""
    blocks = []
    for _ in range(8):
        attention = Spatial(64, 16, blueprint, nn.GELU), Contrast(64, 4)
        blocks.append(Residual(Distilling(64, blueprint, nn.GELU(), *attention)))
    return Trunk(blocks, 64, nn.GELU(), blueprint, copies=4)


# Read where "as reprinted" says; tables of the papers themselves are numbered as others cite them.
# RFDN: later papers print 23.9 G beside its 550 K; that is what the other one, of AIM 2020, needs (this one: 31 G).
# CARN-M: 412 K are the weights, without biases, of one network for x2, x3 and x4; with biases 121 K are upsamplers of
# x2 and x3. The challenges print FLOPs at an LR image of 256x256 (19.70 G, SPAN 9.83 G) and dB on DIV2K alone.
# fmt: off
PEERS: tuple[Peer, ...] = (
    Peer(name="CARN-M", year=2018, venue="ECCV", make=lambda: CARNM(64), parameters_k=412, elsewhere_k=120.64,
         multi_adds_g=32.5, set5=31.92, set14=28.42, b100=27.44,
         source="arXiv:1803.08664, in Table 6 of Wang et al., ACCV 2020"),
    Peer(name="IMDN", year=2019, venue="ACM MM", make=imdn, parameters_k=715,
         multi_adds_g=40.9, set5=32.21, set14=28.58, b100=27.56,
         source="arXiv:1909.11856, as reprinted for SwinIR (arXiv:2108.10257) and CFSR (arXiv:2401.05633)"),
    Peer(name="RFDN", year=2020, venue="ECCV Workshops", make=rfdn, parameters_k=550,
         set5=32.24, set14=28.61, b100=27.57, source="arXiv:2009.11551, Table 3, as reprinted for CFSR"),
    Peer(name="RFDN (AIM 2020)", year=2020, venue="ECCV Workshops", make=rfdn_aim, parameters_k=433, multi_adds_g=23.9,
         source="size: its authors' code, github.com/njulj/RFDN; Multi-Adds: printed for RFDN in arXiv:2401.05633"),
    Peer(name="PAN", year=2020, venue="ECCV Workshops", make=lambda: PAN(40, 24, 16), parameters_k=272,
         multi_adds_g=28.2, set5=32.13, set14=28.61, b100=27.59, source="arXiv:2010.01073, as reprinted for CFSR"),
    Peer(name="RLFN", year=2022, venue="CVPR Workshops", make=lambda: rlfn(52, 52, 6), parameters_k=543,
         set5=32.24, set14=28.62, b100=27.60, source="arXiv:2205.07514, Table 1"),
    Peer(name="RLFN (NTIRE 2022)", year=2022, venue="CVPR Workshops", make=lambda: rlfn(46, 48, 4), parameters_k=317,
         source="its authors' README, github.com/bytedance/RLFN; arXiv:2205.05675"),
    Peer(name="BSRN", year=2022, venue="CVPR Workshops", make=bsrn, parameters_k=352,
         multi_adds_g=19.4, set5=32.35, set14=28.73, b100=27.65, source="arXiv:2205.05996, as reprinted for LKDN"),
    Peer(name="SPAN (NTIRE 2024)", year=2024, venue="CVPR Workshops", make=lambda: SPAN(28), parameters_k=151,
         source="arXiv:2404.10343, Table 1"),
    Peer(name="SPAN-S", year=2024, venue="CVPR Workshops", make=lambda: SPAN(48), parameters_k=426, set5=32.20,
         source="arXiv:2311.12770, Table 1"),
)
# fmt: on
