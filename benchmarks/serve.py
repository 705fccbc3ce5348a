"""`a2f serve` under load, compared with a server that handles one request at a time.

python -m benchmarks.serve [--write] [--part load|together|memory] [--requests N]

There are three results: requests per second and the time of a request; whether small pictures are faster in batches;
and the memory of the server and its workers while it answers --requests pictures. The parts load and together need a
machine that does nothing else; they take three minutes on two cores. The part memory counts bytes alone.
"""

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.imageio import Picture, encode_image
from a2f.weights import find_shipped, read_weights
from benchmarks.machine import describe, suffix
from benchmarks.markdown import ROOT, fill, table, write_json
from benchmarks.overhead import photo

CORES = os.cpu_count() or 1
SERVERS = {"one at a time": None, "a2f serve": [], "a2f serve --workers 1": ["--workers", "1"]}
LOADS = ((128, 1, 40), (128, 8, 60), (128, 50, 100), (384, 1, 4), (384, 8, 16))  # side, clients, requests
ROUNDS = 2
SCALE = 2
SMALL_SIDES = (32, 64, 128)
REQUESTS = 10_000  # requests of the memory measurement
ONE_AT_A_TIME = """
import sys
import a2f, uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

async def upscale(request: Request) -> Response:
    data = await request.body()
    return Response(a2f.upscale(data, scale=int(request.query_params["scale"])), media_type="image/jpeg")

async def ready(request: Request) -> Response:
    return PlainTextResponse("ready")

app = Starlette(routes=[Route("/v1/upscale", upscale, methods=["POST"]), Route("/readyz", ready)])
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """The measurement of one server under one load, over all rounds.

    Attributes:
        server: name of the server.
        side: side of the pictures, pixels.
        clients: number of simultaneous clients. Each sends its next request when the last one is answered.
        requests: number of answered requests.
        per_s: answered requests per second.
        p50_ms: median time of a request.
        p99_ms: 99th percentile of the time of a request; the slowest one if there are fewer than 100.
    """

    server: str
    side: int
    clients: int
    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Together:
    """Pictures per second through one graph on one thread, with several batch sizes."""

    side: int
    alone: float
    by_four: float
    by_eight: float


def jpeg(side: int) -> bytes:
    """Resize the bundled photograph, and encode it as JPEG."""
    return encode_image(Picture(pixels=photo(side)), format="jpeg")


def ask(connection: http.client.HTTPConnection, body: bytes) -> None:
    """One request."""
    connection.request("POST", f"/v1/upscale?scale={SCALE}", body, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise SystemExit(f"the server answers {answer.status}")


@contextmanager
def running(options: list[str] | None, port: int) -> Iterator[int]:
    """Run a server on a port; without options, one that answers one request at a time. Yield its process id."""
    command = [sys.executable, "-c", ONE_AT_A_TIME, str(port)]
    if options is not None:
        command = [sys.executable, "-m", "a2f", "serve", "-q", "--port", str(port), "--max-memory", "4GB", *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def load(port: int, *, body: bytes, clients: int, requests: int) -> tuple[float, list[float]]:
    """Send requests; return the seconds of all of them together, and the seconds of each."""
    seconds: list[float] = []
    left = iter(range(requests))
    barrier = threading.Barrier(clients + 1)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.connect()
        barrier.wait()
        for _ in left:
            began = time.perf_counter()
            ask(connection, body)
            seconds.append(time.perf_counter() - began)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, seconds


def measure_loads() -> list[Load]:
    """Measure all servers under all loads, in turns."""
    found: dict[tuple[str, int, int], list[tuple[float, list[float]]]] = {}
    for number in range(ROUNDS):
        for offset, (name, options) in enumerate(SERVERS.items()):
            port = 8310 + offset
            with running(options, port):
                for clients in (CORES, 1):  # opens the networks, for pictures alone and beside others
                    load(port, body=jpeg(LOADS[0][0]), clients=clients, requests=8)
                for side, clients, requests in LOADS:
                    one = load(port, body=jpeg(side), clients=clients, requests=requests)
                    found.setdefault((name, side, clients), []).append(one)
                    print(f"round {number + 1}: {name}, {side} px, {clients} clients: {requests / one[0]:.2f}/s")
    return [measured(*key, rounds) for key, rounds in found.items()]


def measured(server: str, side: int, clients: int, rounds: list[tuple[float, list[float]]]) -> Load:
    """The row of one server under one load."""
    seconds = [one for _, each in rounds for one in each]
    p50, p99 = np.percentile(seconds, [50, 99], method="higher")
    return Load(
        server=server,
        side=side,
        clients=clients,
        requests=len(seconds),
        per_s=round(len(seconds) / sum(whole for whole, _ in rounds), 2),
        p50_ms=round(1000 * float(p50), 1),
        p99_ms=round(1000 * float(p99), 1),
    )


def measure_together() -> list[Together]:
    """Measure one graph on 1, 4 and 8 pictures at a time."""
    session = make_session(export_onnx(read_weights(find_shipped("sd", scale=SCALE).path)), threads=1)
    rows = []
    for side in SMALL_SIDES:
        x = np.ascontiguousarray(photo(side).astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255))
        print(f"{side} px together", flush=True)
        rates: dict[int, list[float]] = {1: [], 4: [], 8: []}
        for _ in range(ROUNDS + 1):
            for count, found in rates.items():
                batch = {"lr": np.repeat(x, count, 0)}
                runs = max(1, 200_000 // (side * side * 8 * count))
                session.run(None, batch)
                began = time.perf_counter()
                for _ in range(runs):
                    session.run(None, batch)
                found.append(count * runs / (time.perf_counter() - began))
        best = [round(statistics.median(found), 1) for found in rates.values()]
        rows.append(Together(side=side, alone=best[0], by_four=best[1], by_eight=best[2]))
    return rows


def resident_mb(pid: int) -> float:
    """The memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = [int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in (pid, *children)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_memory(requests: int) -> tuple[float, float]:
    """MB of server and workers after a tenth of the requests and after all. The pictures have several sizes."""
    bodies = [jpeg(side) for side in (16, 24, 33, 40, 48)]
    with running(["--workers", "2"], 8320) as pid:
        early = 0.0
        for part in range(10):
            for body in bodies:
                load(8320, body=body, clients=4, requests=requests // 50)
            late = resident_mb(pid)
            early = early or late
            print(f"{(part + 1) * requests // 10} requests: {late:.1f} MB", flush=True)
    return early, late


def told_loads(loads: list[Load]) -> str:
    """The table of loads."""
    rows = [["pictures", "clients", "server", "requests/s", "p50", "p99"]]
    for row in sorted(loads, key=lambda row: (row.side, row.clients)):
        name = f"{row.side} x {row.side}"
        server = f"`{row.server}`" if row.server.startswith("a2f") else row.server
        times = [f"{row.p50_ms:.0f} ms", f"{row.p99_ms:.0f} ms"]
        rows.append([name, str(row.clients), server, f"{row.per_s:.1f}", *times])
    return table(rows)


def told_together(together: list[Together]) -> str:
    """The table of batch sizes."""
    rows = [["pictures", "alone", "4 together", "8 together"]]
    rows += [[f"{r.side} x {r.side}", f"{r.alone}/s", f"{r.by_four}/s", f"{r.by_eight}/s"] for r in together]
    return table(rows)


def told_memory(early: float, late: float, requests: int) -> str:
    """The sentence about memory."""
    return (
        f"Server and workers: {early:.1f} MB after {requests // 10:,} requests, {late:.1f} MB after {requests:,} "
        f"({100 * (late / early - 1):+.1f} %)."
    )


def main() -> None:
    """Measure, print, and write on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks/serve.md")
    parser.add_argument("--part", choices=["load", "together", "memory"], help="measure only this part")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="requests of the memory part (default: 10,000)")
    a = parser.parse_args()

    def tell(part: str, text: str) -> None:
        told = f"{text}\n\n{describe()}; A²F-SD x{SCALE}, JPEG."
        print(told)
        if a.write:
            fill(ROOT / "docs" / "benchmarks" / "serve.md", f"serve_{part}{suffix()}", told)

    if a.part in (None, "together"):
        tell("together", told_together(measure_together()))
    if a.part in (None, "load"):
        loads = measure_loads()
        tell("load", told_loads(loads))
        if a.write:
            write_json(ROOT / "docs" / "benchmarks" / f"serve{suffix()}.json", describe(), loads)
    if a.part in (None, "memory"):
        early, late = measure_memory(a.requests)
        tell("memory", told_memory(early, late, a.requests))
        if late > 1.05 * early:
            raise SystemExit(f"the memory grew from {early:.1f} to {late:.1f} MB: more than 5 %")


if __name__ == "__main__":
    main()
