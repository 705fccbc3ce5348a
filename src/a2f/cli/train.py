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
  a2f plot runs/sd_x4                             curves, and the lambdas of each block (Figure 3)
  a2f train --print-recipe fast > mine.toml
  torchrun --nproc-per-node 2 -m a2f train sd -s 4 --data photos/ -o runs/ddp
"""


@click.command(epilog=EPILOG)
@click.argument("model", required=False, metavar="[MODEL]")
@click.option("-s", "--scale", type=int, default=4, show_default=True, shell_complete=complete_scale, help="2, 3 or 4.")
@click.option("--data", type=Path, metavar="DIR", help="Folder tree of training images.")
@click.option("--lr-data", type=Path, metavar="DIR", help="Your own LR images of --data, by their names.")
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
    help="anytime, fast, paper, robust (for JPEG), or a .toml file.  [default: fast; with --resume that of the run]",
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
    help="A model, weights file, ONNX or TorchScript file whose images are learnt too. The recipe's teacher_share says "
    "how much.",
)
@click.option(
    "--network",
    metavar="FILE.py:CLASS",
    help="Train your own network instead of MODEL: a class that is called with the scale.",
)
@convention_options
@device_option
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile. On a CPU it needs a C++ compiler.")
@click.option("--resume", is_flag=True, help="Go on from the latest checkpoint in RUN.")
@click.option(
    "--print-recipe",
    metavar="NAME",
    shell_complete=among("anytime", "fast", "paper", "robust"),
    help="Print a built-in recipe as TOML, and stop.",
)
def train(model: str | None, network: str | None, print_recipe: str | None, **given: Any) -> None:
    """Train a network on a folder of images. Needs the extra `train`.

    MODEL is s, sd, m, l, an ablation of the paper, or a network of another paper (idn, carn-m, ...: docs/peers.md).
    `a2f plot RUN` draws the curves of a run.

    The folder RUN gets best.safetensors (the highest validation PSNR), last.safetensors, checkpoints, recipe.toml,
    log.csv and events for TensorBoard. At the beginning the PSNR of bicubic interpolation and of the first weights is
    printed, after some steps the speed, and then a line for each evaluation.

    Ctrl-C or SIGTERM saves after the current step; a second one stops at once. --resume goes on from there with the
    same result as without the stop. It says so if the images are others than before.

    Recipes: `fast` for an hour or two, `anytime` without an end, `robust` for JPEG files, blur and noise, `paper` as
    the authors trained.

    Exit status: 0 the run is finished, 1 it failed, 2 wrong options, 130 interrupted.
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
            click.echo(f"saved; go on with the same command and --resume (run: {given['output']})", err=True)
        else:
            click.echo("no step was finished and nothing saved: start again without --resume", err=True)
        raise
    if run.processes.rank == 0:
        how = f"{run.best:.3f} dB" if run.validation else "the last weights (no validation images)"
        click.echo(f"{given['output']}/best.safetensors: {how} at step {run.best_step}", err=True)
    if run.processes.count > 1:
        _leave()


def _named(model: str | None, network: str | None, given: dict[str, Any]) -> str:
    """What is to be trained, once nothing is missing."""
    if network and model:
        raise click.UsageError("MODEL or --network, not both")
    name = network or model
    values = (("MODEL", name), ("--data", given["data"]), ("-o", given["output"]))
    missing = [what for what, value in values if not value]
    if missing or name is None:
        raise click.UsageError(f"missing {' and '.join(missing)}")
    return name


def _network(
    name: str, init: Path | None, *, scale: int, seed: int
) -> "tuple[A2FConfig, Weights | None] | tuple[Network, None]":
    """A network of A²F and the weights to start from; or another one, which holds them."""
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
            raise UsageError(f"{init} is of {network.name} x{network.scale}, not of {name} x{scale}")
        return network, None
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("training needs torch and tensorboard: pip install 'a2f[train]'") from error
    torch.manual_seed(seed)
    return open_network(name, scale=scale), None


def _teacher(given: dict[str, Any], *, scale: int) -> "Upscaler | None":
    from a2f.api import load
    from a2f.runtime.foreign import is_foreign

    name = given["teacher"]
    if not name:
        return None
    if is_foreign(name):
        values = {key: given[key] for key in CONVENTION}
        return open_third_party(Path(name), scale=scale, **values)
    return load(name, scale=scale).engine


def _leave() -> NoReturn:
    """End at once: after DDP, threads of gloo outlive destroy_process_group and now and then abort Python's end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def progress_line(p: "Progress") -> str:
    """One line for people."""
    jpeg = "" if math.isnan(p.psnr_y_jpeg) else f", of JPEG files {p.psnr_y_jpeg:.3f} dB"
    left = f"{p.seconds * (1 - p.done) / p.done / 60:.0f} min left  " if p.done else ""
    done = f"{100 * p.done:.1f} %  " if p.done else ""
    return (
        f"step {p.step}  {done}loss {p.loss:.5f}  lr {p.lr:.1e}  {p.steps_per_second:.1f} steps/s  "
        f"{left}PSNR-Y {p.psnr_y:.3f} dB{jpeg} (best {p.best:.3f})"
    )
