"""The HTTP interface."""

import gzip
import io
import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import a2f
from a2f.web.worker import Worker, _answer

pytestmark = pytest.mark.integration


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def problem(answer, name: str) -> str:
    """Check the name of a problem, and return its detail."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == f"/problems/{name}", told
    assert told["status"] == answer.status_code
    assert told["title"]
    return told["detail"]


def long_exif() -> bytes:
    """Metadata that are too long for a JPEG."""
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    return exif.tobytes()


def deep_png() -> bytes:
    """A grey PNG with 16 bits."""
    file = io.BytesIO()
    Image.fromarray(np.arange(96, dtype=np.uint16).reshape(8, 12) * 600).save(file, "PNG")
    return file.getvalue()


def test_models_formats_and_limits(client) -> None:
    told = client.get("/v1/models").json()
    assert {(m["name"], m["scale"], m["kind"]) for m in told["models"]} >= {
        ("sd", 2, "clean"),
        ("sd-robust", 4, "robust"),
    }
    assert {(m["kind"], m["jpeg_below"] > 0) for m in told["models"]} == {("clean", False), ("robust", True)}
    assert {"jpeg", "png", "webp", "tiff", "avif"} <= set(told["formats"])
    assert told["limits"] == {"body_bytes": 64_000_000, "pixels": 50_000_000, "queue": 100, "workers": 2}


def test_result_pixels_equal_those_of_the_python_api(client, picture) -> None:
    given = picture(31, 20)
    answer = client.post("/v1/upscale?scale=2", content=given, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == 'attachment; filename="picture_x2.png"'
    assert (answer.headers["a2f-model"], answer.headers["a2f-scale"]) == ("sd", "2")
    assert float(answer.headers["a2f-seconds"]) > 0
    assert np.array_equal(np.asarray(opened(answer.content)), np.asarray(opened(a2f.upscale(given, scale=2))))


def test_form_with_a_file_name_and_options(client, picture) -> None:
    files = {"image": ('C:\\Bilder\\Müller\u202e "1".jpeg', picture(40, 30, format="JPEG"), "image/jpeg")}
    answer = client.post("/v1/upscale", files=files, data={"width": "100", "format": "webp", "quality": "80"})
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).size == (100, 75)
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"picture_100x75.webp\"; filename*=UTF-8''M%C3%BCller%201_100x75.webp"
    )


def test_options_in_query_and_form_are_combined_but_not_repeated(client, picture) -> None:
    files = {"image": ("a.png", picture(), "image/png")}
    answer = client.post("/v1/upscale?scale=2", files=files, data={"format": "jpg"})
    assert opened(answer.content).format == "JPEG"
    twice = client.post("/v1/upscale?scale=2", files=files, data={"scale": "2"})
    assert "given twice" in problem(twice, "bad-option")


@pytest.mark.parametrize(
    ("asked", "size"),
    [("size=50x70", (50, 70)), ("max_side=60", (60, 40)), ("height=32", (48, 32)), ("width=12", (12, 8))],
)
def test_exact_sizes(client, picture, asked: str, size: tuple[int, int]) -> None:
    answer = client.post(f"/v1/upscale?{asked}", content=picture(24, 16))
    assert opened(answer.content).size == size
    assert answer.headers["a2f-model"] == {"width=12": "none", "size=50x70": "sd,sd"}.get(asked, "sd")


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("*/*", "PNG"),
        ("image/webp", "WEBP"),
        ("image/webp;q=0.5, image/jpeg", "JPEG"),
        ("text/html,image/avif,image/webp,*/*;q=0.8", "AVIF"),
        ("image/webp, image/png", "PNG"),
        ("image/*;q=0.1", "PNG"),
    ],
)
def test_accept_chooses_the_format(client, picture, accept: str, format: str) -> None:
    answer = client.post("/v1/upscale?scale=2", content=picture(), headers={"Accept": accept})
    assert answer.headers["content-type"] == f"image/{format.lower()}"
    assert opened(answer.content).format == format


def test_accept_header_without_a_possible_format(client, picture) -> None:
    answer = client.post("/v1/upscale", content=picture(), headers={"Accept": "application/json"})
    assert "image/png" in problem(answer, "not-acceptable")
    assert answer.status_code == 406
    asked = client.post("/v1/upscale?scale=2&format=png", content=picture(), headers={"Accept": "application/json"})
    assert asked.status_code == 200


def test_metadata_is_kept_or_stripped_on_request(client, picture) -> None:
    exif = Image.Exif()
    exif[0x010E] = "the old mill"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = picture(format="JPEG", exif=exif.tobytes(), icc_profile=profile)
    kept = opened(client.post("/v1/upscale?scale=2", content=given).content)
    assert kept.getexif()[0x010E] == "the old mill"
    assert kept.info["icc_profile"] == profile
    bare = opened(client.post("/v1/upscale?scale=2&strip=true", content=given).content)
    assert not bare.getexif()


def test_response_header_lists_dropped_metadata(client, picture) -> None:
    given = picture(format="JPEG", comment=b"seen in May")
    answer = client.post("/v1/upscale?scale=2&format=png", content=given)
    assert answer.headers["a2f-note"] == "png has no place for JPEG comments: left out"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_auto_uses_the_robust_model_below_the_reported_quality(client, picture, scale: int) -> None:
    models = client.get("/v1/models").json()["models"]
    below = max(m["jpeg_below"] for m in models if m["scale"] == scale)

    def model_for(**given: Any) -> str:
        answer = client.post(f"/v1/upscale?scale={scale}", content=picture(**given))
        return str(answer.headers["a2f-model"])

    assert model_for() == "sd"
    assert model_for(format="JPEG", quality=95) == "sd"
    assert model_for(format="JPEG", quality=below or 20) == "sd"
    if below:
        assert model_for(format="JPEG", quality=below - 1) == "sd-robust"


def test_quality_is_refused_for_formats_without_quality(client, picture) -> None:
    lossless = client.post("/v1/upscale?scale=2&quality=80", content=picture())
    assert lossless.headers["a2f-note"] == "png is lossless: quality has no effect"
    assert "a2f-note" not in client.post("/v1/upscale?scale=2&quality=80&format=jpeg", content=picture()).headers


def test_a_model_by_name(client, picture) -> None:
    assert client.post("/v1/upscale?model=sd-robust", content=picture()).headers["a2f-model"] == "sd-robust"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("scale=5", "2, 3, 4"),
        ("scale=", "2, 3, 4"),
        ("scale=²", "2, 3, 4"),
        ("colour=red", "there is no option 'colour'"),
        ("model=/etc/passwd", "sd"),
        ("model=../weights.safetensors", "sd"),
        ("model=sd-robust&scale=3", "no weights"),
        ("quality=0", "from 1 to 100"),
        ("size=10x0", "1920x1080"),
        ("width=10&height=10", "width and height are several sizes"),
        ("scale=2&width=10", "scale and width are several sizes"),
        ("strip=yes", "true or false"),
        ("format=exe", "png"),
        ("width=10000", "at most 16 times"),
    ],
)
def test_wrong_options(client, picture, query: str, said: str) -> None:
    answer = client.post(f"/v1/upscale?{query}", content=picture())
    assert answer.status_code == 422
    assert said in problem(answer, "bad-option")


def test_format_that_would_lose_data_is_refused(client, picture) -> None:
    given = picture(mode="RGBA")
    answer = client.post("/v1/upscale?format=jpeg&scale=2", content=given)
    assert "transparency" in problem(answer, "format-loses")
    assert client.post("/v1/upscale?format=jpeg&scale=2&force=true", content=given).status_code == 200


@pytest.mark.parametrize(
    ("mode", "exif", "format", "loses"),
    [
        ("RGBA", b"", "jpeg", ["transparency"]),
        ("RGBA", long_exif(), "jpeg", ["transparency", "metadata"]),
        ("RGB", long_exif(), "jpeg", ["metadata"]),
        ("RGBA", b"", "gif", ["partial-transparency", "colours"]),
        ("RGB", b"", "gif", ["colours"]),
        ("I;16", b"", "jpeg", ["bit-depth"]),
    ],
)
def test_lossy_format_problem_lists_all_losses(
    client, picture, wait, mode: str, exif: bytes, format: str, loses: list[str]
) -> None:
    given = deep_png() if mode == "I;16" else picture(mode=mode, exif=exif)
    told = client.post(f"/v1/upscale?format={format}&scale=2", content=given).json()
    assert (told["type"], told["loses"]) == ("/problems/format-loses", loses)
    where = client.post(f"/v1/jobs?format={format}&scale=2", content=given).headers["location"]
    wait(lambda: client.get(where).json()["status"] == "failed")
    assert client.get(where).json()["error"]["loses"] == loses


def test_other_problems_list_no_losses(client) -> None:
    assert client.post("/v1/upscale", content=b"hello").json()["loses"] == []


@pytest.mark.parametrize(
    ("given", "query", "said"),
    [
        ({"mode": "RGBA"}, "format=jpeg", "force=true"),
        ({"mode": "LA"}, "format=gif", "force=true"),
        ({"exif": long_exif()}, "format=jpeg", "strip=true"),
        ({"cut": 100}, "scale=2", "allow_truncated=true"),
        ({"width": 9000, "height": 4}, "format=webp&size=16384x9", "choose another format"),
        ({}, "model=sd-robust&scale=3", "choose scale=2 or scale=4"),
    ],
)
def test_problems_name_options_of_a_request(client, picture, given, query: str, said: str) -> None:
    cut = given.pop("cut", 0)
    file = picture(**given)
    sent = file[:-cut] if cut else file
    answer = client.post(f"/v1/upscale?{query}", content=sent)
    assert answer.status_code == 422, answer.text
    detail = answer.json()["detail"]
    assert said in detail
    options = answer.json()["options"]
    assert (said in options) == said.endswith("=true")
    for option in options:  # each helps by itself
        assert client.post(f"/v1/upscale?{query}&{option}", content=sent).status_code == 200
    for foreign in ("--", "=True", " -f", "pip install", "weights file", ".safetensors"):
        assert foreign not in detail


@pytest.mark.parametrize("content", [b"hello", b"file:///etc/passwd", b"http://127.0.0.1/a.png"])
def test_body_that_is_not_a_picture(client, content: bytes) -> None:
    assert problem(client.post("/v1/upscale", content=content), "not-a-picture")
    assert problem(client.post("/v1/jobs", content=content), "not-a-picture")


def test_a_body_that_is_compressed_once_more(client, picture) -> None:
    body, given = gzip.compress(picture()), {"Content-Encoding": "gzip"}
    assert "gzip" in problem(client.post("/v1/upscale", content=body, headers=given), "not-a-picture")


def test_truncated_picture(client, picture) -> None:
    assert problem(client.post("/v1/upscale", content=b"\x89PNG\r\n\x1a\n"), "damaged-picture")
    given = picture(100, 100)[:-2000]
    assert problem(client.post("/v1/upscale?scale=2", content=given), "damaged-picture")
    taken = client.post("/v1/upscale?scale=2&allow_truncated=true", content=given)
    assert opened(taken.content).size == (200, 200)


def test_unsupported_content_types_and_paths(client, picture) -> None:
    typed = client.post("/v1/upscale", content=picture(), headers={"Content-Type": "application/json"})
    assert "image/*" in problem(typed, "not-a-picture")
    assert problem(client.get("/v1/upscale"), "method-not-allowed")
    assert client.get("/v1/upscale").headers["allow"] == "POST"
    assert problem(client.get("/nothing"), "not-found")
    assert problem(client.get("/v1/jobs/nothing"), "not-found")
    assert problem(client.post("/v1/upscale", content=b""), "bad-request")


def test_job_events(client, picture) -> None:
    answer = client.post("/v1/jobs?scale=2", content=picture(30, 20))
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["width"], job["height"], job["error"]) == (60, 40, None)
    assert job["status"] in ("queued", "running")
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = stream.read().decode()
    events = [part.split("\n") for part in text.split("\n\n") if part]
    assert {event for event, _ in events} == {"event: status"}
    told = [json.loads(data.removeprefix("data: ")) for _, data in events]
    shares = [t["progress"] for t in told]
    assert shares == sorted(shares)
    assert told[-1] == client.get(f"/v1/jobs/{job['id']}").json()
    assert (told[-1]["status"], told[-1]["progress"], told[-1]["seconds_left"]) == ("done", 1.0, 0.0)
    result = client.get(told[-1]["result"])
    assert opened(result.content).size == (60, 40)
    assert result.headers["content-disposition"] == 'attachment; filename="picture_x2.png"'
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert problem(client.get(told[-1]["result"]), "not-found")


def test_failed_job_reports_its_error(client, picture, wait) -> None:
    where = client.post("/v1/jobs?scale=2&format=jpeg", content=picture(mode="LA")).headers["location"]
    wait(lambda: client.get(where).json()["status"] == "failed")
    told = client.get(where).json()
    assert told["error"]["type"] == "/problems/format-loses"
    assert told["result"] is None
    assert problem(client.get(f"{where}/result"), "format-loses")


def test_large_picture_reports_progress_by_tiles(start, picture) -> None:
    server = start(memory_bytes=54 * 10**7, body_bytes=10**7)
    with server.client() as client:
        where = client.post("/v1/jobs?scale=2", content=picture(960, 800)).headers["location"]
        with client.stream("GET", f"{where}/events") as stream:
            lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
        told = [json.loads(line[6:]) for line in lines]
        shares = [t["progress"] for t in told if t["status"] == "running"]
        assert len({share for share in shares if 0 < share < 1}) >= 3
        assert opened(client.get(f"{where}/result").content).size == (1920, 1600)


def test_the_page_and_the_documentation(client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    docs = client.get("/docs")
    document = client.get("/openapi.json").json()
    for path in document["paths"]:
        assert path in docs.text
    for schema in document["components"]["schemas"].values():
        assert all(f"<code>{member}</code>" in docs.text for member in schema["properties"])
    assert "<code>models[].jpeg_below</code>" in docs.text
    assert "<script" not in docs.text
    assert "style=" not in docs.text
    for path in ("/docs", "/problems/too-large"):
        text = client.get(path).text
        assert 'href="/"' in text  # the way back to the page
        icon = re.search(r'<link rel="icon" href="([^"]+)"', text)
        assert icon
        assert client.get(icon[1]).status_code == 200
    assert client.get("/docs/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert "64" not in client.get("/problems/too-large").headers["content-type"]
    assert problem(client.get("/../settings.py"), "not-found")
    assert problem(client.get("/%2e%2e/settings.py"), "not-found")


def test_prometheus_metrics(client, picture) -> None:
    def figure(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line.split()[1] for line in lines if line.split()[0] == name))

    before = figure('a2f_jobs_total{status="done"}')
    client.post("/v1/upscale?scale=2", content=picture())
    assert figure('a2f_jobs_total{status="done"}') == before + 1
    assert figure("a2f_queue") == 0
    assert figure("process_resident_memory_bytes") > 10**7


def test_importing_a2f_loads_no_server() -> None:
    code = "import sys, a2f.api; print([m for m in ('starlette', 'uvicorn', 'prometheus_client') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_picture_that_needs_a_package_tells_which(picture, monkeypatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    worker = Worker(threads=1, alone_threads=1, memory_bytes=10**9, pixels=10**6)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"
    _answer(worker, {"kind": "inspect"}, heic, lambda header, payload=b"": told.append(header))
    (answer,) = told
    assert answer["name"] == "missing-package"
    assert answer["detail"] == "reading the picture (HEIC) needs the package pillow-heif, which is not installed"
