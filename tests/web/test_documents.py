"""What docs/serve.md says is what happens."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from a2f.errors import Loss
from a2f.web.options import parameters
from a2f.web.problems import KINDS
from a2f.weights import robust_below

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]


@pytest.mark.integration
@pytest.mark.parametrize("language", ["python", "sh", "js"])
def test_clients_in_the_page_work(server, picture, tmp_path: Path, language: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture(90, 60, format="JPEG"))
    code = block(language, 1 if language == "sh" else 0).replace("http://127.0.0.1:8000", server.address)
    programs = {"python": [sys.executable], "sh": ["bash", "-e"], "js": ["node"]}
    program = programs[language]
    if shutil.which("curl" if language == "sh" else program[0]) is None:
        pytest.skip(f"no {program[0]} here")
    file = tmp_path / {"python": "client.py", "sh": "client.sh", "js": "client.mjs"}[language]
    file.write_text(code)
    done = subprocess.run([*program, file.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "large.jpg") as image:
        assert image.size == (180, 120)
    if language == "sh":
        with Image.open(tmp_path / "photo_1000x667.png") as image:
            assert image.size == (1000, 667)


@pytest.mark.integration
def test_python_client_reports_errors(server) -> None:
    names: dict[str, Any] = {}
    code = block("python").rpartition("\n\n\n")[0].replace("http://127.0.0.1:8000", server.address)
    exec(compile(code, "serve.md", "exec"), names)
    with pytest.raises(ValueError, match="not an image of a known format"):
        names["upscale"](b"no picture")


def test_the_clients_are_short() -> None:
    for language in ("python", "js"):
        body = re.search(r"\n(async function|def) .*?\n(?=\n|\Z)(?!    )", block(language), re.DOTALL)
        assert body is not None
        assert len(body[0].strip().splitlines()) <= 10


def test_page_lists_all_problems_and_options() -> None:
    rows = [f"| `/problems/{k.name}` | {k.status} | {k.title} |" for k in KINDS.values()]
    table = re.search(r"<!-- problems -->\n(.*?)<!-- /problems -->", PAGE, re.DOTALL)
    assert table is not None
    assert table[1].splitlines() == rows, "\n".join(rows)
    losses = re.search(r"`loses` lists.*?\. It", PAGE, re.DOTALL)
    assert losses is not None
    assert re.findall(r"`([a-z-]+)`", losses[0]) == ["loses", *get_args(Loss)]
    told = re.search(r"The options are those of.*?They stand", PAGE, re.DOTALL)
    assert told is not None
    assert [name for name in re.findall(r"`(\w+)`", told[0]) if name != "a2f"] == list(parameters())


def test_page_has_the_quality_limits_of_auto() -> None:
    below = {scale: robust_below(scale) for scale in (2, 3, 4)}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {int(s): int(q) for q, s in re.findall(r"below (\d+) at x(\d)", readme)} == {
        s: q for s, q in below.items() if q
    }
    assert {int(s): int(q) for q, s in re.findall(r"below (\d+) with `scale=(\d)`", PAGE)} == {
        s: q for s, q in below.items() if q
    }
    assert [int(s) for s in re.findall(r"no `sd-robust` with `scale=(\d)`", PAGE)] == [
        s for s, q in below.items() if not q
    ]
