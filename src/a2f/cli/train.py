"""``a2f train``."""

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from a2f.cli.parameters import (
    CONVENTION,
    POSITIVE,
    OwnNetworkType,
    among,
    complete_model,
    complete_scale,
    convention_options,
    device_option,
    open_third_party,
)

if TYPE_CHECKING:
    from a2f.peers.files import Network
    from a2f.training.loop import Progress
    from a2f.upscaler import Upscaler
    from a2f.variants import A2FConfig
    from a2f.weights import Weights

EPILOG = """\b
Examples:
  a2f train sd -s 4 --data photos/ --minutes 60 -o runs/sd_x4
  a2f train sd -s 2 --data photos/ --init a2f_sd_x4.safetensors -o runs/sd_x2
  a2f train sd -s 4 --data photos/ -o runs/sd_x4 --resume
  a2f train sd -s 4 --data photos/ --recipe taught.toml --teacher big.onnx -o runs/taught
  a2f train idn -s 4 --data photos/ -o runs/idn   a network of another paper
  a2f train --network my.py:Net -s 4 --data photos/ -o runs/mine
  a2f plot runs/sd_x4                             curves, and the λ of each block
  a2f train --print-recipe fast > mine.toml
  torchrun --nproc-per-node 2 -m a2f train sd -s 4 --data photos/ -o runs/ddp
"""


@click.command(epilog=EPILOG)
@click.argument("model", required=False, metavar="[MODEL]")
@click.option("-s", "--scale", type=int, default=4, show_default=True, shell_complete=complete_scale, help="2, 3 or 4.")
@click.option("--data", type=Path, metavar="DIR", help="Folder of training images, searched recursively.")
@click.option("--lr-data", type=Path, metavar="DIR", help="Your own LR images for --data, found by name.")
@click.option(
    "--val",
    type=Path,
    metavar="DIR",
    help="Validation: a folder of HR images, or a text file with names of images in --data. These are not used for "
    "training.  [default: every 64th image of --data]",
)
@click.option("-o", "--output", type=Path, metavar="RUN", help="Folder of the run.")
@click.option(
    "--recipe",
    metavar="NAME",
    shell_complete=among("anytime", "fast", "paper", "robust"),
    help="anytime, fast, paper, robust (for JPEG), or a .toml file.  [default: fast; with --resume the run's recipe]",
)
@click.option("--steps", type=POSITIVE, metavar="N", help="Length in steps.  [default: the recipe's]")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Length in minutes.  [default: the recipe's; fast: 60; anytime, robust: no end]",
)
@click.option("--init", type=Path, metavar="FILE", help="Weights file to start from, of this scale or another one.")
@click.option(
    "--teacher",
    metavar="NAME",
    shell_complete=complete_model,
    help="A model, weights file, ONNX or TorchScript file whose images are also training targets. The recipe's "
    "teacher_share is their share.",
)
@click.option(
    "--network",
    type=OwnNetworkType(),
    metavar=OwnNetworkType.name,
    help="Train your own network instead of MODEL; the class is called with the scale.",
)
@convention_options
@device_option
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile. On a CPU it needs a C++ compiler.")
@click.option("--resume", is_flag=True, help="Resume from the latest checkpoint in RUN.")
@click.option(
    "--print-recipe",
    metavar="NAME",
    shell_complete=among("anytime", "fast", "paper", "robust"),
    help="Print a built-in recipe as TOML, and exit.",
)
def train(model: str | None, network: str | None, print_recipe: str | None, **given: Any) -> None:
    """Train a network on a folder of images. Needs the extra `train`.

    MODEL is s, sd, m, l, an ablation of the paper, or a network of another paper (idn, carn-m, ...: docs/peers.md).
    `a2f plot RUN` draws the curves of a run.

    The folder RUN gets best.safetensors (the highest validation PSNR), last.safetensors, checkpoints, recipe.toml,
    log.csv and TensorBoard events. The command prints the PSNR of bicubic and of the initial weights, then the speed,
    then one line per evaluation.

    Ctrl-C or SIGTERM saves after the current step; a second one stops at once. --resume continues with the same result
    as without the stop. It prints a note if the images have changed.

    Recipes: `fast` for an hour or two, `anytime` without a planned end, `robust` for JPEG files, blur and noise,
    `paper` for the settings of the authors.
    """
    from a2f.training.recipe import built_in_text, read_recipe

    if print_recipe is not None:
        click.echo(built_in_text(print_recipe), nl=False)
        return
    from a2f.errors import MissingExtraError

    name = _named(model, network, given)
    kept = given["output"] / "recipe.toml"
    asked = given["recipe"] or (kept if given["resume"] and kept.exists() else "fast")
    recipe = read_recipe(asked).bounded(steps=given["steps"], minutes=given["minutes"])
    config, init = _network(name, given["init"], scale=given["scale"], seed=recipe.seed)
    try:
        from a2f.training.checkpoint import list_checkpoints
        from a2f.training.start import TrainingJob, start
    except ImportError as error:
        raise MissingExtraError(f"training needs torch and tensorboard: pip install 'a2f[train]' ({error})") from error
    from a2f.training.log import Log

    job = TrainingJob(
        teacher=_teacher(given, scale=config.scale),
        config=config,
        recipe=recipe,
        data=given["data"],
        lr_data=given["lr_data"],
        validation=given["val"],
        folder=given["output"],
        init=init,
        device=given["device"],
        compiled=given["compiled"],
        resume=given["resume"],
    )

    def reporter(run: Any) -> Any:
        log = Log(given["output"], run=run)

        def report(progress: "Progress") -> None:
            log(progress)
            click.echo(progress_line(progress), err=True)

        return report

    try:
        run = start(job, report=reporter, tell=lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        if list_checkpoints(given["output"]):
            click.echo(f"saved; run the same command with --resume to continue (run: {given['output']})", err=True)
        else:
            click.echo("no step was finished and nothing was saved: start again without --resume", err=True)
        raise
    if run.processes.rank == 0:
        how = f"{run.best:.3f} dB" if run.validation else "the last weights (no validation images)"
        click.echo(f"{given['output']}/best.safetensors: {how} at step {run.best_step}", err=True)
    if run.processes.count > 1:
        _leave()


def _named(model: str | None, network: str | None, given: dict[str, Any]) -> str:
    """The name of the network to train; UsageError if a required value is missing."""
    if network and model:
        raise click.UsageError("MODEL and --network are both given: choose one")
    name = network or model
    values = (("MODEL", name), ("--data", given["data"]), ("-o", given["output"]))
    missing = [what for what, value in values if not value]
    if missing or name is None:
        raise click.UsageError(f"missing {' and '.join(missing)}")
    return name


def _network(
    name: str, init: Path | None, *, scale: int, seed: int
) -> "tuple[A2FConfig, Weights | None] | tuple[Network, None]":
    """An A²F network and its initial weights; or another network that contains its weights."""
    from a2f.errors import MissingExtraError, UsageError
    from a2f.peers import PEERS
    from a2f.peers.files import open_network, read_network
    from a2f.peers.own import is_own
    from a2f.variants import ABLATIONS, VARIANTS, ablation_of, config_of, unknown_network
    from a2f.weights import read_weights

    if name not in PEERS and not is_own(name):
        if name not in VARIANTS and name not in ABLATIONS:
            raise unknown_network(name, [*VARIANTS, *ABLATIONS, *PEERS])
        config = ablation_of(name, scale=scale) if name in ABLATIONS else config_of(name, scale=scale)
        return config, read_weights(init) if init else None
    if init is not None:
        network = read_network(init, own=name if is_own(name) else None)
        if (network.name, network.scale) != (name, scale):
            raise UsageError(f"{init} belongs to {network.name} x{network.scale}, not to {name} x{scale}")
        return network, None
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("training needs torch and tensorboard: pip install 'a2f[train]'") from error
    torch.manual_seed(seed)
    return open_network(name, scale=scale), None


def _teacher(given: dict[str, Any], *, scale: int) -> "Upscaler | None":
    from a2f.api import load
    from a2f.external import is_external

    name = given["teacher"]
    if not name:
        return None
    if is_external(name):
        values = {key: given[key] for key in CONVENTION}
        return open_third_party(Path(name), scale=scale, **values)
    return load(name, scale=scale).engine


def _leave() -> NoReturn:
    """Exit at once: threads of gloo outlive destroy_process_group and sometimes abort the exit of Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def progress_line(p: "Progress") -> str:
    """One line about the progress."""
    jpeg = "" if math.isnan(p.psnr_y_jpeg) else f", of JPEG files {p.psnr_y_jpeg:.3f} dB"
    left = f"{p.seconds * (1 - p.done) / p.done / 60:.0f} min left  " if p.done else ""
    done = f"{100 * p.done:.1f} %  " if p.done else ""
    return (
        f"step {p.step}  {done}loss {p.loss:.5f}  lr {p.lr:.1e}  {p.steps_per_second:.1f} steps/s  "
        f"{left}PSNR-Y {p.psnr_y:.3f} dB{jpeg} (best {p.best:.3f})"
    )
