"""The counting rules behind printed figures of other networks: Tables 4 and 6, and the original papers.

Multi-Adds are for an output of 1280x720. At x3 the papers use an LR image of 102,400 pixels, a ninth of the output. The
counts here use 320x320, which has the same area.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from torch import nn

from a2f.evaluation.published import table_6
from a2f.peers import PEERS, build_peer
from a2f.profiling.counted import Counted, count, parameters_of

LR_SIZES = {2: (640, 360), 3: (320, 320), 4: (320, 180)}  # width, height
RGB_TAIL = 3 * 64 * 9  # weights of a 3x3 convolution of 64 channels to RGB


@dataclass(frozen=True, kw_only=True)
class Printed:
    """The figures that a table or a paper prints for a network at one scale.

    Attributes:
        parameters_k: thousands; None if not printed.
        multi_adds_g: 10^9; None if not printed.
        source: where it is printed.
    """

    parameters_k: float | None
    multi_adds_g: float | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Convention:
    """The counting rule behind the printed figures of one network.

    Attributes:
        parameters: counts the parameters of a network at a scale.
        multi_adds: counts the Multi-Adds of a network at a scale.
        told: the rule in words, for the page.
        cut: whether some printed figures are truncated instead of rounded.
        parameters_off: largest unexplained difference of the printed parameters, as a fraction.
        multi_adds_off: largest unexplained difference of the printed Multi-Adds, as a fraction.
    """

    parameters: Callable[[nn.Module, int], int]
    multi_adds: Callable[[nn.Module, int], float]
    told: str
    cut: bool = False
    parameters_off: float = 0.0
    multi_adds_off: float = 0.0


@cache
def built(name: str, scale: int) -> nn.Module:
    """Build a peer once."""
    return build_peer(name, scale=scale)


def counted(name: str, scale: int) -> Counted:
    """The cost of a peer for an output of 1280x720."""
    return _count(built(name, scale), scale)


@cache
def _count(network: nn.Module, scale: int) -> Counted:
    width, height = LR_SIZES[scale]
    return count(network, width=width, height=height)


def every(network: nn.Module, scale: int) -> int:
    """Count the parameters with biases."""
    return parameters_of(network)[0]


def weights(network: nn.Module, scale: int) -> int:
    """Count the parameters without biases, gains and factors."""
    return parameters_of(network)[1]


def convolutions(network: nn.Module, scale: int) -> float:
    """Count the Multi-Adds of the convolutions."""
    return _count(network, scale).multi_adds


def at_outputs(network: nn.Module, scale: int) -> float:
    """Count the Multi-Adds, with transposed convolutions counted at each pixel of their outputs."""
    found = _count(network, scale)
    return found.multi_adds + found.at_outputs


def as_table6(network: nn.Module, scale: int) -> float:
    """Count the Multi-Adds, plus one for each bias, ReLU and pooled value."""
    return _count(network, scale).as_table6


def _carn(network: nn.Module, scale: int) -> int:
    """Count the parameters with biases and with the upsamplers of the two other scales."""
    up = {2: 64 * 64 * 36 + 256, 3: 64 * 64 * 81 + 576, 4: 2 * (64 * 64 * 36 + 256)}
    return parameters_of(network)[0] + sum(n for s, n in up.items() if s != scale)


def _carn_m(network: nn.Module, scale: int) -> int:
    """Count the weights, with the upsamplers of the two other scales."""
    up = {2: 64 * 16 * 36, 3: 64 * 16 * 81, 4: 2 * 64 * 16 * 36}
    return parameters_of(network)[1] + sum(n for s, n in up.items() if s != scale)


def _lapsrn(network: nn.Module, scale: int) -> int:
    return parameters_of(built("lapsrn", 4))[1]


def _lapsrn_multi_adds(network: nn.Module, scale: int) -> float:
    return at_outputs(network, scale) / (4 if scale == 2 else 1)


def _srdensenet(network: nn.Module, scale: int) -> float:
    """Count transposed convolutions twice for each input pixel, which is half of all taps at each output pixel."""
    cost = counted("srdensenet", scale)
    return cost.multi_adds + cost.at_outputs / 3


def _memnet(network: nn.Module, scale: int) -> float:
    """Count one of the six reconstructions and the six weights of their sum, all at 1280x720."""
    return _count(network, scale).multi_adds + (6 - 5 * 64 * 9) * 1280 * 720


def _msrn(network: nn.Module, scale: int) -> float:
    """Count all weights at each pixel of the LR image."""
    width, height = LR_SIZES[scale]
    return parameters_of(network)[1] * width * height


def _at_x4(name: str) -> Callable[[nn.Module, int], int]:
    return lambda network, scale: parameters_of(built(name, 4))[0]


def _imdn(network: nn.Module, scale: int) -> float:
    """Count with an LR image of 427x240 at x3."""
    return _count(network, scale).multi_adds * (427 * 240 / 102_400 if scale == 3 else 1)


def _safmn(network: nn.Module, scale: int) -> float:
    """Count with an LR image of 426x240 at x3."""
    return _count(network, scale).as_table6 * (426 * 240 / 102_400 if scale == 3 else 1)


def _falsr_c(network: nn.Module, scale: int) -> int:
    return parameters_of(network)[0] - 64 * 32 * 9


def _falsr_c_multi_adds(network: nn.Module, scale: int) -> float:
    width, height = LR_SIZES[scale]
    return _count(network, scale).multi_adds - 64 * 32 * 9 * width * height


PLAIN = "with biases; convolutions"
UNBIASED = "weights without biases; convolutions"
AT_HR = "weights without biases; convolutions, all at the size of the enlargement"
TABLE_6 = "with biases; one more for each bias, ReLU and pooled value"
AWSRN = "with the gains of weight normalisation; convolutions"


def _convention(
    parameters: Callable[[nn.Module, int], int],
    multi_adds: Callable[[nn.Module, int], float],
    told: str,
    *,
    cut: bool = False,
    parameters_off: float = 0.0,
    multi_adds_off: float = 0.0,
) -> Convention:
    return Convention(
        parameters=parameters,
        multi_adds=multi_adds,
        told=told,
        cut=cut,
        parameters_off=parameters_off,
        multi_adds_off=multi_adds_off,
    )


CONVENTIONS: dict[str, Convention] = {
    "srcnn": _convention(weights, convolutions, AT_HR),
    "fsrcnn": _convention(
        weights, at_outputs, "weights without biases; the transposed convolution with all taps at each output pixel"
    ),
    "vdsr": _convention(weights, convolutions, AT_HR),
    "drcn": _convention(weights, convolutions, AT_HR + ", the reconstruction 16 times"),
    "drrn": _convention(weights, convolutions, AT_HR),
    "lapsrn": _convention(
        _lapsrn,
        _lapsrn_multi_adds,
        "weights of x4 at both scales; transposed convolutions with all taps at each output pixel; "
        "the Multi-Adds of x2 are those of 640x360",
    ),
    "memnet": _convention(
        weights, _memnet, "weights of the convolutions; one of six reconstructions and the weights of their sum"
    ),
    "srdensenet": _convention(
        weights,
        _srdensenet,
        "weights without biases; transposed convolutions twice for each input pixel; not met, see its file",
        parameters_off=0.07,
        multi_adds_off=0.02,
    ),
    "selnet": _convention(weights, convolutions, UNBIASED),
    "edsr": _convention(every, as_table6, TABLE_6),
    "idn": _convention(every, convolutions, "with biases, cut", cut=True),
    "carn": _convention(_carn, convolutions, "with biases and the upsamplers of all three scales; convolutions"),
    "carn-m": _convention(
        _carn_m, convolutions, "weights without biases, with the upsamplers of all three scales; convolutions"
    ),
    "srmdnf": _convention(every, convolutions, "with biases and batch normalisation; convolutions"),
    "msrn": _convention(every, _msrn, "with biases, cut; all weights at each LR pixel, cut", cut=True),
    "rcan": _convention(every, as_table6, TABLE_6),
    "d-dbpn": _convention(every, as_table6, TABLE_6 + "; 0.2 % unexplained", multi_adds_off=0.002),
    "wdsr-a": _convention(every, as_table6, TABLE_6 + "; the paper's baseline has a smaller shortcut"),
    "srfbn": _convention(every, as_table6, TABLE_6 + "; 0.2 % unexplained", multi_adds_off=0.002),
    "srfbn-s": _convention(
        _at_x4("srfbn-s"),
        as_table6,
        "those of x4 at all scales; 0.4 % of the Multi-Adds unexplained",
        multi_adds_off=0.004,
    ),
    "falsr-a": _convention(every, convolutions, PLAIN + "; 0.2 % unexplained", multi_adds_off=0.002),
    "falsr-b": _convention(
        every, convolutions, PLAIN + "; 0.4 % unexplained", parameters_off=0.004, multi_adds_off=0.004
    ),
    "falsr-c": _convention(_falsr_c, _falsr_c_multi_adds, PLAIN + ", less 64 channels that the released graph has"),
    "awsrn": _convention(every, convolutions, AWSRN),
    "awsrn-m": _convention(every, convolutions, AWSRN + "; cut", cut=True),
    "awsrn-s": _convention(every, convolutions, AWSRN + "; 37.7 G at x4 is a misprint of 33.7 G"),
    "awsrn-sd": _convention(every, convolutions, AWSRN),
    "imdn": _convention(every, _imdn, PLAIN + ", x3 at 427x240"),
    "rfdn": _convention(every, convolutions, PLAIN),
    "rfdn-aim": _convention(every, as_table6, TABLE_6),
    "pan": _convention(every, convolutions, PLAIN),
    "rlfn": _convention(every, convolutions, PLAIN + "; cut", cut=True),
    "bsrn": _convention(every, as_table6, TABLE_6, multi_adds_off=0.005),
    "safmn": _convention(every, _safmn, "with biases; convolutions and biases, x3 at 426x240"),
    "span": _convention(every, convolutions, PLAIN),
    "span-s": _convention(every, convolutions, PLAIN + "; cut", cut=True),
    "span-ntire": _convention(every, convolutions, PLAIN),
    "rlfn-ntire": _convention(every, convolutions, PLAIN),
}

TABLE_4 = {"rcan": (15590, 919.9), "edsr": (43090, 2896.3), "d-dbpn": (10430, 685.7), "srfbn": (3631, 1128.7)}
OWN: dict[str, dict[int, tuple[float, float | None]]] = {  # figures of the original papers
    "imdn": {2: (694, 158.8), 3: (703, 71.5), 4: (715, 40.9)},
    "rfdn": {2: (534, None), 3: (541, None), 4: (550, None)},
    "rfdn-aim": {4: (433, 23.9)},
    "pan": {2: (261, 70.5), 3: (261, 39.0), 4: (272, 28.2)},
    "rlfn": {2: (527, 115.4), 4: (543, 29.8)},
    "rlfn-ntire": {4: (317, None)},
    "bsrn": {2: (332, 73.0), 3: (340, 33.3), 4: (352, 19.4)},
    "safmn": {2: (228, 52), 3: (233, 23), 4: (240, 14)},
    "span": {2: (481, None), 4: (498, None)},
    "span-s": {2: (410, None), 4: (426, None)},
    "span-ntire": {4: (151, None)},
}


def printed(name: str, scale: int) -> Printed | None:
    """The printed figures of a network; None if there are none."""
    title = PEERS[name].title
    for row in table_6():
        if (row.method, row.scale) == (title, scale):
            return Printed(parameters_k=row.parameters_k, multi_adds_g=row.multi_adds_g, source="Table 6")
    if name == "wdsr-a" and scale == 2:
        return Printed(parameters_k=1190, multi_adds_g=None, source="Table 2 (BASELINE)")
    if name in TABLE_4 and scale == 4:
        return Printed(parameters_k=TABLE_4[name][0], multi_adds_g=TABLE_4[name][1], source="Table 4")
    if scale in OWN.get(name, {}):
        return Printed(parameters_k=OWN[name][scale][0], multi_adds_g=OWN[name][scale][1], source="its paper")
    return None


def agrees(value: float, figure: float, *, cut: bool, off: float) -> bool:
    """Whether a count equals the printed figure to the last digit, or differs by at most the fraction `off`."""
    text = f"{figure:g}"
    digits = len(text.partition(".")[2])
    if off:
        return abs(value / figure - 1) <= off
    if figure >= 10_000 and figure % 10 == 0:  # Table 4 prints four digits
        return round(value, -1) == figure
    return round(value, digits) == figure or (cut and math.floor(value * 10**digits) == round(figure * 10**digits))
