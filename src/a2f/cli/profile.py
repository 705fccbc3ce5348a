"""``a2f profile``."""

import json
from typing import Any

import click

EPILOG = """\b
Examples:
  a2f profile                        all 12 networks
  a2f profile sd -s 4 --latency      with the time on this machine
  a2f profile --paper --json
"""


@click.command(epilog=EPILOG)
@click.argument("model", required=False, metavar="[MODEL]")
@click.option("-s", "--scale", type=int, help="2, 3 or 4; all by default.")
@click.option("--paper", is_flag=True, help="Count as Tables 5 and 6 do: with biases, ReLUs and pooled values.")
@click.option("--latency", is_flag=True, help="Time a run to 1280x720, beside torch if it is installed.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="For --latency.  [default: all cores]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def profile(
    model: str | None, scale: int | None, paper: bool, latency: bool, threads: int | None, as_json: bool
) -> None:
    """Tell what networks cost: parameters, Multi-Adds to 1280x720, GFLOPs of a 32x32 patch, receptive field, time.

    MODEL is s, sd, m, l or one of the ablations: baseline, baseline-mp, l-noca, sd-head1, sd-head3, sd-head5, sd-head7.
    """
    from a2f.variants import ABLATIONS, SCALES, VARIANTS, ablation_of, config_of

    names = [model] if model else list(VARIANTS)
    scales = [scale] if scale else list(SCALES)
    configs = [ablation_of(n, scale=s) if n in ABLATIONS else config_of(n, scale=s) for n in names for s in scales]
    rows = [_row(config, paper=paper) for config in configs]
    if latency:
        for row, config in zip(rows, configs, strict=True):
            row |= _latency(config, threads)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    head = list(rows[0])
    text = [[_format(row[key]) for key in head] for row in rows]
    widths = [max(len(key), *(len(line[i]) for line in text)) for i, key in enumerate(head)]
    for line in [head, *text]:
        click.echo("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)))
    how = "as the paper counts" if paper else "of the convolutions alone"
    click.echo(f"\nMulti-Adds to 1280x720 output, {how}. Receptive field: radius in LR pixels.")


def _row(config: Any, *, paper: bool) -> dict[str, Any]:
    from a2f.profiling.cost import lr_size, multi_adds
    from a2f.variants import count_parameters

    width, height = lr_size(config)
    return {
        "model": config.variant,
        "scale": config.scale,
        "parameters": count_parameters(config),
        "folded": count_parameters(config, weight_norm=False),
        "multi_adds_g": round(
            multi_adds(config, width=width, height=height, convention="table6" if paper else "convolutions") / 1e9, 2
        ),
        "gmacs_32x32": round(
            multi_adds(config, width=32, height=32, convention="table5" if paper else "convolutions") / 1e9, 3
        ),
        "receptive_px": config.receptive_radius_px,
    }


def _latency(config: Any, threads: int | None) -> dict[str, Any]:
    import importlib.util

    import numpy as np

    from a2f.profiling.cost import lr_size
    from a2f.profiling.latency import measure_latency
    from a2f.runtime import load_engine
    from a2f.weights import Weights, expected_shapes

    rng = np.random.default_rng(0)  # the time does not depend on the weights
    shapes = expected_shapes(config)
    tensors = {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    weights = Weights(config=config, tensors=tensors, metadata={})
    engines = {"onnxruntime_s": load_engine(weights, threads=threads)}
    if importlib.util.find_spec("torch"):
        engines["torch_s"] = load_engine(weights, engine="torch", threads=threads)
    width, height = lr_size(config)
    found = measure_latency(engines, width=width, height=height, rounds=3)
    return {name: round(value.median_s, 3) for name, value in found.items()}


def _format(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
