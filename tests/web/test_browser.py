"""The committed page, the package and the site built from web/, tested in a real browser.

The tests are skipped with a reason if Node or Chromium is missing; `make web-test` says how to install them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import a2f
from a2f.lock import hold

ROOT = Path(__file__).resolve().parents[2]
WEB, PAGE = ROOT / "web", ROOT / "src" / "a2f" / "web" / "page"
MIN_NODE = (20, 19)
PATIENCE_S = 900  # for an installation or a build in another process, on a busy machine

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not WEB.is_dir(), reason="needs the folder web/ of a checkout, which no source package has"),
]


def run(*command: str, **variables: str) -> str:
    """Run a command in web/; on failure, the error has its whole output."""
    done = subprocess.run(
        command,
        cwd=WEB,
        env=os.environ | {"PYTHON": sys.executable, "NO_COLOR": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[], object]], None]:
    """Run a named action once per test run; the other pytest-xdist workers wait for it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the workers of one run share it

    def do(name: str, act: Callable[[], object]) -> None:
        holder = hold(folder / f"{name}.lock", patience_s=PATIENCE_S)
        assert holder is not None, f"another process did not finish {name} within {PATIENCE_S} seconds"
        with closing(holder):
            if not (folder / f"{name}.done").exists():
                act()
                (folder / f"{name}.done").touch()

    return do


@pytest.fixture(scope="session")
def node_modules(once: Callable[[str, Callable[[], object]], None]) -> None:
    """The packages of package-lock.json, installed once."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("needs Node (with npm) of 20.19 or newer")
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", told)[:2])
    if found < MIN_NODE:
        pytest.skip(f"needs Node of 20.19 or newer, not {told.strip()}")
    once("node_modules", install)


def install() -> None:
    """Run `npm ci` where node_modules is older than package-lock.json."""
    stamp, lock = WEB / "node_modules" / ".package-lock.json", WEB / "package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WEB, capture_output=True)
    if done.returncode:
        what = f"npm ci failed: {done.stderr.decode(errors='replace')[-2000:]}"
        pytest.fail(what, pytrace=False) if os.environ.get("CI") else pytest.skip(what)
    stamp.touch()


@pytest.fixture(scope="session")
def package(node_modules: None, once: Callable[[str, Callable[[], object]], None]) -> None:
    """The npm package, built once: a build during another test would remove the types that `tsc` reads."""
    once("package", lambda: run("npm", "run", "build:package"))


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of Chromium."""
    given = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if given is None:
        pytest.skip("needs Chromium: apt-get install chromium, or its path in $CHROMIUM")
    return given


@pytest.mark.usefixtures("package")
def test_type_check_and_tests_without_a_browser() -> None:
    run("npm", "run", "types")
    assert re.search(r"Tests\s+\d+ passed", run("npm", "run", "unit"))


@pytest.mark.usefixtures("node_modules")
def test_committed_page_equals_the_build_of_its_sources(tmp_path: Path) -> None:
    run("npm", "run", "build:page", PAGE_DIR=str(tmp_path))
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in PAGE.iterdir()}
    differ = sorted(name for name in built.keys() | committed.keys() if built.get(name) != committed.get(name))
    assert differ == [], "run `npm run build:page` in web/ and commit src/a2f/web/page"


@pytest.mark.usefixtures("package")
def test_the_page_the_site_and_the_package_in_chromium(chromium: str) -> None:
    run("npx", "vite", "build", "-c", "vite.site.ts")  # the page is the committed one, which other tests read meanwhile
    told = run("npx", "playwright", "test", CHROMIUM=chromium)
    assert re.search(r"\d+ passed", told)


def test_the_package_has_the_version_of_the_library() -> None:
    package = json.loads((WEB / "packages" / "a2f-web" / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == a2f.__version__


def test_the_page_asks_for_no_file_from_elsewhere_and_has_no_inline_script() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script[^>]*>[^<]", html)
    named = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert {"page.js", "page.css", "icon.svg"} <= {name.removeprefix("./") for name in named}
    assert all(not re.match(r"[a-z]+:|//", name) for name in named)
    assert "https://" not in (PAGE / "page.css").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 150_000
