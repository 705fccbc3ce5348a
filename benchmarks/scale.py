"""Measurements for docs/scale.md: images per second of one core, of a cluster, and of the driver.

    python -m benchmarks.scale speed      one core, by size and mode: decode, network, encode and file
    python -m benchmarks.scale cluster    two raylets compared with `--jobs 2` on the same cores (needs the extra ray)
    python -m benchmarks.scale requests   requests to the object store per image (needs moto and the extra remote)
    python -m benchmarks.scale driver     how many images per second the journal of one driver can record
    python -m benchmarks.scale tables     print the stored measurements; --write updates docs/scale.md

Each measurement is stored in docs/benchmarks/scale.json. Measure on an idle machine: other programs change the results.
"""

import argparse
import io
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from a2f.batch.journal import Facts, Item, Journal
from a2f.batch.plan import Layout, ResumeOptions, plan
from a2f.batch.sources import Found
from a2f.distributed.bench import End, Whole
from a2f.distributed.driver import SLOTS, Answered, Driver, Event, Opened
from a2f.imageio import encode_image, read_image
from a2f.imageio.picture import Picture
from a2f.pipeline import Request, decide, write
from a2f.runtime.options import EngineOptions
from a2f.sizes import Target
from a2f.upscalers import Models, Upscalers
from benchmarks.machine import describe
from benchmarks.markdown import ROOT, fill, table
from benchmarks.overhead import photo

KEPT, PAGE = ROOT / "docs" / "benchmarks" / "scale.json", ROOT / "docs" / "scale.md"
SIDES, SCALES, MODES = (256, 512, 1024), (2, 4), ("float32", "fast")
SECONDS_EACH, MIN_RUNS = 0.7, 2  # minimum measuring time and number of runs per row
QUALITY = 92
IMAGES, FEW, ROUNDS = 80, 16, 3  # settings of the comparison with a cluster
BEGINNING = 16  # results that do not count: the second worker of a cluster starts while the first one already works
ITEMS = 3_000  # items for the measurement of the journal


def jpeg(side: int) -> bytes:
    """Resize the bundled photograph, and encode it as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(photo(side)).save(stream, "jpeg", quality=QUALITY)
    return stream.getvalue()


def repeated(do: Any) -> float:
    """Median processor seconds of a call, without the first call. Other programs hardly change processor time."""
    do()
    seconds: list[float] = []
    end = time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < end or len(seconds) < MIN_RUNS:
        began = time.process_time()
        do()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def speed_of(side: int, scale: int, mode: str, folder: Path) -> dict[str, Any]:
    """Measure one row: JPEG to JPEG with one thread on one core."""
    source, output = folder / f"{side}.jpg", folder / f"{side}_x{scale}.jpg"
    source.write_bytes(jpeg(side))
    upscalers = Upscalers(EngineOptions(threads=1, dtype=mode))
    models = Models(model="sd", scales=(scale,), open=upscalers.open)
    request = Request(target=Target(scale=scale), overwrite=True)
    total = repeated(lambda: write(decide(source, models, request, output=output)))
    decode = repeated(lambda: read_image(source))
    made = Picture(pixels=read_image(output).pixels, format="jpeg")
    encode = repeated(lambda: encode_image(made, format="jpeg"))
    return {
        "side": side,
        "scale": scale,
        "mode": mode,
        "seconds": total,
        "decode": decode,
        "encode": encode,
        "bytes_in": source.stat().st_size,
        "bytes_out": output.stat().st_size,
        "engine": upscalers.descriptions()[0],
    }


def speed() -> dict[str, Any]:
    """Measure all rows on the last core that this process may use."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    with tempfile.TemporaryDirectory() as folder:
        rows = [speed_of(side, s, m, Path(folder)) for side in SIDES for s in SCALES for m in MODES]
    return {"machine": describe(), "rows": rows}


def upscaled(given: Path, out: Path, *more: str) -> tuple[float, float, float]:
    """Run `a2f upscale`: images per second after the first `BEGINNING`, total seconds, processor seconds."""
    command = [sys.executable, "-m", "a2f", "upscale", str(given), "-o", str(out), "-s", "2", "--resume", "-q", *more]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    with Journal(out / ".a2f-journal.sqlite", read_only=True) as journal:
        ended = [at for (at,) in journal.rows("SELECT ended FROM items ORDER BY ended")]
    skipped = min(BEGINNING, len(ended) // 2) - 1
    pace = (len(ended) - 1 - skipped) / (ended[-1] - ended[skipped])
    return pace, seconds, usage.ru_utime + usage.ru_stime


def cluster() -> dict[str, Any]:
    """Measure plain processes and a cluster in turns, on the same files and cores."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    ways = {"plain": ["--jobs", "2"], "cluster": ["--ray", machines.address]}
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many, few = folder / "many", folder / "few"
        for given, count in ((many, IMAGES), (few, FEW)):
            given.mkdir()
            for i in range(count):
                pixels = np.roll(photo(256), 7 * i, axis=(0, 1))
                Image.fromarray(pixels).save(given / f"{i:03d}.jpg", quality=QUALITY)
        short = upscaled(few, folder / "few-out", "--ray", machines.address)
        for number in range(ROUNDS):
            for way, more in ways.items():
                found[way].append(upscaled(many, folder / f"{way}-{number}", *more))
                print(way, *(f"{value:.2f}" for value in found[way][-1]), flush=True)
    machines.shutdown()
    median = {way: [statistics.median(column) for column in zip(*runs, strict=True)] for way, runs in found.items()}
    driver_s = (median["cluster"][2] - short[2]) / (IMAGES - FEW)
    return {"machine": describe(), "images": IMAGES, **median, "driver_processor_s": driver_s}


class Requests(logging.Handler):
    """Counts the requests in the log of an S3 simulator, by price class."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        found = re.search(r"(GET|HEAD|PUT|POST|DELETE) (\S+)", record.getMessage())
        if found is not None:
            is_read = found[1] in ("GET", "HEAD") and "list-type" not in found[2]
            self.counts["get" if is_read else "put"] += 1


def requests() -> dict[str, Any]:
    """Measure the requests per image of a batch."""
    import s3fs
    from moto.server import ThreadedMotoServer

    counting, log = Requests(), logging.getLogger("werkzeug")
    log.setLevel(logging.INFO)
    log.addHandler(counting)
    log.propagate = False
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys, AWS_ENDPOINT_URL=f"http://{host}:{port}")
    system, counts = s3fs.S3FileSystem(use_listings_cache=False), {}
    with tempfile.TemporaryDirectory() as folder:
        for number in (4, 12):
            system.mkdir(f"in{number}")
            system.mkdir(f"out{number}")
            for i in range(number):
                system.pipe(f"in{number}/{i}.jpg", jpeg(64))
            counting.counts.clear()
            command = [sys.executable, "-m", "a2f", "upscale", f"s3://in{number}", "-o", f"s3://out{number}", "-q"]
            journal = str(Path(folder) / f"{number}.sqlite")
            subprocess.run([*command, "-s", "2", "--resume", "--journal", journal], check=True)
            counts[number] = dict(counting.counts)
    server.stop()
    return {"an_image": {kind: (counts[12][kind] - counts[4][kind]) / 8 for kind in ("get", "put")}}


@dataclass
class Instant:
    """A `Crew` of workers that answer at once."""

    journal: Journal
    workers: int
    items: dict[int, Item] = field(default_factory=dict)
    happens: list[Event] = field(default_factory=list)
    hired: int = 0

    def wanted(self) -> int:
        """All of them."""
        return self.workers

    def hire(self) -> int:
        """One more."""
        self.hired += 1
        self.happens.append(Opened(worker=self.hired, note=""))
        return self.hired

    def dismiss(self, worker: int) -> None:
        """Nothing."""

    def enlarge(self, worker: int, item: Item) -> None:
        """Report a finished result."""
        self.items[item.id] = item
        facts = Facts(bytes=item.bytes, version=item.version, sha256="0" * 64, recipe=self.journal.recipe)
        whole = Whole(output_sha256="1" * 64, facts=facts)
        self.happens.append(Answered(worker=worker, item=item.id, report=whole))

    def place(self, worker: int, item: int) -> None:
        """Done."""
        note = partial(Journal.done, item=self.items.pop(item), output=(1, "1"), seconds=1.0)
        self.happens.append(Answered(worker=worker, item=item, report=End(note=note, outcome="done")))

    def events(self) -> Sequence[Event]:
        """The answers since the last call."""
        happens, self.happens = self.happens, []
        return happens


def driver() -> dict[str, Any]:
    """Measure images per second through the journal, by the number of workers that answer together."""
    rows = []
    for workers in (2, 16, 128):
        with tempfile.TemporaryDirectory(dir=ROOT) as folder, Journal(Path(folder) / "journal.sqlite") as journal:
            found = (Found(source=f"s3://in/{i}.jpg", below=f"{i}.jpg", bytes=i + 1, version="v") for i in range(ITEMS))
            plan(journal, found, Layout(mark="", output=folder), ResumeOptions(resume=True), recipe="{}")
            run = Driver(journal, Instant(journal, workers), lost=lambda item, error: "lost").run()
            began = time.perf_counter()
            assert sum(1 for _ in run) == ITEMS
            rows.append({"workers": workers, "per_second": ITEMS / (time.perf_counter() - began)})
    return {"machine": describe(), "rows": rows}


def kept() -> dict[str, Any]:
    """Read the stored measurements."""
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return found


def tables() -> dict[str, str]:
    """The generated parts of docs/scale.md, by mark."""
    found = kept()
    head = ["LR side", "scale", "mode", "images a second a core", "decode", "network", "encode", "in", "out"]
    rows = [head]
    for row in found["speed"]["rows"]:
        shares = [row["decode"], row["seconds"] - row["decode"] - row["encode"], row["encode"]]
        rows.append(
            [
                str(row["side"]),
                f"x{row['scale']}",
                row["mode"],
                f"{1 / row['seconds']:.2f}",
                *(f"{max(0, share) / row['seconds']:.0%}" for share in shares),
                *(f"{row[name] / 1000:,.0f} kB" for name in ("bytes_in", "bytes_out")),
            ]
        )
    speed_text = f"{table(rows)}\n\n{found['speed']['machine']}; one thread on one core, medians of processor time."
    runs = found["cluster"]
    compared = [["", "images a second", "seconds in all", "of plain"]]
    for way, name in (("plain", "`--jobs 2`"), ("cluster", "`--ray`, two raylets with a core each")):
        pace, seconds, _ = runs[way]
        compared.append([name, f"{pace:.2f}", f"{seconds:.1f}", f"{pace / runs['plain'][0]:.2f}"])
    cluster_text = (
        f"{table(compared)}\n\n{runs['machine']}; {runs['images']} JPEG files of 256 x 256 pixels, x2, medians of "
        f"{ROUNDS} runs in turns; images a second after the first {BEGINNING} results, when all workers have started."
    )
    paces = [["workers that answer together", "images a second"]]
    paces += [[f"{row['workers'] * SLOTS}", f"{row['per_second']:,.0f}"] for row in found["driver"]["rows"]]
    driver_text = (
        f"{table(paces)}\n\n{found['driver']['machine']}. That is without Ray; with it, the driver took "
        f"{1000 * runs['driver_processor_s']:.1f} ms of processor time an image in the comparison above."
    )
    asked = found["requests"]
    requests_text = table(
        [
            ["requests an image", "GET, HEAD", "PUT, LIST"],
            ["", *(f"{asked['an_image'][kind]:.1f}" for kind in ("get", "put"))],
        ]
    )
    return {"speed": speed_text, "cluster": cluster_text, "driver": driver_text, "requests": requests_text}


def main() -> None:
    """Measure and store, or print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "cluster", "driver", "requests", "tables"))
    parser.add_argument("--write", action="store_true", help="tables: update docs/scale.md")
    a = parser.parse_args()
    if a.what != "tables":
        measured = {"speed": speed, "cluster": cluster, "driver": driver, "requests": requests}[a.what]()
        KEPT.write_text(json.dumps({**kept(), a.what: measured}, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(measured, indent=1))
        return
    for mark, text in tables().items():
        print(f"{text}\n")
        if a.write:
            fill(PAGE, mark, text)


if __name__ == "__main__":
    main()
