"""Prepared folders are exact and complete, also after errors and kills."""

import hashlib
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from a2f.cli.main import cli
from a2f.data.index import PrepareSettings
from a2f.data.pairs import crop_to_multiple, find_images, find_lr, load_pairs
from a2f.data.prepare import Prepared, find_sources, run
from a2f.data.subimages import positions, sub_images, sub_names, unique_names
from a2f.errors import A2FError, ImageReadError, UsageError, WriteError
from a2f.files import write_bytes_atomic
from a2f.resize import imresize

SMALL = PrepareSettings(size=48, step=24, min_size=16, scales=(2, 3, 4))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def photos(root: Path, count: int = 3) -> Path:
    for number in range(count):
        path = root / ("deep" if number % 2 else "") / f"p{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(60 + number, 100, number)).save(path)
    return root


def prepared(source: Path, folder: Path, wanted: PrepareSettings = SMALL, jobs: int = 1) -> list[Prepared]:
    return list(run(find_sources(source, folder, wanted), jobs=jobs))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def files(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


# positions and names of sub-images


def test_positions_match_common_tools() -> None:
    assert positions(1000, size=480, step=240, threshold=0) == [0, 240, 480, 520]
    assert positions(1000, size=480, step=240, threshold=39) == [0, 240, 480, 520]
    assert positions(1000, size=480, step=240, threshold=40) == [0, 240, 480]
    assert positions(960, size=480, step=240, threshold=0) == [0, 240, 480]
    assert positions(400, size=480, step=240, threshold=0) == [0]
    assert positions(4000, size=0, step=240, threshold=0) == [0]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60)
def test_without_threshold_and_gaps_every_pixel_is_in_a_sub_image(h: int, w: int, size: int, step: int) -> None:
    step = min(step, size)
    seen = np.zeros((h, w, 1), np.uint8)
    parts = sub_images(seen, size=size, step=step, threshold=0)
    for part in parts:
        assert part.shape == (min(size, h), min(size, w), 1)
        part[:] = 1
    assert seen.all()
    assert len(sub_names("n", width=w, height=h, size=size, step=step, threshold=0)) == len(parts)


def test_names_of_sub_images_are_unique_and_valid() -> None:
    paths = [
        PurePosixPath(p)
        for p in ("a.png", "A.jpg", "x/a.png", "x_a.png", "b.tar.png", "b.png", "y/" + "ü" * 120 + ".png")
    ]
    names = unique_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert names[4:6] == ["b.tar", "b"]
    assert all(len(f"{name}_s001x4.png".encode()) < 255 for name in names)
    assert unique_names([PurePosixPath("2019/a.jpg")]) == ["2019_a"]
    assert unique_names(list(reversed(paths))) == list(reversed(names))  # the order does not matter


# output files


@pytest.mark.integration
def test_every_pixel_is_exact_and_recorded_in_the_index(tmp_path: Path) -> None:
    source = photos(tmp_path / "src")
    results = prepared(source, tmp_path / "dst")
    assert [(r.source, r.status) for r in results] == [("deep/p1.png", "made"), ("p0.png", "made"), ("p2.png", "made")]
    index = json.loads((tmp_path / "dst/index.json").read_text())
    listed = {output["path"]: output for image in index["images"] for output in image["outputs"]}
    on_disk = files(tmp_path / "dst")
    assert set(on_disk) == {*listed, "index.json"}
    for image in index["images"]:
        original = pixels(source / image["source"])
        assert image["sha256"] == hashlib.sha256((source / image["source"]).read_bytes()).hexdigest()
        assert (image["height"], image["width"]) == original.shape[:2]
        name = image["source"].replace("/", "_").removesuffix(".png")
        crops = sub_images(original, size=48, step=24, threshold=0)
        assert len(image["outputs"]) == 4 * len(crops)
        for number, crop in enumerate(crops, 1):
            np.testing.assert_array_equal(pixels(tmp_path / f"dst/HR/{name}_s{number:03d}.png"), crop)
            for scale in (2, 3, 4):
                path = f"LR_bicubic/X{scale}/{name}_s{number:03d}x{scale}.png"
                np.testing.assert_array_equal(pixels(tmp_path / "dst" / path), imresize(crop, scale=1 / scale))
    for path, output in listed.items():
        assert output["sha256"] == on_disk[path]
        assert (output["height"], output["width"]) == pixels(tmp_path / "dst" / path).shape[:2]


@pytest.mark.integration
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_training_reads_what_was_prepared(tmp_path: Path, scale: int) -> None:
    source = photos(tmp_path / "src")  # 61 rows: not a multiple
    prepared(source, tmp_path / "dst", PrepareSettings(size=0, min_size=16, scales=(2, 3, 4)))
    paths = find_images(tmp_path / "dst")
    assert [p.name for p in paths] == ["deep_p1.png", "p0.png", "p2.png"]
    found = find_lr(tmp_path / "dst", scale=scale)
    assert len(found) == 3
    for path, (hr, lr) in load_pairs(paths, scale=scale, lr=found, on_error=pytest.fail):
        np.testing.assert_array_equal(hr, crop_to_multiple(pixels(path), scale))
        np.testing.assert_array_equal(lr, imresize(hr, scale=1 / scale))


def test_all_formats_become_rgb(tmp_path: Path) -> None:
    source, image = tmp_path / "src", noise(40, 64)
    source.mkdir()
    Image.fromarray(image[..., 0]).save(source / "grey.png")
    Image.fromarray(np.dstack([image, image[..., :1]])).save(source / "alpha.png")
    deep = np.minimum(image[..., 0] * np.uint32(257) + 100, 65535).astype(np.uint16)
    Image.fromarray(deep).save(source / "deep.tiff")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(source / "turned.webp", lossless=True, exif=exif)
    prepared(source, tmp_path / "dst", PrepareSettings(size=0, min_size=16))
    made = {p.stem: pixels(p) for p in (tmp_path / "dst/HR").iterdir()}
    np.testing.assert_array_equal(made["grey"], image[..., :1].repeat(3, 2))
    alpha = image[..., :1] / 255
    np.testing.assert_array_equal(made["alpha"], np.floor((image / 255 * alpha + 1 - alpha) * 255 + 0.5))  # over white
    np.testing.assert_array_equal(made["deep"], image[..., :1].repeat(3, 2))
    np.testing.assert_array_equal(made["turned"], np.rot90(image, -1))


@pytest.mark.integration
def test_bad_and_small_files_do_not_stop_the_run(tmp_path: Path) -> None:
    source = photos(tmp_path / "src")
    (source / "a_empty.png").touch()
    (source / "text.jpg").write_text("no image")
    (source / "notes.txt").write_text("no image either")
    (source / ".hidden.png").write_text("not looked at")
    (source / ".thumbnails").mkdir()
    (source / ".thumbnails/p.png").write_text("not looked at")
    (source / "cut.png").write_bytes((source / "p0.png").read_bytes()[:5000])
    (source / "gone.png").symlink_to("nowhere.png")
    Image.fromarray(noise(15, 90)).save(source / "small.png")
    todo = find_sources(source, tmp_path / "dst", SMALL)
    assert todo.notes == ("skipped 1 file without an image suffix: .txt (1)",)
    results = {r.source: r for r in run(todo, jobs=1)}
    assert {name for name, r in results.items() if r.status == "failed"} == {
        "a_empty.png", "text.jpg", "cut.png", "gone.png",
    }  # fmt: skip
    assert "is truncated or damaged" in results["cut.png"].reason
    assert "--allow" not in results["cut.png"].reason
    assert "No such file" in results["gone.png"].reason
    assert results["small.png"].status == "skipped"
    assert results["small.png"].reason.endswith("small.png has 90 x 15 pixels, less than 16")
    assert len({p.name.partition("_s")[0] for p in (tmp_path / "dst/HR").iterdir()}) == 3


# second runs


@pytest.mark.integration
def test_second_run_makes_only_missing_changed_or_damaged_files(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 5), tmp_path / "dst"
    prepared(source, folder)
    whole = files(folder)
    assert {r.status for r in prepared(source, folder)} == {"kept"}
    (folder / "HR/p0_s001.png").unlink()
    damaged = folder / "LR_bicubic/X3/p2_s002x3.png"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    Image.fromarray(noise(50, 50, 99)).save(source / "p4.png")  # smaller than before
    before = {name: (folder / name).stat().st_mtime_ns for name in files(folder)}
    results = {r.source: r.status for r in prepared(source, folder)}
    assert results == {
        "deep/p1.png": "kept", "deep/p3.png": "kept", "p0.png": "made", "p2.png": "made", "p4.png": "made",
    }  # fmt: skip
    after = files(folder)
    others = {name for name in whole if "p4" not in name and name != "index.json"}
    assert {name: after[name] for name in others} == {name: whole[name] for name in others}
    rewritten = {n for n in others if n in before and (folder / n).stat().st_mtime_ns != before[n]}
    assert rewritten == {"LR_bicubic/X3/p2_s002x3.png"}
    assert len([name for name in after if name.startswith("HR/p4")]) == 4  # those of the larger p4 are gone
    assert {r.status for r in prepared(source, folder)} == {"kept"}


def test_added_scales_keep_earlier_scales_up_to_date(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 1), tmp_path / "dst"
    prepared(source, folder, PrepareSettings(size=48, step=24, min_size=16, scales=(2,)))
    hr = {n: (folder / n).stat().st_mtime_ns for n in files(folder) if n.startswith("HR")}
    later = PrepareSettings(size=48, step=24, min_size=16, scales=(4,))
    prepared(source, folder, later)
    assert {n: (folder / n).stat().st_mtime_ns for n in hr} == hr
    assert sorted(p.name for p in (folder / "LR_bicubic").iterdir()) == ["X2", "X4"]
    (folder / "LR_bicubic/X2/p0_s001x2.png").unlink()
    todo = find_sources(source, folder, later)
    assert todo.notes == (f"{folder} has LR images of scale 2 too: they are updated",)
    assert [r.status for r in run(todo, jobs=1)] == ["made"]
    assert (folder / "LR_bicubic/X2/p0_s001x2.png").exists()


@pytest.mark.integration
def test_outputs_of_removed_sources_stay_until_their_names_are_reused(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 3), tmp_path / "dst"
    prepared(source, folder)
    (source / "p0.png").rename(tmp_path / "away.png")
    (source / "deep/p1.png").unlink()
    Image.fromarray(noise(48, 48, 7)).save(source / "p0.webp", lossless=True)
    todo = find_sources(source, folder, SMALL)
    assert todo.notes == (f"no longer in {source}: 2 images of the index; the outputs are kept",)
    list(run(todo, jobs=1))
    images = {i["source"]: i for i in json.loads((folder / "index.json").read_text())["images"]}
    assert {o["path"] for o in images["p0.webp"]["outputs"]} >= {"HR/p0_s001.png"}
    assert "HR/p0_s001.png" not in {o["path"] for o in images["p0.png"]["outputs"]}
    on_disk = files(folder)
    for image in images.values():
        for output in image["outputs"]:
            assert output["sha256"] == on_disk[output["path"]]


def test_source_that_becomes_damaged_keeps_its_outputs(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 2), tmp_path / "dst"
    prepared(source, folder)
    before = files(folder)
    (source / "p0.png").write_bytes(b"broken")
    assert [r.status for r in prepared(source, folder)] == ["kept", "failed"]
    assert files(folder) == before


@pytest.mark.integration
def test_truncated_journal_is_continued(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 4), tmp_path / "dst"
    running: Any = run(find_sources(source, folder, SMALL), jobs=1)
    next(running)
    next(running)
    running.close()  # as an interruption does
    assert not (folder / "index.json").exists()
    with (folder / ".index.jsonl").open("a") as journal:
        journal.write('{"source": "p2.png", "sha2')
    (folder / "HR/.p9.png.xyz.tmp").write_text("half")
    assert [r.status for r in prepared(source, folder)] == ["kept", "kept", "made", "made"]
    assert not (folder / ".index.jsonl").exists()
    prepared(source, tmp_path / "other")
    assert files(folder) == files(tmp_path / "other")


KILLED = """
import multiprocessing, os, signal, sys
from a2f.cli.main import main
from a2f.data.index import Index
left, add = int(sys.argv.pop(1)), Index.add
def added(index, entry):
    global left
    left -= 1
    if left == 0:
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    add(index, entry)
Index.add = added
main()
"""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_kill_at_any_time_leaves_complete_files_and_a_rerun_finishes(tmp_path: Path) -> None:
    """Kill before the first image is in the index, and before the third image of a second run."""
    source, folder = photos(tmp_path / "src", 8), tmp_path / "dst"
    words = ["data", "prepare", str(source), str(folder), "--size=32", "--step=16", "--min-size=16", "--lr=2"]
    for number in (1, 3):
        command = [sys.executable, "-c", KILLED, str(number), *words, "--jobs=2"]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        assert process.returncode == -signal.SIGKILL
        workers = process.stdout.split()
        assert len(workers) == 2
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{pid}").exists() for pid in workers):  # they end with their parent
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not (folder / "index.json").exists()
        made = list(folder.rglob("*.png"))
        assert made
        for path in made:
            assert pixels(path).shape in ((32, 32, 3), (16, 16, 3))
    done = CliRunner().invoke(cli, [*words, "--jobs=1"])
    assert done.exit_code == 0, done.output
    assert "2 kept from an earlier run" in done.stderr
    prepared(source, tmp_path / "other", PrepareSettings(size=32, step=16, min_size=16, scales=(2,)))
    assert files(folder) == files(tmp_path / "other")


@pytest.mark.integration
def test_several_processes_give_equal_results_in_order(tmp_path: Path) -> None:
    source = photos(tmp_path / "src", 5)
    one, several = prepared(source, tmp_path / "one"), prepared(source, tmp_path / "several", jobs=2)
    assert one == several
    assert files(tmp_path / "one") == files(tmp_path / "several")


@pytest.mark.integration
def test_killed_worker_ends_the_run_and_a_rerun_resumes(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 12), tmp_path / "dst"
    running = run(find_sources(source, folder, SMALL), jobs=2)
    assert next(running).status == "made"
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(A2FError, match=r"a process was killed.*lower --jobs"):
        list(running)
    statuses = [r.status for r in prepared(source, folder)]
    assert statuses[0] == "kept"
    assert set(statuses) == {"kept", "made"}


# errors


def test_impossible_requests(tmp_path: Path) -> None:
    source = photos(tmp_path / "src", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "mine/HR").mkdir(parents=True)
    (tmp_path / "mine/HR/a.png").touch()
    (tmp_path / "link").symlink_to(source)
    photos(tmp_path / "out/HR", 1)
    cases: list[tuple[Path, Path, type[A2FError], str]] = [
        (tmp_path / "none", tmp_path / "d", ImageReadError, "there is no folder"),
        (tmp_path / "file", tmp_path / "d", ImageReadError, "is not a folder"),
        (tmp_path / "empty", tmp_path / "d", ImageReadError, "holds no images"),
        (source, source, UsageError, "outputs would become inputs"),
        (source, source / "deep/out", UsageError, "outputs would become inputs"),
        (source, tmp_path / "link/out", UsageError, "outputs would become inputs"),
        (tmp_path / "out/HR", tmp_path / "out", UsageError, "is a folder of the outputs"),
        (source, tmp_path / "file", UsageError, "is a file"),
        (source, tmp_path / "mine", UsageError, "did not make"),
    ]
    for given_source, folder, error, message in cases:
        with pytest.raises(error, match=message):
            find_sources(given_source, folder, SMALL)
    assert not (tmp_path / "d").exists()


def test_other_sizes_or_another_source_are_refused(tmp_path: Path) -> None:
    source, folder = photos(tmp_path / "src", 1), tmp_path / "dst"
    prepared(source, folder)
    with pytest.raises(UsageError, match="prepared with --step 24, not 25"):
        find_sources(source, folder, PrepareSettings(size=48, step=25, min_size=16))
    with pytest.raises(UsageError, match="prepared with --min-size 16, not 17"):
        find_sources(source, folder, PrepareSettings(size=48, step=24, min_size=17))
    with pytest.raises(UsageError, match=r"was prepared from .*src, not from .*other"):
        find_sources(photos(tmp_path / "other", 1), folder, SMALL)
    (folder / "index.json").write_text('{"images": 3}')
    with pytest.raises(ImageReadError, match="no index of a2f data prepare"):
        find_sources(source, folder, SMALL)
    for bad in ({"size": -1}, {"step": 0}, {"scales": (5,)}, {"size": 3, "scales": (4,)}):
        with pytest.raises(UsageError):
            PrepareSettings(**bad)


@pytest.mark.integration
def test_full_disk_ends_the_run_and_a_rerun_resumes(tmp_path: Path, monkeypatch) -> None:
    source, folder = photos(tmp_path / "src", 3), tmp_path / "dst"
    import a2f.data.prepare as module

    written = []

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 40:
            raise WriteError(f"cannot write {path}: No space left on device")
        write(path, data)

    write = write_bytes_atomic
    monkeypatch.setattr(module, "write_bytes_atomic", full)
    with pytest.raises(WriteError, match="No space left"):
        prepared(source, folder)
    assert [r.status for r in prepared(source, folder)] == ["kept", "made", "made"]
