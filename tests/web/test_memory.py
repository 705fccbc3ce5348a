"""The memory of a server does not grow with the number of requests."""

import itertools
import threading

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.nightly]

REQUESTS, EARLY = 10_000, 1_000
CLIENTS = 4
PATIENCE_S = 600  # a machine that stands still for a while is no failure
MAX_GROWTH = 0.05  # of the memory after EARLY requests


def resident_bytes(pid: int) -> int:
    """The memory of a process and its children."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children()))


def bodies_of(picture) -> list[bytes]:
    """Pictures of several formats, sizes and modes, and a body that is no picture."""
    jpegs = [
        picture(side, side + 3, format="JPEG", quality=quality) for side, quality in ((16, 95), (33, 60), (48, 80))
    ]
    pngs = [picture(24, 17), picture(9, 40, mode="RGBA"), picture(31, 8, mode="L")]
    return [*jpegs, *pngs, picture(20, 20, format="WEBP"), b"no picture"]


def ask(client, body: bytes, kind: int) -> int:
    """Send a body in one of five ways; returns the number of requests that it took."""
    if kind == 0:
        client.post("/v1/upscale?scale=2", content=body)
    elif kind == 1:
        client.post("/v1/upscale", files={"image": ("a.png", body)}, data={"max_side": "50", "format": "png"})
    elif kind == 2:
        client.post("/v1/upscale?scale=3&format=webp&force=true", content=body)
    elif kind == 3:
        client.post("/v1/upscale?scale=5&no-such=option", content=body)
    else:
        return ask_as_job(client, body)
    return 1


def ask_as_job(client, body: bytes) -> int:
    """Send a body as a job, follow it, fetch its result and delete it."""
    submitted = client.post("/v1/jobs?scale=2", content=body)
    if submitted.status_code != 202:
        return 1
    job = submitted.headers["location"]
    told = client.get(f"{job}/events").text
    assert '"status": "done"' in told, told
    assert client.get(f"{job}/result").status_code == 200
    client.delete(job)
    return 4


def test_ten_thousand_requests_leave_the_memory_as_one_thousand_did(start, picture) -> None:
    server = start(workers=2, header_s=PATIENCE_S)
    bodies = bodies_of(picture)
    numbers, sent = itertools.count(), [0] * CLIENTS
    failures: list[BaseException] = []

    def send_until(total: int, place: int) -> None:
        try:
            with httpx.Client(base_url=server.address, timeout=PATIENCE_S, trust_env=False) as client:
                while sum(sent) < total:
                    number = next(numbers)
                    sent[place] += ask(client, bodies[number % len(bodies)], number % 5)
        except BaseException as error:
            failures.append(error)

    found: list[int] = []
    for total in range(EARLY, REQUESTS + 1, EARLY):
        threads = [threading.Thread(target=send_until, args=(total, place)) for place in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        found.append(resident_bytes(server.process.pid))
        print(f"{sum(sent):,} requests: {found[-1] / 1e6:.1f} MB", flush=True)
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    assert "a2f_workers_lost_total 0.0" in lines  # a new worker would be smaller than one that grew
    assert found[-1] <= (1 + MAX_GROWTH) * found[0], found
