"""Limits of time and memory for all that clients send or do not send."""

import io
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from a2f.imageio.limits import MIN_RGB_BYTES

pytestmark = pytest.mark.integration

HEAD = b"POST /v1/upscale?scale=2 HTTP/1.1\r\nHost: localhost\r\n"


def connected(server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def answered(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def answered_or_reset(connection: socket.socket) -> bytes:
    try:
        return answered(connection)
    except ConnectionResetError:
        return b""


def png_header(width: int, height: int, *, bits: int = 8, kind: int = 2) -> bytes:
    """A PNG with a large size in its header and almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def plain(side: int) -> bytes:
    """A large picture in a small file."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (9, 99, 9)).save(file, "PNG")
    return file.getvalue()


def type_of(answer) -> str:
    return answer.json()["type"].removeprefix("/problems/")


def figures(client) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def is_idle(client) -> bool:
    told = figures(client)
    return not any(told[name] for name in ("a2f_queue", "a2f_running", "a2f_body_bytes"))


def has_nothing_left(client) -> bool:
    return is_idle(client) and not figures(client)["a2f_result_bytes"]


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def test_missing_request_header_times_out(start) -> None:
    server = start(header_s=0.3)
    for sent in (b"", b"GET / HTT", HEAD, HEAD + b"X-Slow: " + b"a" * 100):
        with closing(connected(server)) as connection:
            connection.sendall(sent)
            assert answered(connection) == b""


def test_missing_second_request_header_times_out(start) -> None:
    with closing(connected(start(header_s=0.3))) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        assert b"HTTP/1.1" not in answered(connection)


def test_more_connections_than_are_allowed_are_closed(start) -> None:
    server = start(connections=3)
    held = [connected(server) for _ in range(3)]
    with closing(connected(server)) as one_more:
        assert answered_or_reset(one_more) == b""
    for connection in held:
        connection.close()
    with server.client() as client:
        assert client.get("/healthz").status_code == 200


def test_a_body_that_comes_too_slowly_is_cut_off(start, wait) -> None:
    server = start(header_s=0.3, slowest=10**6)
    with closing(connected(server)) as connection, server.client() as client:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nabc")
        told = answered(connection)
        wait(lambda: has_nothing_left(client))
    assert told.startswith(b"HTTP/1.1 408")
    assert b"/problems/too-slow" in told


def test_unread_response_is_cut_off(start, picture, wait) -> None:
    server = start(header_s=0.3, slowest=10**9)
    body = picture(400, 400)
    with closing(socket.socket()) as connection, server.client() as client:
        files = figures(client)["process_open_fds"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        asked = HEAD.replace(b"scale=2", b"format=ppm&scale=4") + b"Content-Length: %d\r\n\r\n" % len(body)
        connection.sendall(asked + body)
        wait(lambda: [r for r in server.records() if r["route"] == "/v1/upscale"])
        assert has_nothing_left(client)
        wait(lambda: figures(client)["process_open_fds"] <= files)  # the connection is not kept either
    (record,) = [r for r in server.records() if r["route"] == "/v1/upscale"]
    assert record["status"] == 499
    assert record["bytes_out"] < 1600 * 1600 * 3


def test_body_with_too_large_content_length_is_not_read(server) -> None:
    with closing(connected(server)) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % 10**12)
        told = answered(connection)
    assert told.startswith(b"HTTP/1.1 413")
    assert b"/problems/too-large" in told


@pytest.mark.parametrize("form", [False, True])
def test_too_large_body_is_not_read_to_its_end(start, form: bool) -> None:
    server = start(body_bytes=200_000)
    read = []

    def chunks():
        if form:
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(10_000):
            read.append(1)
            yield b"\0" * 65_536

    given = {"Content-Type": "multipart/form-data; boundary=x"} if form else {}
    with server.client() as client:
        answer = client.post("/v1/upscale", content=chunks(), headers=given)
        assert (answer.status_code, type_of(answer)) == (413, "too-large")
        assert len(read) < 10_000
        assert has_nothing_left(client)


def test_decompression_bombs_are_refused_by_their_header(client) -> None:
    answer = client.post("/v1/upscale", content=png_header(60_000, 60_000))
    assert (answer.status_code, type_of(answer)) == (413, "too-many-pixels")
    assert "60000 x 60000" in answer.json()["detail"]
    job = client.post("/v1/jobs", content=png_header(2**31 - 1, 2**31 - 1))
    assert type_of(job) in ("too-many-pixels", "not-a-picture", "damaged-picture")


def test_picture_that_needs_too_much_memory_is_refused_by_its_header(start) -> None:
    with start(memory_bytes=6 * 10**8, body_bytes=10**6).client() as client:
        told = client.get("/v1/models").json()["limits"]["pixels"]
        assert told == int(45 * 10**7 / MIN_RGB_BYTES)
        for path in ("/v1/upscale", "/v1/jobs"):
            deep = client.post(path, content=png_header(5000, 5000, bits=16, kind=6))  # RGBA; fewer pixels than that
            assert (deep.status_code, type_of(deep)) == (413, "too-much-memory")
        assert figures(client)["a2f_queue"] == 0


def test_too_large_result_of_a_small_picture_is_refused(client, picture) -> None:
    answer = client.post("/v1/upscale?size=90000x90000", content=plain(6000))
    assert (answer.status_code, type_of(answer)) == (413, "too-many-pixels")


def test_file_that_unpacks_to_more_than_its_header_states(client) -> None:
    assert type_of(client.post("/v1/upscale", content=png_header(300, 300))) == "damaged-picture"


def test_truncated_body(server, client, wait) -> None:
    before = len(server.records())
    with closing(connected(server)) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + b"a" * 500)
    wait(lambda: [r for r in server.records()[before:] if r["status"] == 499])
    assert is_idle(client)
    with closing(connected(server)) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nabc\r\nzz\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert not answered(connection).startswith(b"HTTP/1.1 200")


PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("multipart/form-data", PART + b"abc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=", PART + b"abc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "y" * 300, PART),
        ("multipart/form-data; boundary=x", b"nothing of the kind"),
        ("multipart/form-data; boundary=x; charset=undefined", PART + b"abc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=punycode", PART + b"abc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", PART + b"abc"),
        ("multipart/form-data; boundary=x", PART + b"abc\r\n--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nabc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", PART + b"a\r\n" + PART + b"b\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", PART.replace(b'; filename="a.png"', b"") + b"a\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", PART.replace(b"image", b"file") + b"a\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"b" * 100_000 + b"\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 5_000 + b"\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", PART.replace(b"filename", b"f") * 100 + b"--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            PART + b'a\r\n--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + b"s" * 9999 + b"\r\n--x--\r\n",
        ),
    ],
)
def test_broken_forms(client, media: str, body: bytes) -> None:
    answer = client.post("/v1/upscale", content=body, headers={"Content-Type": media})
    assert (answer.status_code, type_of(answer)) == (400, "bad-request"), answer.text
    assert is_idle(client)


def test_full_queue_answers_with_retry_after(start, picture, wait) -> None:
    server = start(queue=1)
    large = picture(600, 600)
    with server.client() as client:
        first = client.post("/v1/jobs", content=large)
        wait(lambda: client.get(first.headers["location"]).json()["status"] == "running")
        second = client.post("/v1/jobs", content=large)
        assert (second.json()["status"], second.json()["position"]) == ("queued", 1)
        assert second.json()["seconds_left"] > 0
        third = client.post("/v1/upscale", content=large)
        assert (third.status_code, type_of(third)) == (429, "queue-full")
        assert int(third.headers["retry-after"]) >= 1
        for job in (second, first):
            assert client.delete(job.headers["location"]).status_code == 204
            assert client.get(job.headers["location"]).json()["status"] == "cancelled"
        assert has_nothing_left(client)
        assert client.post("/v1/upscale?scale=2", content=picture()).status_code == 200


def test_total_size_of_all_bodies_is_limited(start) -> None:
    server = start(memory_bytes=8 * 10**8, body_bytes=50 * 10**6, header_s=60)
    head = HEAD + b"Content-Length: 45000000\r\n\r\n"
    with closing(connected(server)) as one, closing(connected(server)) as two, closing(connected(server)) as three:
        for connection in (one, two, three):
            connection.sendall(head)
        for connection in (one, two):
            connection.sendall(b"\0" * 44_000_000)
        three.sendall(b"\0" * 16_000_000)
        told = answered(three)
    assert told.startswith(b"HTTP/1.1 503")
    assert b"/problems/busy" in told
    assert b"retry-after" in told


def test_old_results_are_dropped_for_new_ones(start, picture, wait) -> None:
    with start(keep_bytes=100_000).client() as client:
        places = []
        for _ in range(3):  # 43 kB each
            places.append(client.post("/v1/jobs?scale=2&format=ppm", content=picture(60, 60)).headers["location"])
            wait(lambda: client.get(places[-1]).json()["status"] == "done")
        assert [client.get(place).status_code for place in places] == [404, 200, 200]
        assert 80_000 < figures(client)["a2f_result_bytes"] <= 100_000
        whole = client.post("/v1/upscale?scale=2&format=ppm", content=picture(80, 80))
        assert len(whole.content) > 70_000
        assert [client.get(place).status_code for place in places] == [404, 404, 404]


def test_result_larger_than_all_storage_is_refused(start, picture) -> None:
    with start(keep_bytes=100_000).client() as client:
        answer = client.post("/v1/upscale?scale=2&format=ppm", content=picture(100, 100))
        assert (answer.status_code, type_of(answer)) == (413, "too-much-memory")
        assert client.post("/v1/upscale?scale=2", content=picture()).status_code == 200


def test_resizing_without_a_network_is_limited_too(start) -> None:
    with start(memory_bytes=6 * 10**8, body_bytes=10**6).client() as client:
        answer = client.post("/v1/upscale?width=5399", content=plain(5400))
        assert (answer.status_code, type_of(answer)) == (413, "too-much-memory")


def test_requests_that_need_temporary_files_are_refused_without_a_folder(start, picture) -> None:
    server = start(memory_bytes=6 * 10**8, body_bytes=10**7, environment={"TMPDIR": "/nowhere"})
    with server.client() as client:
        answer = client.post("/v1/upscale?scale=2", content=plain(2500))
        assert (answer.status_code, type_of(answer)) == (413, "too-much-memory")
        assert "/nowhere" not in answer.json()["detail"]
        assert client.post("/v1/upscale?scale=2", content=picture()).status_code == 200


def test_unused_results_and_jobs_expire(start, picture, wait) -> None:
    server = start(keep_s=2)
    with server.client() as client:
        where = client.post("/v1/jobs?scale=2", content=picture()).headers["location"]
        wait(lambda: client.get(where).json()["status"] == "done")
        wait(lambda: has_nothing_left(client))
        assert client.get(where).status_code == 404
        client.post("/v1/jobs", content=picture(900, 900))
        wait(lambda: figures(client).get('a2f_jobs_total{status="cancelled"}') == 1)
        assert has_nothing_left(client)


def test_picture_that_takes_too_long_is_aborted(start, picture) -> None:
    server = start(timeout_s=0.2)
    with server.client() as client:
        answer = client.post("/v1/upscale", content=picture(2000, 1000))
        assert (answer.status_code, type_of(answer)) == (504, "took-too-long")
        assert has_nothing_left(client)


def test_disconnected_client_ends_its_work(start, picture, wait) -> None:
    server = start()
    body = picture(1200, 1200)
    with server.client() as client, closing(connected(server)) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait(lambda: figures(client)["a2f_running"] == 1)
        connection.close()
        wait(lambda: has_nothing_left(client))
        assert figures(client)['a2f_jobs_total{status="cancelled"}'] == 1
        assert client.post("/v1/upscale?scale=2", content=picture()).status_code == 200


def test_a_worker_that_dies_is_replaced(start, picture, wait) -> None:
    server = start()
    with server.client() as client:
        where = client.post("/v1/jobs", content=picture(900, 900)).headers["location"]
        wait(lambda: figures(client)["a2f_running"] == 1)
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        wait(lambda: client.get(where).json()["status"] == "failed")
        assert client.get(where).json()["error"]["type"] == "/problems/failed"
        assert client.post("/v1/upscale?scale=2", content=picture()).status_code == 200
        assert figures(client)["a2f_workers_lost_total"] == 1


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_killed_server_leaves_no_processes_or_files(start, picture, wait, tmp_path) -> None:
    server = start(workers=2)
    with server.client() as client:
        for _ in range(3):
            client.post("/v1/jobs", content=picture(900, 900))
        wait(lambda: figures(client)["a2f_running"] == 2)
        workers = children(server.process.pid)
        assert len(workers) == 3
    server.stop(signal.SIGKILL)
    wait(lambda: not any(map(is_alive, workers)))
    assert [path.name for path in tmp_path.iterdir()] == [server.log.name]  # TMPDIR


def test_shutdown_finishes_running_jobs(start, picture, wait) -> None:
    server = start(grace_s=60)
    body = picture(300, 300)
    got = []
    with server.client() as client, server.client() as other:
        waiting = threading.Thread(target=lambda: got.append(other.post("/v1/upscale", content=body)))
        waiting.start()
        wait(lambda: figures(client)["a2f_running"] == 1)
        job = client.post("/v1/jobs?scale=2", content=picture()).headers["location"]
        server.process.send_signal(signal.SIGTERM)
        wait(lambda: client.get("/readyz").status_code == 503)
        refused = client.post("/v1/upscale", content=body)
        assert (refused.status_code, type_of(refused)) == (503, "stopping")
        waiting.join()
        assert got[0].status_code == 200
        wait(lambda: client.get(job).json()["status"] == "done")
        assert client.get(f"{job}/result").status_code == 200
    assert server.process.wait(30) == 0


def test_unfinished_jobs_are_reported_at_shutdown(start, picture, wait) -> None:
    server = start(grace_s=1, header_s=600)
    got = []
    with server.client() as client, server.client() as other, closing(connected(server)) as stalled:
        stalled.sendall(HEAD + b"Content-Length: 1000\r\n\r\nabc")
        body = picture(2000, 2000)
        waiting = threading.Thread(target=lambda: got.append(other.post("/v1/upscale", content=body)))
        waiting.start()
        wait(lambda: figures(client)["a2f_running"] == 1)
        server.process.send_signal(signal.SIGTERM)
        waiting.join()
        assert (got[0].status_code, type_of(got[0])) == (503, "stopping")
        assert b"/problems/stopping" in answered(stalled)
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()
    assert sorted(r["status"] for r in server.records() if r["method"] == "POST") == [503, 503]


def test_a_second_signal_stops_at_once(start, picture, wait) -> None:
    server = start(grace_s=600)
    with server.client() as client:
        client.post("/v1/jobs", content=picture(2000, 2000))
        wait(lambda: figures(client)["a2f_running"] == 1)
        server.process.send_signal(signal.SIGINT)
        wait(lambda: client.get("/readyz").status_code == 503)
        server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0


def test_fifty_clients_at_once_get_the_pixels_of_the_command_line(server, picture, tmp_path) -> None:
    import numpy as np

    names = [f"{number}.png" for number in range(50)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(picture(20 + number, 40 - number % 7, seed=number))
    command = [sys.executable, "-m", "a2f", "upscale", "-q", "-s", "2", "--suffix", "", "-o", f"{tmp_path}/out/"]
    subprocess.run([*command, *(str(tmp_path / name) for name in names)], check=True)
    got: dict[str, bytes] = {}
    barrier = threading.Barrier(len(names))

    def ask(name: str) -> None:
        with server.client() as client:
            barrier.wait()
            got[name] = client.post("/v1/upscale?scale=2", content=(tmp_path / name).read_bytes()).content

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        with Image.open(tmp_path / "out" / name) as expected, Image.open(io.BytesIO(got[name])) as image:
            assert np.array_equal(np.asarray(image), np.asarray(expected)), name


def test_many_requests_leave_no_files_or_memory(start, picture) -> None:
    server = start()
    given = [picture(16, 16), picture(8, 8, format="JPEG"), b"no picture", png_header(60_000, 60_000)]

    def some(client) -> None:
        for number in range(40):
            client.post("/v1/upscale?scale=2", content=given[number % 4])
            job = client.post("/v1/jobs?scale=2", content=given[number % 2]).headers["location"]
            client.get(job)
            client.delete(job)
            client.delete(job)

    with server.client() as client:
        some(client)
        before = figures(client)
        some(client)
        after = figures(client)
        assert has_nothing_left(client)
        assert after["process_open_fds"] == before["process_open_fds"]
        assert len(children(server.process.pid)) == 2
