"""Choose the networks for a picture, and keep the open upscalers for the next picture."""

import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from a2f.ensemble import ensemble_of
from a2f.machine import usable_cores
from a2f.runtime.engine import Engine
from a2f.runtime.memory import Memory
from a2f.runtime.opening import open_engine, settle_fast
from a2f.runtime.options import EngineOptions
from a2f.sizes import Size, Target
from a2f.upscaler import Upscaler
from a2f.weights import Weights, find_shipped, find_weights, is_file_name, pass_models, read_weights

MAX_CACHED = 4  # number of upscalers of earlier calls that stay open


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run of a network over a picture.

    Attributes:
        model: name or path of the model.
        upscaler: the opened upscaler.
    """

    model: str
    upscaler: Upscaler


@dataclass(frozen=True, kw_only=True)
class Models:
    """The networks that a request may use.

    Attributes:
        model: the requested model.
        scales: the scales that may be used for an exact size.
        open: returns the upscaler of a model and scale.
    """

    model: str
    scales: tuple[int, ...]
    open: Callable[[str, int], Upscaler]

    def passes(self, given: Size, target: Target, *, jpeg_quality: int | None) -> tuple[Pass, ...]:
        """Open the upscalers of all passes over a picture.

        Args:
            given: width and height of the picture.
            target: the requested size.
            jpeg_quality: JPEG quality of the picture's file; None if it is no JPEG.

        Raises:
            UsageError: if two passes do not reach the size.
            UnknownModelError, WeightsError, EngineError, MissingExtraError: if a network cannot be opened.
        """
        scales = target.scales(given, available=self.scales)
        models = pass_models(self.model, scales, jpeg_quality=jpeg_quality)
        return tuple(Pass(model=m, upscaler=self.open(m, s)) for m, s in zip(models, scales, strict=True))


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An upscaler that is open.

    Attributes:
        upscaler: safe to share between threads.
        note: why the fast mode is not as quick as it could be, for people; empty otherwise.
    """

    upscaler: Engine
    note: str = ""


def open_upscaler(
    weights: Weights, options: EngineOptions, *, memory: Memory | None = None, share_cores: bool = False
) -> Opened:
    """Open what `EngineOptions` ask for, its ensemble included.

    Args:
        weights: of any network of the family.
        options: what it runs on.
        memory: what this upscaler shares with others; its own by default.
        share_cores: each job of the memory has its own share of the cores, unless `options` tell the threads. Threads
            that run one small image together wait for each other. Only for onnxruntime on the CPU.

    Raises:
        EngineError: for a device, precision or limit that the engine or this machine does not have.
        MissingExtraError: for an engine that is not installed.
    """
    options, note = settle_fast(options, weights)
    memory = memory or Memory(options.max_memory)
    if share_cores and options.threads is None and options.engine in (None, "onnxruntime") and options.device == "cpu":
        options = replace(options, threads=max(1, usable_cores() // memory.jobs))
    return Opened(upscaler=ensemble_of(open_engine(weights, options, memory), options.ensemble), note=note)


class Upscalers:
    """Opens upscalers when they are needed and keeps them; all share one memory limit. Safe to share between threads.

    Args:
        options: engine options of all upscalers.
        jobs: number of images at a time; they share the memory.
        alone: whether only one upscaler will be opened.
        share_cores: whether the upscalers run at the same time and share the cores.
    """

    def __init__(self, options: EngineOptions, *, jobs: int = 1, alone: bool = True, share_cores: bool = False) -> None:
        memory = Memory(options.max_memory, jobs=jobs, alone=alone)
        self._open = functools.partial(open_upscaler, options=options, memory=memory, share_cores=share_cores)
        self._opened: dict[tuple[str, int], Engine] = {}
        self._notes: list[str] = []
        self._lock = threading.Lock()

    def open(self, model: str, scale: int) -> Engine:
        """The upscaler of a model and scale, opened at its first use."""
        with self._lock:
            if (model, scale) not in self._opened:
                opened: Opened = self._open(find_weights(model, scale=scale))
                self._notes += [opened.note] if opened.note else []
                self._opened[model, scale] = opened.upscaler
            return self._opened[model, scale]

    def descriptions(self) -> list[str]:
        """The descriptions of the open upscalers."""
        with self._lock:
            return [upscaler.description for upscaler in self._opened.values()]

    def take_notes(self) -> list[str]:
        """Return the notes about upscalers that were opened since the last call."""
        with self._lock:
            notes, self._notes = self._notes, []
        return notes


def kept_upscaler(model: str, scale: int, *, options: EngineOptions) -> Engine:
    """An upscaler of an earlier call in this process, or a new one if its weights file has changed.

    Args:
        model: a name, or the path of a weights file.
        scale: the scale, for a model by name.
        options: engine options.

    Raises:
        UnknownModelError, WeightsError, EngineError, MissingExtraError: if it cannot be opened.
    """
    path = Path(model).absolute() if is_file_name(model) else find_shipped(model, scale=scale).path
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None
    return _kept(path, stamp, options)


def _open_file(path: Path, stamp: tuple[int, int] | None, options: EngineOptions) -> Engine:
    return open_upscaler(read_weights(path), options).upscaler


_kept = functools.lru_cache(maxsize=MAX_CACHED)(_open_file)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.cache_clear)  # sessions do not survive a fork
