"""The files of deploy/ are valid, start the server with options that it has, and give it few rights."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from a2f.cli.serve import serve

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE, COMPOSE, UNIT = (DEPLOY / name for name in ("Dockerfile", "compose.yaml", "a2f-serve.service"))

pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="needs the folder deploy/ of a checkout")


def last_stage() -> dict[str, list[str]]:
    """The instructions of the stage that becomes the image: name and values, in order."""
    parse = pytest.importorskip("dockerfile_parse")
    found: dict[str, list[str]] = {}
    for step in parse.DockerfileParser(path=str(DOCKERFILE), cache_content=True).structure:
        if step["instruction"] == "FROM":
            found = {}
        found.setdefault(step["instruction"], []).append(step["value"])
    return found


def service() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(COMPOSE.read_text())["services"]["a2f"]


def commands() -> list[list[str]]:
    """The words after `a2f serve` in each file."""
    program, entry = json.loads(last_stage()["ENTRYPOINT"][0]), UNIT.read_text()
    assert program[:2] == ["a2f", "serve"]
    unit = re.search(r"ExecStart=\S+/a2f serve (.*)", entry)
    assert unit
    return [program[2:], [*program[2:], *service()["command"]], shlex.split(unit[1])]


@pytest.mark.parametrize("number", range(3))
def test_commands_are_known(number: int) -> None:
    assert serve.make_context("serve", commands()[number]).params["port"] == 8000


def test_the_server_is_given_longer_to_stop_than_it_takes() -> None:
    grace = serve.make_context("serve", []).params["grace"]
    unit = re.search(r"TimeoutStopSec=(\d+)", UNIT.read_text())
    assert unit
    assert min(int(unit[1]), int(service()["stop_grace_period"].removesuffix("s"))) > grace


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/a2f/bin/a2f", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_little_that_the_unit_may_do() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    limit = "--threshold=20"  # of 100; a service without such lines has 96
    command = ["systemd-analyze", "security", "--offline=true", limit, str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_compose_file_follows_the_specification() -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_may_do_little() -> None:
    given = service()
    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert given["ports"] == ["127.0.0.1:8000:8000"]
    assert (DEPLOY / given["build"]["context"] / given["build"]["dockerfile"]).is_file()


def test_the_image_runs_without_root_and_without_a_shell() -> None:
    stage = last_stage()
    (user,) = stage["USER"]  # numbers: Kubernetes cannot tell whether a name is root
    assert all(int(number) > 0 for number in user.split(":"))
    health = stage["HEALTHCHECK"][0].partition("CMD ")[2]
    for words in (stage["ENTRYPOINT"][0], health):  # a shell would keep the signals that stop the server
        assert isinstance(json.loads(words), list)


def test_the_only_folder_that_the_image_writes_to_is_its_volume() -> None:
    stage = last_stage()
    variables = dict(pair.split("=", 1) for pair in shlex.split(" ".join(stage["ENV"])))
    assert variables["TMPDIR"] == stage["VOLUME"][0]
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert [volume.partition(":")[2] for volume in service()["volumes"]] == stage["VOLUME"]


def test_the_image_is_built_from_files_that_it_is_given() -> None:
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == let_in
    assert all((ROOT / name).exists() for name in names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml", "src"} == names


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
