"""Access control and logging."""

import socket
import subprocess
import sys
from contextlib import closing

import pytest

from a2f.errors import UsageError
from a2f.web.server import OTHER_FILES, listen, max_connections
from a2f.web.settings import Settings

pytestmark = pytest.mark.integration

KEY = "0123456789abcdef-secret"


def test_public_address_needs_a_key_or_no_auth() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(UsageError, match="--no-auth"):
            Settings(host=host, memory_bytes=10**10)
        assert Settings(host=host, memory_bytes=10**10, no_auth=True)
        assert KEY not in repr(Settings(host=host, memory_bytes=10**10, api_key=KEY))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"memory_bytes": 10**8}, "--workers"),
        ({"memory_bytes": 10**9, "body_bytes": 10**9}, "--max-body"),
        ({"memory_bytes": 10**10, "api_key": "short"}, "16"),
        ({"memory_bytes": 10**10, "api_key": f"{KEY} "}, "blank"),
        ({"memory_bytes": 10**10, "api_key": f"{KEY[:8]} {KEY[8:]}"}, "blank"),
    ],
)
def test_impossible_settings(given, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**given)


def test_the_command_line(start, picture, tmp_path) -> None:
    command = [sys.executable, "-m", "a2f", "serve", "--port", "0", "--host", "0.0.0.0", "--max-memory", "2GB"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "A2F_API_KEY" in refused.stderr
    server = start(command=[*command, "--workers", "1", "--max-pixels", "1K"], environment={"A2F_API_KEY": KEY})
    with server.client() as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        assert client.post("/v1/upscale", content=picture(40, 40)).json()["type"] == "/problems/too-many-pixels"
    taken = subprocess.run(
        [*command, "--no-auth", "--port", str(server.port)], capture_output=True, text=True, check=False
    )
    assert taken.returncode == 2
    assert f"cannot listen on 0.0.0.0 port {server.port} (Address already in use): " in taken.stderr
    assert "choose another port with --port" in taken.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", f"{'a' * 64}.invalid"])
def test_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match=r"is no address of this machine: choose .* with --host"):
        listen(Settings(host=host, port=0, memory_bytes=2 * 10**9, api_key=KEY))


def test_a_key_as_a_token_or_as_a_password(start) -> None:
    server = start(api_key=KEY)
    with server.client() as client:
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthorized")
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert client.get("/").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert client.get("/", auth=("anybody", KEY)).status_code == 200
        for wrong in (f"Bearer {KEY}x", "Bearer", "Basic %%%", "Basic é".encode(), f"Token {KEY}"):
            assert client.get("/v1/models", headers={"Authorization": wrong}).status_code == 401
        listed = client.get("/openapi.json", auth=("anybody", KEY)).json()
        assert set(listed["components"]["securitySchemes"]) == {"key", "password"}
    assert KEY not in server.log.read_text()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_host_header_is_checked(client, host: str, status: int) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == status


def test_added_host_name_is_accepted(start) -> None:
    with start(host_names=["Pictures.example"]).client() as client:
        assert client.get("/healthz", headers={"Host": "pictures.example:80"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_cross_origin_requests_are_refused(client, picture, origin: str) -> None:
    answer = client.post("/v1/upscale", content=picture(), headers={"Origin": origin})
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/wrong-origin")
    assert "access-control-allow-origin" not in answer.headers
    crossed = client.post("/v1/upscale", content=picture(), headers={"Sec-Fetch-Site": "cross-site"})
    assert crossed.status_code == 403


def test_same_origin_requests_are_accepted(server, client, picture) -> None:
    answer = client.post("/v1/upscale?scale=2", content=picture(), headers={"Origin": server.address})
    assert answer.status_code == 200
    assert client.options("/v1/upscale", headers={"Origin": server.address}).status_code == 405


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/nothing", "/v1/jobs/none"])
def test_headers_of_all_answers(client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_access_log_has_no_picture_data(start, picture, wait) -> None:
    server = start()

    def told():
        return [record for record in server.records() if record["route"] != "/readyz"]

    files = {"image": ("holiday-in-rome.png", picture(33, 22), "image/png")}
    with server.client() as client:
        job = client.post("/v1/jobs?scale=2", files=files).json()["id"]
        for number, path in enumerate((f"/v1/jobs/{job}/events", f"/v1/jobs/{job}/result", "/wp-login.php?p=hunter2")):
            wait(lambda done=number: len(told()) > done)  # the log line is written after the answer
            client.get(path)
    records = wait(lambda: len(told()) == 4 and told())
    assert [(r["method"], r["route"], r["status"]) for r in records] == [
        ("POST", "/v1/jobs", 202),
        ("GET", "/v1/jobs/{id}/events", 200),
        ("GET", "/v1/jobs/{id}/result", 200),
        ("GET", "other", 404),
    ]
    assert [(r["width"], r["height"], r["model"]) for r in (records[0], records[2])] == [
        (33, 22, "auto"),
        (33, 22, "sd"),
    ]
    assert records[0]["bytes_in"] > 2000
    text = server.log.read_text()
    assert not [word for word in ("rome", job, "hunter2", "wp-login") if word in text]


@pytest.mark.parametrize("path", ["/wp-login.php", "/v1", "/v1/jobs/a/made-up", "/problems/made-up", "/page.js.map"])
def test_unknown_paths_count_as_one_route(client, path: str) -> None:
    def count(route: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        name = f'a2f_requests_total{{method="GET",route="{route}",status="404"}} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count("other")
    assert client.get(path).json()["type"] == "/problems/not-found"
    assert count("other") == before + 1
    assert count(path) == count("/") == 0


def test_access_log_names_the_model(start, picture, wait) -> None:
    server = start()
    with server.client() as client:
        for query in ("scale=2", "width=12"):
            client.post(f"/v1/upscale?{query}", content=picture(24, 16))
    records = wait(lambda: (found := [r for r in server.records() if r["route"] == "/v1/upscale"])[1:] and found)
    assert [(r["model"], r["scale"], r["format"]) for r in records] == [("sd", 2, "png"), ("none", 1, "png")]


def test_missing_extra_error_names_the_pip_command() -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv = ['a2f', 'serve']\nfrom a2f.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: a2f serve needs uvicorn: pip install 'a2f[web]'\n")


def raw(server, *lines: str) -> bytes:
    """The answer to a raw, possibly invalid request."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/healthz", "localhost", 200),
        ("HTTP://localhost:1/v1/models?a=b", "ignored.example", 200),
        ("http://attacker.example/healthz", "localhost", 421),
        ("http://localhost", "localhost", 200),
        ("ftp://localhost/healthz", "localhost", 404),
    ],
)
def test_absolute_url_as_request_target(server, target: str, host: str, status: int) -> None:
    assert raw(server, f"GET {target} HTTP/1.1", f"Host: {host}").startswith(b"HTTP/1.1 %d" % status)


def test_invalid_http_is_logged_and_counted(server, client, wait) -> None:
    before = len(server.records())
    assert b"application/problem+json" in raw(server, "GET / HTTP/1.1", "Host: localhost", "Host: localhost")
    assert raw(server, "GET /healthz HTTP/1.1", "Host: localhost", "Upgrade: websocket").startswith(b"HTTP/1.1 200")
    wait(lambda: [r["status"] for r in server.records()[before:]].count(200) == 1)
    assert [r["route"] for r in server.records()[before:] if r["status"] == 400] == ["other"]
    assert 'a2f_requests_total{method="other",route="other",status="400"}' in client.get("/metrics").text
    assert [line for line in server.log.read_text().splitlines() if not line.startswith("{")] == []


@pytest.mark.parametrize(("length", "status"), [(16_000, 200), (17_500, 400), (20_000, 400), (60_000, 400)])
def test_head_that_is_too_long_is_refused_with_the_limit(server, length: int, status: int) -> None:
    answer = raw(server, "GET /healthz HTTP/1.1", "Host: localhost", f"X-Long: {'a' * length}")
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert (b"longer than 16,384 bytes" in answer) == (status == 400)


def test_connection_limit_follows_the_open_file_limit(monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    limits = [256, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda what: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda what, given: limits.__setitem__(0, given[0]))
    assert max_connections(800) == 800
    assert limits == [800 + OTHER_FILES, 4096]
    limits[:] = [256, 256]
    assert max_connections(800) == 256 - OTHER_FILES
    limits[:] = [64, 64]
    with pytest.raises(UsageError, match="ulimit -n"):
        max_connections(800)
    limits[:] = [resource.RLIM_INFINITY] * 2
    assert max_connections(800) == 800
