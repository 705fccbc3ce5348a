"""``a2f profile``."""

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from a2f.cli.console import print_table
from a2f.cli.parameters import POSITIVE, OwnNetworkType, complete_scale, engine_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from a2f.peers.files import Network
    from a2f.upscaler import Upscaler
    from a2f.variants import A2FConfig
    from a2f.weights import Weights

EPILOG = """\b
Examples:
  All 12 networks of the paper:
    a2f profile
  Counted as the paper counts A²F, as JSON:
    a2f profile --paper --json
  Time and peak memory on this machine:
    a2f profile sd -s 4 --latency --memory --threads 1
  Compare two engines:
    a2f profile sd -s 4 --latency --engine openvino --dtype bfloat16 --reference onnxruntime
  A network of another paper, and your own:
    a2f profile carn-m -s 4
    a2f profile --network my.py:Net -s 4
"""
HEADS = {
    "parameters": "parameters",
    "folded": "folded",
    "multi_adds_g": "Multi-Adds, G",
    "multi_adds_g_32x32": "at 32x32, G",
    "activations_m": "activations, M",
    "receptive_px": "receptive radius, px",
    "printed_parameters_k": "printed, K",
    "printed_multi_adds_g": "printed, G",
    "median_s": "median, s",
    "fastest_s": "fastest",
    "slowest_s": "slowest",
    "reference_s": "reference, s",
    "ratio": "ratio",
    "peak_memory_mb": "peak memory, MB",
}
COSTS = ("parameters", "folded", "multi_adds_g", "multi_adds_g_32x32", "activations_m", "receptive_px")
PRINTED = ("printed_parameters_k", "printed_multi_adds_g")

DECIMALS = {
    "multi_adds_g": 2, "multi_adds_g_32x32": 3, "activations_m": 2, "median_s": 4, "fastest_s": 4, "slowest_s": 4,
    "reference_s": 4, "ratio": 2, "peak_memory_mb": 1,
}  # fmt: skip


@click.command(epilog=EPILOG)
@click.argument("model", required=False, metavar="[MODEL]")
@click.option("-s", "--scale", type=int, metavar="N", shell_complete=complete_scale, help="2, 3 or 4.  [default: all]")
@click.option(
    "--network",
    type=OwnNetworkType(),
    metavar=OwnNetworkType.name,
    help="Your own network instead of MODEL; the class is called with the scale.",
)
@click.option(
    "--paper",
    is_flag=True,
    help="Count as the paper counts A²F: with biases, ReLUs, pooled values. Add the figures that the paper prints.",
)
@click.option("--latency", is_flag=True, help="Measure the time for 1280x720 output, in turns with the reference.")
@click.option("--memory", is_flag=True, help="Measure the peak memory for 1280x720 output, in its own process.")
@engine_options
@click.option(
    "--threads",
    type=POSITIVE,
    metavar="N",
    help="Threads of a run, equal for all engines.  [default: $OMP_NUM_THREADS, or all cores]",
)
@click.option(
    "--reference",
    metavar="ENGINE[:DTYPE]",
    help="Engine to compare with for --latency.  [default: torch if installed]",
)
@click.option("--rounds", type=POSITIVE, default=5, show_default=True, help="Number of turns of --latency.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profile(
    model: str | None,
    scale: int | None,
    network: str | None,
    paper: bool,
    latency: bool,
    memory: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure the cost of networks: parameters, Multi-Adds, activations, receptive field, time, memory.

    MODEL is s, sd, m, l, one of the ablations (baseline, baseline-mp, l-noca, s-baseline, s-baseline-mp, s-noca,
    s-noca-mp, sd-head1, sd-head3, sd-head5, sd-head7), or a network of another paper: srcnn, vdsr, carn-m, imdn, edsr,
    ... (docs/peers.md lists them). The cost does not depend on the weights: sd-robust is equal to sd.
    """
    from a2f.peers import PEERS

    if model and network:
        raise click.UsageError("MODEL and --network are both given: choose one")
    named = network or (model if model in PEERS else None)
    if named:
        rows = _network_rows(named, scale, paper=paper, latency=latency, memory=memory, **how)
    else:
        rows = _family_rows(model, scale, paper=paper, latency=latency, memory=memory, **how)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    printed = [name for name in PRINTED if any(row.get(name) is not None for row in rows)]
    _table(rows, [*COSTS, *printed])
    click.echo(f"\n{_caption(paper=paper, printed=bool(printed))}")
    measured = [name for name in HEADS if name not in (*COSTS, *PRINTED) and name in rows[0]]
    if measured:
        click.echo()
        _table(rows, measured)
        click.echo(f"\nFor 1280x720 output. {rows[0]['engine']}{_against(rows[0])}.")


def _caption(*, paper: bool, printed: bool) -> str:
    """The text below the table of costs."""
    convention = "as the paper counts A²F: with biases, ReLUs, pooled values (Table 6); at 32x32 with biases (Table 5)"
    lines = [
        "folded: parameters after weight normalisation is merged into the kernels.",
        "Multi-Adds and activations (outputs of all convolutions): for 1280x720 output, or a 32x32 LR image.",
        f"Multi-Adds: {convention if paper else 'of the convolutions'}.",
        "receptive radius: radius of the receptive field, LR pixels.",
    ]
    if printed:
        lines += [
            "printed: thousands of parameters and 10^9 Multi-Adds in Tables 5 and 6 of the paper. These tables count",
            "other methods in other ways than A²F; docs/peers.md explains each.",
        ]
    return "\n".join(lines)


def _printed(network: str, scale: int) -> dict[str, Any]:
    """The figures that the paper prints for a network; None if it prints none."""
    from a2f.evaluation.published import published

    row = published(network, scale=scale)
    return dict(zip(PRINTED, (row and row.parameters_k, row and row.multi_adds_g), strict=True))


def _family_rows(
    model: str | None, scale: int | None, *, paper: bool, latency: bool, memory: bool, **how: Any
) -> list[dict[str, Any]]:
    """Make the rows of A²F networks and ablations."""
    from a2f.peers import PEERS
    from a2f.variants import ABLATIONS, SCALES, VARIANTS, ablation_of, config_of, unknown_network
    from a2f.weights import network_of

    name = network_of(model) if model else None
    if name is not None and name not in {**VARIANTS, **ABLATIONS}:
        raise unknown_network(name, [*VARIANTS, *ABLATIONS, *PEERS])
    names = [name] if name else list(VARIANTS)
    scales = [scale] if scale else list(SCALES)
    configs = [ablation_of(n, scale=s) if n in ABLATIONS else config_of(n, scale=s) for n in names for s in scales]
    rows: list[dict[str, Any]] = [{"model": c.variant, "scale": c.scale, **_cost(c, paper=paper)} for c in configs]
    for row, config in zip(rows, configs, strict=True):
        row |= _printed(config.variant, config.scale) if paper else {}
        if latency:
            weights = _some_weights(config)
            row |= _latency(partial(_open_weights, weights), weights.label, config.scale, **how)
        row |= _memory(config, **how) if memory else {}
    return rows


def _network_rows(
    name: str, scale: int | None, *, paper: bool, latency: bool, memory: bool, **how: Any
) -> list[dict[str, Any]]:
    """Make the rows of a network of another paper or of the user; it is counted while it runs on shapes."""
    from a2f.external import open_network_engine
    from a2f.peers import PEERS
    from a2f.peers.files import Network, open_network
    from a2f.variants import SCALES

    rows = []
    for s in [scale] if scale else PEERS[name].scales if name in PEERS else SCALES:
        network = open_network(name, scale=s)
        row = {"model": name, "scale": s, **_network_cost(network, s, paper=paper)}
        row |= _printed(name, s) if paper else {}

        def opened(engine: Any, *, network: Network = network, **rest: Any) -> "Upscaler":
            return open_network_engine(network, engine=engine, **rest)

        row |= _latency(opened, network.label, s, **how) if latency else {}
        row |= _network_memory(name, s, **how) if memory else {}
        rows.append(row)
    return rows


def _network_cost(network: "Network", scale: int, *, paper: bool) -> dict[str, Any]:
    from a2f.profiling.cost import lr_size
    from a2f.profiling.counted import count_network, folded_parameters, parameters_of

    width, height = lr_size(scale)
    found = count_network(network, width=width, height=height)
    small = count_network(network, width=32, height=32)
    return {
        "parameters": parameters_of(network.module)[0],
        "folded": folded_parameters(network.module),
        "multi_adds_g": round((found.as_table6 if paper else found.multi_adds) / 1e9, 2),
        "multi_adds_g_32x32": round((small.multi_adds + (small.biases if paper else 0)) / 1e9, 3),
        "activations_m": round(found.activations / 1e6, 2),
        "receptive_px": None,
    }


def _cost(config: "A2FConfig", *, paper: bool) -> dict[str, Any]:
    from a2f.profiling.cost import activations, lr_size, multi_adds
    from a2f.variants import count_parameters

    width, height = lr_size(config.scale)
    table5, table6 = ("table5", "table6") if paper else ("convolutions", "convolutions")
    return {
        "parameters": count_parameters(config),
        "folded": count_parameters(config, weight_norm=False),
        "multi_adds_g": round(multi_adds(config, width=width, height=height, convention=table6) / 1e9, 2),  # type: ignore[arg-type]
        "multi_adds_g_32x32": round(multi_adds(config, width=32, height=32, convention=table5) / 1e9, 3),  # type: ignore[arg-type]
        "activations_m": round(activations(config, width=width, height=height) / 1e6, 2),
        "receptive_px": config.receptive_radius_px,
    }


def _latency(
    opened: "Callable[..., Upscaler]", label: str, scale: int, *, reference: str | None, rounds: int, **how: Any
) -> dict[str, Any]:
    """Compare the time of a network with the reference; `opened` opens it on an engine."""
    import importlib.util

    from a2f.profiling.cost import lr_size
    from a2f.profiling.latency import measure_latency, threads_of_run

    engine, rest = how["engine"], {key: value for key, value in how.items() if key != "engine"}
    rest["threads"] = threads_of_run(how["threads"])
    runs = {"this": opened(engine, **rest)}
    if reference is None and importlib.util.find_spec("torch"):
        reference = "torch"
    if reference is not None:
        name, _, dtype = reference.partition(":")
        runs["reference"] = opened(name, **{**rest, "dtype": dtype or "float32"})
    width, height = lr_size(scale)
    found = measure_latency(runs, width=width, height=height, rounds=rounds)
    this = found["this"]
    row: dict[str, Any] = {
        "engine": runs["this"].description.replace(f", {label}", ""),
        "threads": rest["threads"],
        "runs": this.runs,
        **{f"{name}_s": round(getattr(this, f"{name}_s"), 4) for name in ("median", "fastest", "slowest")},
    }
    if reference is not None:
        other = found["reference"].median_s
        row["reference"] = runs["reference"].description.replace(f", {label}", "")
        row |= {"reference_s": round(other, 4), "ratio": round(other / this.median_s, 2)}
    return row


def _open_weights(weights: "Weights", engine: Any, **rest: Any) -> "Upscaler":
    from a2f.runtime import load_engine

    return load_engine(weights, engine=engine, **rest)


def _memory(config: "A2FConfig", *, reference: str | None, rounds: int, **how: Any) -> dict[str, Any]:
    from a2f.profiling.cost import lr_size
    from a2f.profiling.peak import measure_peak_memory

    width, height = lr_size(config.scale)
    used = measure_peak_memory(_some_weights(config), width=width, height=height, **how)
    return {"engine": f"{how['engine']}, {how['device']}, {how['dtype']}", "peak_memory_mb": round(used / 1e6, 1)}


def _network_memory(name: str, scale: int, *, reference: str | None, rounds: int, **how: Any) -> dict[str, Any]:
    from a2f.profiling.cost import lr_size
    from a2f.profiling.peak import measure_network_memory

    width, height = lr_size(scale)
    used = measure_network_memory(name, scale=scale, width=width, height=height, **how)
    return {"engine": f"{how['engine']}, {how['device']}, {how['dtype']}", "peak_memory_mb": round(used / 1e6, 1)}


def _some_weights(config: "A2FConfig") -> "Weights":
    """Random weights; time and memory do not depend on them."""
    import numpy as np

    from a2f.weights import Weights, expected_shapes

    rng = np.random.default_rng(0)
    tensors = {n: rng.normal(0, 0.05, shape).astype(np.float32) for n, shape in expected_shapes(config).items()}
    return Weights(config=config, tensors=tensors, metadata={})


def _against(row: dict[str, Any]) -> str:
    if "reference" not in row:
        return f", {row['runs']} runs of {_threads(row)}" if "runs" in row else ""
    return (
        f", {row['runs']} runs, in turns with {row['reference']};\n{_threads(row)} each; "
        "ratio: speed relative to the reference"
    )


def _threads(row: dict[str, Any]) -> str:
    return f"{row['threads']} thread" + ("s" if row["threads"] > 1 else "")


def _table(rows: list[dict[str, Any]], names: list[str]) -> None:
    head = ["model", *(HEADS[name] for name in names)]
    text = [[f"{row['model']} x{row['scale']}", *(_format(name, row[name]) for name in names)] for row in rows]
    print_table(head, text, numbers=True)


def _format(name: str, value: Any) -> str:
    """Format a cell: fixed decimals per column, a dash for an unknown value."""
    if value is None:
        return "-"
    if name in PRINTED:
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{DECIMALS[name]}f}"
