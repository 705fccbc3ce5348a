"""Tables 2 and 3: as printed, and trained again with a small budget (`python -m benchmarks.paper.train`)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from a2f.evaluation.published import SETS
from a2f.profiling.cost import lr_size, multi_adds
from a2f.variants import ABLATIONS, A2FConfig, ablation_of, config_of, count_parameters
from benchmarks.markdown import table
from benchmarks.paper.printed import printed_table
from benchmarks.paper.train import NETWORKS, RESULTS, SCALE, SEEDS, config_named

CONFIDENCE = 0.95
PRINTED_2 = {"BASELINE": "baseline", "BASELINE-MP": "baseline-mp", "A²F-L-NOCA": "l-noca", "A²F-L": "l"}
TITLES = {
    "s-baseline": "BASELINE",
    "s-baseline-mp": "BASELINE-MP",
    "s-noca": "A²F-S-NOCA",
    "s-noca-mp": "A²F-S-NOCA-MP",
    "s": "A²F-S",
    "sd-head1": "1x1",
    "sd-head3": "3x3",
    "sd-head5": "5x5",
    "sd-head7": "7x7",
}
# The conclusions of the paper: the first network is better than the second because of the third item.
CLAIMS = {
    2: (
        ("s-noca", "s-baseline", "projection"),
        ("s-noca", "s-baseline-mp", "projection, at no fewer parameters"),
        ("s", "s-noca", "attention"),
        ("s", "s-noca-mp", "attention, at no fewer parameters"),
    ),
    3: (
        ("sd-head3", "sd-head1", "a head of 3x3 against 1x1"),
        ("sd-head3", "sd-head5", "a head of 3x3 against 5x5"),
        ("sd-head3", "sd-head7", "a head of 3x3 against 7x7"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The results of one table.

    Attributes:
        scores: network -> seed -> set -> picture -> PSNR-Y, dB.
        steps: steps of each run.
        recipe: name of the recipe.
        minutes: training time of all runs.
    """

    scores: Mapping[str, Mapping[int, Mapping[str, Mapping[str, float]]]]
    steps: int
    recipe: str
    minutes: float

    def mean(self, network: str, seed: int, data: str | None) -> float:
        """The PSNR-Y of a run: the mean over the pictures of a set, or of all sets for None."""
        sets = self.scores[network][seed]
        values = [v for name, pictures in sets.items() if data in (None, name) for v in pictures.values()]
        return float(np.mean(values))

    @property
    def sets(self) -> list[str]:
        """The sets on which all runs were measured, in the order of the paper."""
        runs = [run for seeds in self.scores.values() for run in seeds.values()]
        return [name for name in SETS if all(name in run for run in runs)]

    @property
    def pictures(self) -> int:
        """The number of pictures in all sets."""
        first = next(iter(next(iter(self.scores.values())).values()))
        return sum(len(first[name]) for name in self.sets)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of two networks, dB, paired by seed, with its confidence interval."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """In words."""
        if self.seeds < 2:
            return "one seed tells nothing of chance"
        if self.low > 0:
            return "confirmed"
        return "contradicted" if self.high < 0 else "not resolved"


def read_trained(number: int, folder: Path = RESULTS) -> Trained | None:
    """Read the stored results of a table; None if there are none.

    Raises:
        SystemExit: if the runs have different lengths or recipes and cannot be compared.
    """
    found: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    kinds: set[tuple[int, str]] = set()
    minutes = 0.0
    for network in NETWORKS[number]:
        for path in sorted(folder.glob(f"{network}_x{SCALE}_seed*.json")):
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            images = {name: {k: v[0] for k, v in pictures.items()} for name, pictures in kept["images"].items()}
            found.setdefault(network, {})[kept["seed"]] = images
            kinds.add((kept["steps"], kept["recipe"]))
            minutes += kept["minutes"]
    if not found:
        return None
    if len(kinds) > 1:
        raise SystemExit(f"runs in {folder} differ in steps or recipe: {sorted(kinds)}; keep those of one kind")
    ((steps, recipe),) = kinds
    return Trained(scores=found, steps=steps, recipe=recipe, minutes=minutes)


def difference(trained: Trained, better: str, worse: str, data: str | None = None) -> Difference | None:
    """The mean difference over the seeds that both networks have; None without any.

    The interval is Student's t interval for paired differences. The seeds are the independent trials, because the
    pictures of one run depend on each other.
    """
    seeds = sorted(trained.scores.get(better, {}).keys() & trained.scores.get(worse, {}).keys())
    if not seeds:
        return None
    values = np.array([trained.mean(better, seed, data) - trained.mean(worse, seed, data) for seed in seeds])
    mean, half = float(values.mean()), math.inf
    if len(seeds) > 1:
        error = float(values.std(ddof=1)) / math.sqrt(len(seeds))
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(seeds) - 1)) * error
    return Difference(mean=mean, low=mean - half, high=mean + half, seeds=len(seeds))


def costs_of(config: A2FConfig) -> tuple[float, float]:
    """Parameters (thousands) and Multi-Adds (10^9), counted by the rules of the paper."""
    width, height = lr_size(config.scale)
    operations = multi_adds(config, width=width, height=height, convention="table6")
    return count_parameters(config) / 1000, operations / 1e9


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}"


def table_2() -> str:
    """Table 2 as printed, with counted costs, and A²F-S x4 trained again."""
    rows = [["network", "PU", "CA", "parameters, K: printed", "counted", "Multi-Adds, G: printed", "counted", *SETS]]
    for row in printed_table(2):
        name = PRINTED_2.get(row["model"])
        counted = ["-", "-"]
        if name:
            config = ablation_of(name, scale=2) if name in ABLATIONS else config_of(name, scale=2)
            parameters, operations = costs_of(config)
            counted = [f"{parameters:.1f}", f"{operations:.1f}"]
        used = ["yes" if row[key] == "yes" else "" for key in ("projection", "attention")]
        cells = [row["model"], *used, row["parameters_k"], counted[0], row["multi_adds_g"], counted[1]]
        rows.append([*cells, *(row[name] for name in SETS)])
    return f"As printed, x2, PSNR-Y in dB:\n\n{table(rows)}\n\n{_anew(2, 'A²F-S x4')}"


def table_3() -> str:
    """Table 3 as printed, with counted parameters, and A²F-SD x4 trained again."""
    rows = [["kernel", "parameters, K: printed", "counted", *SETS]]
    for row in printed_table(3):
        config = ablation_of(f"sd-head{row['kernel'][0]}", scale=4)
        counted = f"{costs_of(config)[0]:.2f}"
        rows.append([row["kernel"], row["parameters_k"], counted, *(row[name] for name in SETS)])
    misprint = "38.13 of 5x5 on Manga109 is a misprint."
    return f"As printed, A²F-SD x4, PSNR-Y in dB. {misprint}\n\n{table(rows)}\n\n{_anew(3, 'A²F-SD x4')}"


def _anew(number: int, what: str) -> str:
    """The results of our trainings."""
    trained = read_trained(number)
    if trained is None:
        return f"Trained again, {what}: there is no run yet. `python -m benchmarks.paper.train --list` names the runs."
    seeds = {len(runs) for runs in trained.scores.values()}
    spread = f"{min(seeds)} to {max(seeds)} seeds" if len(seeds) > 1 else f"{max(seeds)} seeds"
    told = (
        f"Trained again, {what}: recipe `{trained.recipe}`, {trained.steps:,} steps for each network, {spread} each, "
        f"{trained.minutes / 60:.1f} hours in total. Mean PSNR-Y over the seeds ± their standard deviation, dB; "
        f'"all" is the mean over all {trained.pictures} pictures.'
    )
    return "\n\n".join([told, table(_means(number, trained)), table(_claims(number, trained)), _order(number, trained)])


def _means(number: int, trained: Trained) -> list[list[str]]:
    rows = [["network", "parameters, K", "Multi-Adds, G", "seeds", *trained.sets, "all"]]
    for network in (n for n in NETWORKS[number] if n in trained.scores):
        parameters, operations = costs_of(config_named(network))
        seeds = trained.scores[network]
        cells = []
        for data in (*trained.sets, None):
            values = [trained.mean(network, seed, data) for seed in seeds]
            deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{deviation}")
        rows.append([TITLES[network], f"{parameters:.1f}", f"{operations:.2f}", str(len(seeds)), *cells])
    return rows


def _claims(number: int, trained: Trained) -> list[list[str]]:
    rows = [["the paper says: better", "than", "by", *trained.sets, "all", "95 % interval of all", "verdict"]]
    for better, worse, why in CLAIMS[number]:
        whole = difference(trained, better, worse)
        if whole is None:
            continue
        each = [difference(trained, better, worse, data) for data in trained.sets]
        cells = [_signed(d.mean, 3) for d in each if d]
        interval = f"{whole.low:+.3f} to {whole.high:+.3f}" if whole.seeds > 1 else "-"
        rows.append([TITLES[better], TITLES[worse], why, *cells, _signed(whole.mean, 3), interval, whole.verdict])
    return rows


def _order(number: int, trained: Trained) -> str:
    """A sentence that says whether the claims hold here."""
    found = [difference(trained, better, worse) for better, worse, _ in CLAIMS[number]]
    known = [d for d in found if d is not None]
    count = {verdict: sum(d.verdict == verdict for d in known) for verdict in ("confirmed", "contradicted")}
    open_ = len(CLAIMS[number]) - count["confirmed"] - count["contradicted"]
    names = [n for n in NETWORKS[number] if n in trained.scores]
    order = sorted(names, key=lambda n: -_overall(trained, n))
    if count["confirmed"] == len(CLAIMS[number]):
        said = "The paper's order is confirmed at this budget."
    else:
        said = (
            f"Of the paper's {len(CLAIMS[number])} claims, this budget confirms {count['confirmed']}, contradicts "
            f"{count['contradicted']} and does not resolve {open_}."
        )
    complete = all(len(trained.scores.get(n, {})) == len(SEEDS) for n in NETWORKS[number])
    left = "" if complete else " Some runs are still missing."
    return (
        f"{said} By mean, best first: {', '.join(TITLES[n] for n in order)}. A claim is confirmed if the 95 % interval "
        f"of the paired differences is above 0 (Student's t over the seeds, no correction for several claims). The "
        f"budget is small: the paper trained for a million steps.{left}"
    )


def _overall(trained: Trained, network: str) -> float:
    return float(np.mean([trained.mean(network, seed, None) for seed in trained.scores[network]]))


def verdicts(number: int, trained: Trained) -> Sequence[str]:
    """The verdict on each claim of a table, in order; the tests use it."""
    found = [difference(trained, better, worse) for better, worse, _ in CLAIMS[number]]
    return [d.verdict if d else "missing" for d in found]
