"""From picture to file: the decisions before a network runs, and the written files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from a2f.errors import Cancelled, LossyFormatError, OutputExistsError, UnknownModelError, UsageError, WriteError
from a2f.imageio import read_image
from a2f.pipeline import Encoding, Request, decide, output_name, write
from a2f.sizes import Target
from a2f.upscaler import Control, Upscaler
from a2f.upscalers import Models


class Nearest:
    """Repeats pixels, and counts its calls."""

    description = "nearest"

    def __init__(self, scale: int) -> None:
        self.scale, self.runs = scale, 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.runs += 1
        return image.repeat(self.scale, 0).repeat(self.scale, 1)


def nearest(*scales: int) -> Models:
    """A fast substitute for the network of each scale."""
    opened: dict[int, Upscaler] = {scale: Nearest(scale) for scale in scales}
    return Models(model="nearest", scales=scales, open=lambda model, scale: opened[scale])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def runs(one: Any) -> int:
    """The number of calls of the upscaler of a pass."""
    count: int = one.upscaler.runs
    return count


def test_decide_writes_no_file_and_runs_no_network(photo: Path) -> None:
    models, request = nearest(2, 3, 4), Request(target=Target(width=50))
    decided = decide(photo, models, request, output=photo.with_name("b.jpg"))
    assert (decided.format, decided.size, decided.final) == ("jpeg", (50, 39), (50, 39))
    assert [one.upscaler.scale for one in decided.passes] == [2, 3]
    assert [runs(one) for one in decided.passes] == [0, 0]
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]
    assert write(decided) == (b"", [])
    assert [runs(one) for one in decided.passes] == [1, 1]
    assert read_image(photo.with_name("b.jpg")).size == (50, 39)


def test_write_without_output_returns_bytes(photo: Path) -> None:
    decided = decide(photo.read_bytes(), nearest(2), Request(target=Target(scale=2), encoding=Encoding(format="webp")))
    made, _ = write(decided)
    assert (read_image(made).format, read_image(made).size) == ("webp", (18, 14))
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_folders_are_made_only_when_a_file_is_written(photo: Path) -> None:
    output, models = photo.parent / "new" / "b.png", nearest(2)
    request = Request(target=Target(scale=2), make_folders=True)
    with pytest.raises(WriteError, match="there is no folder"):
        decide(photo, models, Request(target=Target(scale=2)), output=output)
    decided = decide(photo, models, request, output=output)

    with pytest.raises(Cancelled):
        write(decided, control=Control(cancelled=lambda: True))
    assert not output.parent.exists()
    write(decided)
    assert output.exists()


def test_impossible_outputs(photo: Path, tmp_path: Path) -> None:
    models, request = nearest(2), Request(target=Target(scale=2), overwrite=True)
    (tmp_path / "taken.png").write_bytes(b"x")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "link.png").symlink_to(photo)
    for name, message in ((".", "is a folder"), ("photo.png", "input itself"), ("link.png", "input itself")):
        with pytest.raises(WriteError, match=message):
            decide(photo, models, request, output=tmp_path / name)
    for name in ("taken.png", "dangling.png"):
        with pytest.raises(OutputExistsError, match="exists"):
            decide(photo, models, Request(target=Target(scale=2)), output=tmp_path / name)


def test_a_lossy_format_is_refused_before_a_network_is_opened(photo: Path) -> None:
    Image.new("RGBA", (4, 4)).save(photo)

    def unknown(model: str, scale: int) -> Upscaler:
        raise UnknownModelError(f"unknown model {model!r}")

    models = Models(model="none", scales=(2,), open=unknown)
    with pytest.raises(LossyFormatError, match="transparency"):
        decide(photo, models, Request(target=Target(scale=2)), output=photo.with_name("b.jpg"))


@pytest.mark.parametrize(
    ("saved", "name", "format", "expected"),
    [
        ("PNG", "a.png", None, "a_x2.png"),
        ("JPEG", "a.JPEG", None, "a_x2.JPEG"),
        ("JPEG", "a.png", None, "a_x2.jpg"),
        ("WEBP", "photo.jpg", None, "photo_x2.webp"),
        ("TIFF", "scan", None, "scan_x2.tif"),
        ("PNG", "a.png", "jpeg", "a_x2.jpg"),
        (None, "none.tiff", None, "none_x2.tiff"),
        (None, "none", None, "none_x2.png"),
    ],
)
def test_output_names(tmp_path: Path, saved: str | None, name: str, format: str | None, expected: str) -> None:
    if saved is not None:
        Image.new("RGB", (4, 4)).save(tmp_path / name, saved)
    assert output_name(tmp_path / name, mark="_x2", format=format) == expected


@pytest.mark.parametrize("given", [{"quality": 0}, {"quality": 101}, {"format": "xyz"}])
def test_impossible_encodings(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"choose (one of|from 1 to 100)"):
        Encoding(**given)


@pytest.mark.parametrize(
    ("given", "mark"),
    [({"scale": 2}, "_x2"), ({"width": 50}, "_w50"), ({"height": 5}, "_h5"), ({"max_side": 9}, "_max9"),
     ({"size": (3, 4)}, "_3x4")],
)  # fmt: skip
def test_size_suffixes_in_file_names(given: dict[str, Any], mark: str) -> None:
    assert Target(**given).mark == mark


@pytest.mark.parametrize("given", [{"width": 0}, {"size": (0, 4)}, {"width": 4, "height": 4}])
def test_impossible_sizes(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"at least 1 pixel|choose one of"):
        Target(**given)
