"""Networks of other papers for comparison: those of Tables 4 to 6 of the A²F paper, and some recent ones.

Each is written from its paper in its own file, which names the paper, and maps [N, 3, H, W] RGB in [0, 1] to [N, 3, sH,
sW]. torch is imported when a network is built. MoreMNAS-A of Table 6 is not included, because its paper shows the
structure only in a figure.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from a2f.errors import MissingExtraError, UsageError
from a2f.variants import unknown_network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A network of another paper.

    Attributes:
        title: name in the tables of papers, e.g. "CARN-M".
        year: year of the paper.
        file: module of this package.
        builder: function in the module, scale -> network.
        scales: scales for which the network exists.
        luma: whether the network enlarges only the luma; the colour is then enlarged by bicubic.
    """

    title: str
    year: int
    file: str
    builder: str
    scales: tuple[int, ...] = (2, 3, 4)
    luma: bool = False


PEERS: dict[str, Peer] = {
    "srcnn": Peer(title="SRCNN", year=2014, file="srcnn", builder="srcnn", luma=True),
    "fsrcnn": Peer(title="FSRCNN", year=2016, file="fsrcnn", builder="fsrcnn", luma=True),
    "fsrcnn-shuffle": Peer(title="FSRCNN (shuffle)", year=2016, file="fsrcnn", builder="fsrcnn_shuffle", luma=True),
    "vdsr": Peer(title="VDSR", year=2016, file="vdsr", builder="vdsr", luma=True),
    "drcn": Peer(title="DRCN", year=2016, file="drcn", builder="drcn", luma=True),
    "drrn": Peer(title="DRRN", year=2017, file="drrn", builder="drrn", luma=True),
    "lapsrn": Peer(title="LapSRN", year=2017, file="lapsrn", builder="lapsrn", scales=(2, 4), luma=True),
    "memnet": Peer(title="MemNet", year=2017, file="memnet", builder="memnet", luma=True),
    "srdensenet": Peer(
        title="SRDenseNet", year=2017, file="srdensenet", builder="srdensenet", scales=(2, 4), luma=True
    ),
    "selnet": Peer(title="SelNet", year=2017, file="selnet", builder="selnet"),
    "edsr": Peer(title="EDSR", year=2017, file="edsr", builder="edsr"),
    "idn": Peer(title="IDN", year=2018, file="idn", builder="idn", luma=True),
    "carn": Peer(title="CARN", year=2018, file="carn", builder="carn"),
    "carn-m": Peer(title="CARN-M", year=2018, file="carn", builder="carn_m"),
    "srmdnf": Peer(title="SRMDNF", year=2018, file="srmd", builder="srmdnf"),
    "msrn": Peer(title="MSRN", year=2018, file="msrn", builder="msrn"),
    "rcan": Peer(title="RCAN", year=2018, file="rcan", builder="rcan"),
    "d-dbpn": Peer(title="D-DBPN", year=2018, file="dbpn", builder="ddbpn", scales=(2, 4)),
    "wdsr-a": Peer(title="WDSR-A", year=2018, file="wdsr", builder="wdsr_a"),
    "srfbn": Peer(title="SRFBN", year=2019, file="srfbn", builder="srfbn"),
    "srfbn-s": Peer(title="SRFBN-S", year=2019, file="srfbn", builder="srfbn_s"),
    "falsr-a": Peer(title="FALSR-A", year=2019, file="falsr", builder="falsr_a", scales=(2,), luma=True),
    "falsr-b": Peer(title="FALSR-B", year=2019, file="falsr", builder="falsr_b", scales=(2,), luma=True),
    "falsr-c": Peer(title="FALSR-C", year=2019, file="falsr", builder="falsr_c", scales=(2,), luma=True),
    "awsrn": Peer(title="AWSRN", year=2019, file="awsrn", builder="awsrn"),
    "awsrn-m": Peer(title="AWSRN-M", year=2019, file="awsrn", builder="awsrn_m"),
    "awsrn-s": Peer(title="AWSRN-S", year=2019, file="awsrn", builder="awsrn_s"),
    "awsrn-sd": Peer(title="AWSRN-SD", year=2019, file="awsrn", builder="awsrn_sd"),
    "imdn": Peer(title="IMDN", year=2019, file="imdn", builder="imdn"),
    "rfdn": Peer(title="RFDN", year=2020, file="rfdn", builder="rfdn"),
    "rfdn-aim": Peer(title="RFDN (AIM 2020)", year=2020, file="rfdn", builder="rfdn_aim"),
    "pan": Peer(title="PAN", year=2020, file="pan", builder="pan"),
    "rlfn": Peer(title="RLFN", year=2022, file="rlfn", builder="rlfn"),
    "rlfn-ntire": Peer(title="RLFN (NTIRE 2022)", year=2022, file="rlfn", builder="rlfn_ntire"),
    "bsrn": Peer(title="BSRN", year=2022, file="bsrn", builder="bsrn"),
    "safmn": Peer(title="SAFMN", year=2023, file="safmn", builder="safmn"),
    "span": Peer(title="SPAN", year=2024, file="span", builder="span"),
    "span-s": Peer(title="SPAN-S", year=2024, file="span", builder="span_s"),
    "span-ntire": Peer(title="SPAN (NTIRE 2024)", year=2024, file="span", builder="span_ntire"),
}


def build_peer(name: str, *, scale: int) -> "nn.Module":
    """Build a network with random weights, in training mode.

    Args:
        name: a key of `PEERS`.
        scale: one of its scales.

    Returns:
        [N, 3, H, W] RGB in [0, 1] -> [N, 3, sH, sW], not clipped.

    Raises:
        UnknownModelError: for another name.
        UsageError: for another scale.
        MissingExtraError: if torch is not installed.
    """
    if name not in PEERS:
        raise unknown_network(name, PEERS)
    peer = PEERS[name]
    if scale not in peer.scales:
        has = ", ".join(f"x{s}" for s in peer.scales)
        raise UsageError(f"{name} has no x{scale}: choose {has}")
    try:
        module = import_module(f"a2f.peers.{peer.file}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"{name} needs torch: pip install 'a2f[train]'") from error
    network: nn.Module = getattr(module, peer.builder)(scale)
    return network
