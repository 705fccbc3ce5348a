"""The cost of a cluster: 10^6 and 10^9 images on rented machines, the bottlenecks, and the effect of lost machines.

    python -m benchmarks.clusters [--write] [--vcpu-speed 1.0]

The input is the measurements of benchmarks/scale.py (docs/benchmarks/scale.json) and dated prices
(docs/benchmarks/instances.tsv, docs/benchmarks/store.tsv). A vCPU counts as one measured core. For other machines,
measure one of them (`python -m benchmarks.scale speed`) and pass the ratio as --vcpu-speed. The loss of machines is
simulated minute by minute, with a fixed seed.
"""

import argparse
import csv
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from a2f.batch.journal import MAX_STARTS
from a2f.distributed.driver import SLOTS
from benchmarks.markdown import ROOT, fill, table
from benchmarks.scale import kept

PAGE, FOLDER = ROOT / "docs" / "scale.md", ROOT / "docs" / "benchmarks"
COUNTS = (10**6, 10**9)
JOBS = ((512, 2, "float32"), (512, 2, "fast"), (1024, 4, "float32"), (1024, 4, "fast"))
WITHIN_H = {10**6: 24, 10**9: 24 * 30}
MONTH_H, STEP_S, SEED = 730, 60, 0
BOOT_S = 180  # seconds from the loss of a machine until its replacement works
LOST_TYPE, LOST_JOB = "c5.4xlarge", (512, 2, "float32")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A type of machine that can be rented.

    Attributes:
        name: name of the type.
        vcpus: number of vCPUs.
        usd_h: price per hour.
        spot_usd_h: spot price per hour (the provider may stop the machine); None if unknown.
    """

    name: str
    vcpus: int
    usd_h: float
    spot_usd_h: float | None


def machines() -> list[Machine]:
    """Read all listed machine types."""
    with (FOLDER / "instances.tsv").open(encoding="utf-8") as file:
        return [
            Machine(
                name=row["name"],
                vcpus=int(row["vcpus"]),
                usd_h=float(row["usd_an_hour"]),
                spot_usd_h=float(row["spot_usd_an_hour"]) if row["spot_usd_an_hour"] else None,
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


def store() -> dict[str, float]:
    """Prices and request rates of the object store."""
    with (FOLDER / "store.tsv").open(encoding="utf-8") as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file, delimiter="\t")}


def job_of(key: tuple[int, int, str]) -> dict[str, Any]:
    """The measurement of one size, scale and mode."""
    for row in kept()["speed"]["rows"]:
        if (row["side"], row["scale"], row["mode"]) == key:
            return dict(row)
    raise SystemExit(f"{key} is not measured: python -m benchmarks.scale speed")


def efficiency() -> float:
    """The speed of a cluster relative to plain processes on the same cores; at most 1."""
    runs = kept()["cluster"]
    return float(min(1.0, runs["cluster"][0] / runs["plain"][0]))


def hours_of(machine: Machine, count: int, job: dict[str, Any], speed: float) -> float:
    """Machine hours for a number of images."""
    return float(count * job["seconds"] / (machine.vcpus * speed * efficiency()) / 3600)


def requests_usd(count: int) -> float:
    """The price of the requests to the store for a number of images."""
    prices, asked = store(), kept()["requests"]["an_image"]
    return float(count / 1000 * sum(asked[kind] * prices[kind] for kind in ("put", "get")))


def usd(value: float) -> str:
    """Format an amount of money."""
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"


def costs(speed: float) -> str:
    """The table of the cost of each job on each machine."""
    rows = [["images", "LR side, scale, mode", "machine", "machine hours", "on demand", "spot", "requests", "in, out"]]
    for count in COUNTS:
        for key in JOBS:
            job = job_of(key)
            for machine in machines():
                hours = hours_of(machine, count, job, speed)
                spot = "" if machine.spot_usd_h is None else usd(hours * machine.spot_usd_h)
                moved = ", ".join(f"{count * job[name] / 1e12:,.2f} TB" for name in ("bytes_in", "bytes_out"))
                name = f"{key[0]}, x{key[1]}, {key[2]}"
                rows.append(
                    [
                        f"{count:,}",
                        name,
                        machine.name,
                        f"{hours:,.1f}",
                        usd(hours * machine.usd_h),
                        spot,
                        usd(requests_usd(count)),
                        moved,
                    ]
                )
    return table(rows)


def bottlenecks(speed: float) -> str:
    """The table of what a fleet needs to finish in time."""
    head = ["images", "LR side, scale, mode", "within", "vCPUs", "images/s", "Gbit/s of 16 vCPUs"]
    rows = [[*head, "PUT/s", "GET/s", "prefixes", "drivers"]]
    asked, paces = kept()["requests"]["an_image"], store()
    noted = max(row["per_second"] for row in kept()["driver"]["rows"])
    ray = 1 / kept()["cluster"]["driver_processor_s"]
    for count in COUNTS:
        for key in JOBS:
            job = job_of(key)
            pace = count / (WITHIN_H[count] * 3600)
            vcpus = math.ceil(pace * job["seconds"] / (speed * efficiency()))
            each = 16 * speed * efficiency() / job["seconds"] * (job["bytes_in"] + job["bytes_out"]) * 8 / 1e9
            put, get = pace * asked["put"], pace * asked["get"]
            prefixes = max(1, math.ceil(put / paces["put_pace"]), math.ceil(get / paces["get_pace"]))
            rows.append(
                [
                    f"{count:,}",
                    f"{key[0]}, x{key[1]}, {key[2]}",
                    f"{WITHIN_H[count] / 24:g} d",
                    f"{vcpus:,}",
                    f"{pace:,.0f}",
                    f"{each:.3f}",
                    f"{put:,.0f}",
                    f"{get:,.0f}",
                    str(prefixes),
                    str(math.ceil(pace / min(noted, ray))),
                ]
            )
    return table(rows)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The result of a simulated fleet with lost machines.

    Attributes:
        hours: time until all images were done.
        machine_hours: paid machine hours.
        losses: number of lost machines.
        again: number of images that were started again.
    """

    hours: float
    machine_hours: float
    losses: int
    again: float


def simulated(machine: Machine, count: int, seconds: float, *, fleet: int, lost_an_hour: float) -> Fleet:
    """Simulate a fleet minute by minute: machines are lost at random, and replaced after `BOOT_S`.

    Args:
        machine: type of all machines.
        count: number of images.
        seconds: time of an image on a vCPU.
        fleet: number of machines at the same time.
        lost_an_hour: mean share of the machines that are lost in an hour.
    """
    random = np.random.default_rng(SEED)
    chance = 1 - math.exp(-lost_an_hour * STEP_S / 3600)
    booting = np.zeros(max(1, round(BOOT_S / STEP_S)), dtype=int)  # each minute, the machines of one column are ready
    working, losses, minutes, paid, again, done = fleet, 0, 0, 0.0, 0.0, 0.0
    while done < count:
        lost = int(random.binomial(working, chance))
        under_way = lost * machine.vcpus * SLOTS
        done += (working - lost / 2) * machine.vcpus * STEP_S / seconds - under_way / 2
        again += under_way
        losses += lost
        paid += (working + booting.sum()) * STEP_S / 3600
        working += int(booting[0]) - lost
        booting = np.append(booting[1:], lost)
        minutes += 1
    return Fleet(hours=minutes * STEP_S / 3600, machine_hours=paid, losses=losses, again=again)


def failures(speed: float) -> str:
    """The table of the cost of lost machines, from published rates of spot machines up to extreme rates."""
    machine = next(machine for machine in machines() if machine.name == LOST_TYPE)
    seconds = job_of(LOST_JOB)["seconds"] / (speed * efficiency())
    head = ["images", "machines", "lost", "losses", "hours", "machine hours", "more than without", "begun again"]
    rows = [[*head, f"images lost {MAX_STARTS} times, expected"]]
    for count in COUNTS:
        fleet = math.ceil(count * seconds / machine.vcpus / 3600 / WITHIN_H[count])
        plain = simulated(machine, count, seconds, fleet=fleet, lost_an_hour=0)
        for told, rate in (
            (f"{store()['spot_loss']:.0%} a month", store()["spot_loss"] / MONTH_H),
            ("5% an hour", 0.05),
            ("50% an hour", 0.5),
        ):
            run = simulated(machine, count, seconds, fleet=fleet, lost_an_hour=rate)
            # A machine holds SLOTS images per vCPU, so each image is in progress for SLOTS times its own seconds.
            often = count * (1 - math.exp(-rate * SLOTS * seconds / 3600)) ** MAX_STARTS
            rows.append(
                [
                    f"{count:,}",
                    str(fleet),
                    told,
                    f"{run.losses:,}",
                    f"{run.hours:,.1f}",
                    f"{run.machine_hours:,.0f}",
                    f"{run.machine_hours / plain.machine_hours - 1:.2%}",
                    f"{run.again / count:.4%}",
                    f"{often:.0e}",
                ]
            )
    return table(rows)


def main() -> None:
    """Compute and print; with --write, update the tables in docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--vcpu-speed", type=float, default=1.0, help="speed of a vCPU relative to the measured core")
    a = parser.parse_args()
    for mark, made in (("costs", costs), ("bottlenecks", bottlenecks), ("failures", failures)):
        text = made(a.vcpu_speed)
        print(f"{text}\n")
        if a.write:
            fill(PAGE, mark, text)


if __name__ == "__main__":
    main()
