"""Output sizes that chroma allows, and inputs that are not videos; without the program FFmpeg."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.video.clips import Nearest, enlarged, planned

from a2f.errors import ImageReadError, UsageError, WriteError
from a2f.sizes import Target
from a2f.video.source import Source

av = pytest.importorskip("av")


def frames_of(path: Path, size: tuple[int, int], format: str) -> Path:
    """Two frames of FFV1, without the program FFmpeg."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=size[0], height=size[1], pix_fmt=format)
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame.reformat(format=format)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("format", "target", "message"),
    [
        ("yuv420p", Target(height=101), "height 101: 4:2:0 video needs an even height: choose 100 or 102"),
        ("yuv420p", Target(width=41), "width 41: 4:2:0 video needs an even width: choose 40 or 42"),
        ("yuv420p", Target(size=(40, 41)), "height 41: 4:2:0 video needs an even height: choose 40 or 42"),
        ("yuv420p", Target(max_side=1), "width 1: 4:2:0 video needs an even width: choose 2"),
        ("yuv411p", Target(width=42), "width 42: 4:1:1 video needs a multiple of 4 as width: choose 40 or 44"),
    ],
)
def test_a_side_that_chroma_does_not_allow_is_an_error(
    format: str, target: Target, message: str, tmp_path: Path
) -> None:
    given = frames_of(tmp_path / "a.mkv", (32, 24), format)
    with Source(given) as source, pytest.raises(UsageError) as refused:
        planned(source, tmp_path / "b.mkv", Nearest(), target=target, codec="ffv1")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("format", "given", "target", "size", "note"),
    [
        ("yuv444p", (32, 24), Target(height=101), (135, 101), None),
        ("yuv422p", (32, 24), Target(height=101), (136, 101), "136 x 101, not 135 x 101: 4:2:2 video needs even sides"),
        ("yuv420p", (32, 24), Target(height=102), (136, 102), None),
        ("yuv420p", (32, 24), Target(height=100), (134, 100), "134 x 100, not 133 x 100: 4:2:0 video needs even sides"),
        ("yuv420p", (31, 23), Target(scale=3), (94, 70), "94 x 70, not 93 x 69: 4:2:0 video needs even sides"),
        ("gray", (31, 23), Target(scale=3), (93, 69), None),
    ],
)
def test_other_sides_are_rounded_up_with_a_note(
    format: str, given: tuple[int, int], target: Target, size: tuple[int, int], note: str | None, tmp_path: Path
) -> None:
    path = frames_of(tmp_path / "a.mkv", given, format)
    with Source(path) as source:
        plan = planned(source, tmp_path / "b.mkv", Nearest(3), target=target, codec="ffv1")
    assert (plan.size, plan.notes) == (size, () if note is None else (f"the result is {note}",))
    done = enlarged(path, tmp_path / "b.mkv", Nearest(3), target=target, codec="ffv1")
    with av.open(str(tmp_path / "b.mkv")) as made:
        assert (done.done, made.streams.video[0].width, made.streams.video[0].height) == (2, *size)


@pytest.mark.parametrize(
    ("name", "format"), [("a.png", "png"), ("a.jpg", "jpeg"), ("a.webp", "webp"), ("a.avif", "avif"), ("a.mp4", "png")]
)
def test_picture_is_not_a_video(name: str, format: str, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name, format)
    with pytest.raises(ImageReadError, match=rf"{name} is a picture \({format}\), not a video: enlarge it with a2f"):
        Source(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.mp4"])
def test_text_file_error_gives_no_useless_hint(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("no video at all " * 40)
    with pytest.raises(ImageReadError, match=r"no frame that can be decoded|not a video that can be") as refused:
        Source(tmp_path / name)
    assert refused.value.hints == ()


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (0, 90)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Source(tmp_path / "a.gif") as source:
        assert source.clip.size == (16, 16)


@pytest.mark.parametrize("suffix", [".mkv", ".y4m"])
def test_output_folder_is_made(suffix: str, tmp_path: Path) -> None:
    given, output = frames_of(tmp_path / "a.mkv", (32, 24), "yuv420p"), tmp_path / f"new/deep/b{suffix}"
    assert enlarged(given, output, Nearest()).done == 2
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    (tmp_path / "file").touch()
    with pytest.raises(WriteError):
        enlarged(given, tmp_path / f"file/b{suffix}", Nearest())
