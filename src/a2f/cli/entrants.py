"""The models of `a2f eval` and `a2f figure crops`: shipped models, network files, folders of finished enlargements."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2f.cli.parameters import open_third_party
from a2f.errors import UnknownModelError, UsageError, did_you_mean

if TYPE_CHECKING:
    from a2f.evaluation.score import About, Method
    from a2f.evaluation.sets import Item
    from a2f.peers.files import Network
    from a2f.upscaler import Upscaler
    from a2f.variants import A2FConfig

BICUBIC = "bicubic"
DEFAULT_SCALE = 4  # if neither -s nor a file gives one


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A model in the comparison.

    Attributes:
        name: name in tables.
        upscaler: the upscaler; None for bicubic and for a folder.
        folder: folder of finished enlargements; None for an upscaler.
        about: properties of the model.
        runs: number of runs of an ensemble.
    """

    name: str
    upscaler: "Upscaler | None"
    folder: Path | None
    about: "About"
    runs: int = 1

    def method(self, items: "Sequence[Item]", *, data: str, scale: int) -> "Method":
        """The method to measure on a set; InputError if a folder has not all enlargements."""
        from a2f.evaluation.finished import find_finished

        return self.upscaler if self.folder is None else find_finished(self.folder, items, data=data, scale=scale)


def kept_as(name: str, runs: int) -> str:
    """The subfolder of --save for a model's enlargements."""
    return name if runs == 1 else f"{name}_ensemble{runs}"


def is_single(model: str) -> bool:
    """Whether a model runs only once in an ensemble: bicubic and finished enlargements."""
    return model == BICUBIC or is_folder(model)


def names_of(models: Sequence[str]) -> dict[str, str]:
    """Choose a name for each model.

    Args:
        models: arguments of the command line: a model, or NAME=MODEL.

    Returns:
        Name -> model. The name is the text before the "=", or the model as given. For a file it is the stem, for a
        folder its name, with as many parent folders as needed to distinguish equal names.

    Raises:
        UsageError: if two models get one name.
    """
    from a2f.sheets import distinct_labels

    given = dict.fromkeys(split_name(model) for model in models)
    files = list(dict.fromkeys(model for name, model in given if not name and (is_file(model) or is_folder(model))))
    whole = dict(zip(files, distinct_labels([Path(model) for model in files]), strict=True))
    stems = [Path(model) if is_folder(model) else Path(model).with_suffix("") for model in files]
    bare = dict(zip(files, distinct_labels(stems), strict=True))
    taken = Counter(bare.values())
    labels = {model: bare[model] if taken[bare[model]] == 1 else whole[model] for model in files}
    named: dict[str, str] = {}
    for name, model in given:
        if name in (".", "..") or "/" in name or "\\" in name:
            raise UsageError(
                f"{name} is not a possible name, because --save makes a folder of it: leave out /, \\ and .."
            )
        label = name or labels.get(model, model)
        if label in named:
            raise UsageError(
                f"{named[label]} and {model} are both named {label}: give one of them another name, NAME={model}"
            )
        named[label] = model
    return named


def split_name(word: str) -> tuple[str, str]:
    """Split NAME=MODEL; the name is empty for a model without a name, and for a file with "=" in its name."""
    name, sign, model = word.partition("=")
    return (name, model) if sign and name and model and not Path(word).exists() else ("", word)


def is_folder(model: str) -> bool:
    """Whether a model is a folder of finished enlargements; the name of a shipped model has priority."""
    from a2f.weights import shipped_names

    return model not in {BICUBIC, *shipped_names()} and Path(model).is_dir()


def is_file(model: str) -> bool:
    """Whether a model is given as a file."""
    from a2f.external import is_external
    from a2f.weights import is_file_name

    return not is_folder(model) and (is_file_name(model) or is_external(model))


def scale_of(models: Sequence[str], given: int | None, **values: Any) -> int:
    """The scale of a comparison: that of -s or of the files; 4 for models and bicubic alone.

    Args:
        models: arguments of the command line.
        given: the value of -s.
        values: options of `open_third_party`.

    Raises:
        UsageError: if two of them have different scales, or a folder has none.
    """
    told = {model: scale for model in models if (scale := _told_scale(model, given, **values)) is not None}
    for model, scale in told.items():
        if given not in (None, scale):
            raise UsageError(
                f"{model} enlarges {scale} times, not {given}. Leave out -s, or measure this file separately."
            )
    if len(set(told.values())) > 1:
        one_of = {scale: model for model, scale in told.items()}
        listed = " and ".join(f"{model} enlarges {scale} times" for scale, model in sorted(one_of.items()))
        raise UsageError(f"{listed}. Measure one scale at a time.")
    scale = given or next(iter(told.values()), None)
    silent = [model for model in models if is_folder(model) and model not in told]
    if scale is None and silent:
        raise UsageError(f"the names in {silent[0]} have no scale: add -s 2, -s 3 or -s 4")
    return scale or DEFAULT_SCALE


def _told_scale(model: str, given: int | None, **values: Any) -> int | None:
    """The scale of a file or a folder; None for a model name."""
    from a2f.evaluation.finished import scale_of_folder
    from a2f.external import is_external
    from a2f.peers.files import network_in, scale_in
    from a2f.weights import read_weights

    if is_folder(model):
        return None if given else scale_of_folder(Path(model))
    if not is_file(model):
        return None
    if is_external(model):
        return None if given else open_third_party(Path(model), scale=None, **values).scale
    return scale_in(model) if network_in(model) is not None else read_weights(model).config.scale


def open_entrant(
    name: str,
    model: str,
    *,
    scale: int,
    network: str | None,
    ensemble: int = 1,
    engine: Any = "onnxruntime",
    device: str = "cpu",
    dtype: str = "float32",
    **values: Any,
) -> Entrant:
    """Open a model.

    Args:
        name: name in tables.
        model: argument of the command line.
        scale: s.
        network: class of the user's own network, "file.py:Class".
        ensemble: number of runs of an upscaler.
        engine: engine of `a2f.load`.
        device: device of `a2f.load`.
        dtype: precision of `a2f.load`.
        values: options of `open_third_party`.

    Raises:
        UnknownModelError: for an unknown name.
        A2FError: all errors of opening a file.
    """
    from a2f.ensemble import ensemble_of
    from a2f.evaluation.score import About
    from a2f.external import is_external

    if model == BICUBIC:
        return Entrant(name=name, upscaler=None, folder=None, about=About())
    if is_folder(model):
        return Entrant(name=name, upscaler=None, folder=Path(model), about=_about_name(name, scale))
    if is_external(model):
        upscaler, about = open_third_party(Path(model), scale=scale, **values), About()
    else:
        upscaler, about = _opened(model, scale, network, engine=engine, device=device, dtype=dtype)
    upscaler = ensemble_of(upscaler, ensemble)
    return Entrant(name=name, upscaler=upscaler, folder=None, about=about, runs=ensemble)


def _opened(model: str, scale: int, network: str | None, **how: Any) -> "tuple[Upscaler, About]":
    from a2f.external import open_network_engine
    from a2f.peers.files import network_in, read_network
    from a2f.runtime import load_engine
    from a2f.weights import find_weights, shipped_names

    if network_in(model) is not None:
        found = read_network(model, own=network)
        return open_network_engine(found, threads=None, **how), _about_network(found)
    kinds = "a file of weights or of another network, or a folder of enlargements"
    check_name(model, ask=f"give a model ({BICUBIC}, {', '.join(shipped_names())}), {kinds}", builtin=(BICUBIC,))
    weights = find_weights(model, scale=scale)
    return load_engine(weights, **how), _about(weights.config)


def check_name(model: str, *, ask: str, builtin: Sequence[str] = ()) -> None:
    """Raise a helpful error for a network without shipped weights or an unknown name.

    Args:
        model: argument of the command line.
        ask: what the command accepts, for the message.
        builtin: names without weights.

    Raises:
        UnknownModelError: in both cases.
    """
    from a2f.peers import PEERS
    from a2f.peers.checkpoints import READERS
    from a2f.variants import ABLATIONS, CANNOT_BE_BUILT, VARIANTS, unknown_network
    from a2f.weights import AUTO, shipped_names

    shipped = shipped_names()
    if is_file(model) or model in (*shipped, *VARIANTS, AUTO):  # `find_shipped` has the error for `auto`
        return
    if model in CANNOT_BE_BUILT:
        raise unknown_network(model, ABLATIONS)
    if model in PEERS or model in ABLATIONS:
        how = f"made by a2f convert --as {model}" if model in READERS else f"trained by a2f train {model}"
        raise UnknownModelError(f"no weights of {model} are shipped: give a weights file, {how}")
    hint = did_you_mean(model, [*builtin, *shipped, *VARIANTS, *ABLATIONS, *PEERS])
    raise UnknownModelError(f"unknown model {model!r}{hint}: {ask}")


def _about_name(name: str, scale: int) -> "About":
    """The properties of finished enlargements: those of the network, if they have the name of one with this scale."""
    from a2f.evaluation.score import About
    from a2f.peers import PEERS
    from a2f.peers.files import open_network
    from a2f.variants import SCALES, VARIANTS, config_of

    if name in VARIANTS and scale in SCALES:
        return _about(config_of(name, scale=scale))
    if name in PEERS and scale in PEERS[name].scales:
        return _about_network(open_network(name, scale=scale))
    return About()


def _about(config: "A2FConfig") -> "About":
    from a2f.evaluation.score import About
    from a2f.profiling.cost import lr_size, multi_adds
    from a2f.variants import ABLATIONS, VARIANTS, count_parameters

    width, height = lr_size(config.scale)
    known = config.variant in VARIANTS or config.variant in ABLATIONS
    return About(
        network=config.variant if known else None,
        parameters=count_parameters(config),
        multi_adds=multi_adds(config, width=width, height=height, convention="table6"),
    )


def _about_network(network: "Network") -> "About":
    from a2f.evaluation.score import About
    from a2f.peers import PEERS
    from a2f.profiling.counted import count_network, parameters_of

    found = count_network(network, width=1280 // network.scale, height=720 // network.scale)
    return About(
        network=network.name if network.name in PEERS else None,
        parameters=parameters_of(network.module)[0],
        multi_adds=found.as_table6,
    )
