"""What a network runs on: engine, device, precision, threads and memory, as one value."""

from dataclasses import dataclass
from typing import Literal, get_args

from a2f.errors import EngineError, Hint, UsageError
from a2f.runtime.plan import Gates, Limits

EngineName = Literal["onnxruntime", "openvino", "torch"]
ENGINES: tuple[str, ...] = get_args(EngineName)
DTYPES = {
    "onnxruntime": ("float32",),
    "openvino": ("float32", "bfloat16", "int8"),
    "torch": ("float32", "bfloat16", "float16"),
}
FAST = "fast"
ENSEMBLES = (1, 2, 4, 8)
MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What a network runs on; checked as far as that can be without opening an engine.

    Attributes:
        engine: "onnxruntime", "openvino" or "torch"; None chooses.
        device: "cpu"; "cuda" for onnxruntime and torch; "mps" for torch.
        dtype: precision of the computation, as `DTYPES` tells, or "fast": the quickest of this machine, which chooses
            the engine too.
        threads: of one run on the CPU; None takes all cores.
        tile: side of the tiles, LR pixels; 0 chooses.
        max_memory: limit of the whole process, bytes; None takes up to half of what is free.
        gates: of images that do not fit into the memory whole: "auto", "exact" or "sampled", as `Limits` tells.
        compile: torch only: fuse the network first.
        ensemble: 1, 2, 4 or 8 runs whose mean is the result.
    """

    engine: EngineName | None = None
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    tile: int = 0
    max_memory: int | None = None
    gates: Gates = "auto"
    compile: bool = False
    ensemble: int = 1

    def __post_init__(self) -> None:
        check_ensemble(self.ensemble)
        self.limits()
        threads = self.threads
        if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS):
            allowed = Hint(text=f"give {{option}} a whole number from 1 to {MOST_THREADS}", option="threads")
            raise UsageError(f"{threads!r} threads are not possible", allowed)
        if self.dtype == FAST:
            self._check_fast()
            return
        engine = self.engine or "onnxruntime"
        if engine not in ENGINES:
            raise UsageError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
        if self.dtype not in DTYPES[engine]:
            others = [name for name in ENGINES if self.dtype in DTYPES[name]]
            elsewhere = f", or engine {' or '.join(others)}" if others else ""
            choice = f"{' or '.join(DTYPES[engine])}{elsewhere}"
            raise EngineError(
                f"engine {engine} does not compute in {self.dtype!r}",
                Hint(text=f"choose {choice} with {{option}}", option="dtype"),
            )
        if self.compile and engine != "torch":
            raise EngineError(
                f"engine {engine} does not compile", Hint(text="use {option}", option="engine", value="torch")
            )

    def _check_fast(self) -> None:
        asked = [] if self.engine is None else [f"engine {self.engine}"]
        asked += [] if self.device == "cpu" else [f"device {self.device}"]
        asked += ["compile"] if self.compile else []
        if asked:
            raise EngineError(
                "fast mode is for the CPU and chooses its engine",
                Hint(text=f"leave out {' and '.join(asked)}"),
                Hint(text="choose another {option}", option="dtype"),
            )

    def limits(self, *, jobs: int = 1, alone: bool = True) -> Limits:
        """What one run may take.

        Args:
            jobs: images at a time, which share the memory.
            alone: as `Limits`.

        Raises:
            UsageError: for numbers outside their range.
        """
        return Limits(tile_px=self.tile, max_memory_bytes=self.max_memory, jobs=jobs, gates=self.gates, alone=alone)


def check_ensemble(runs: int) -> int:
    """Give a number of runs back if there is an ensemble of so many.

    Raises:
        UsageError: for another number than 1, 2, 4 and 8.
    """
    if isinstance(runs, bool) or not isinstance(runs, int) or runs not in ENSEMBLES:
        choice = "choose 1 (off), 2 (mirrored), 4 (all flips) or 8 (flips and turns) for {option}"
        raise UsageError(f"an ensemble of {runs!r}", Hint(text=choice, option="ensemble"))
    return runs
