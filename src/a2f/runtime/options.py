"""The options of an engine: device, precision, threads and memory."""

from dataclasses import dataclass
from typing import Literal, get_args

from a2f.errors import EngineError, Hint, UsageError
from a2f.runtime.plan import MIN_TILE_PX, Gates

EngineName = Literal["onnxruntime", "openvino", "torch"]
ENGINES: tuple[str, ...] = get_args(EngineName)
DTYPES = {
    "onnxruntime": ("float32",),
    "openvino": ("float32", "bfloat16", "int8"),
    "torch": ("float32", "bfloat16", "float16"),
}
FAST = "fast"
ENSEMBLES = (1, 2, 4, 8)
MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Options of an engine; checked as far as possible without opening it.

    Attributes:
        engine: "onnxruntime", "openvino" or "torch"; None chooses.
        device: "cpu"; "cuda" for onnxruntime and torch; "mps" for torch.
        dtype: precision of the computation, see `DTYPES`; or "fast": the fastest of this machine, which also chooses
            the engine.
        threads: threads of one run on the CPU; None: all cores.
        tile: side of the tiles, LR pixels; 0 chooses it.
        max_memory: limit of the whole process, bytes; None: half of the free memory.
        gates: for images that do not fit into the memory: "exact" pools over the whole image (Eq. 7); "sampled" pools
            over windows of it, which is faster, keeps no features and changes a few pixels by one grey level
            (docs/decisions/tiling.md); "auto" is exact for onnxruntime and sampled for openvino.
        compile: torch only: run torch.compile.
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
        self._check_limits()
        threads = self.threads
        if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS):
            allowed = Hint(text=f"give {{option}} a whole number from 1 to {MAX_THREADS}", option="threads")
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
                f"{engine} cannot compute in {self.dtype}",
                Hint(text=f"choose {choice} with {{option}}", option="dtype"),
            )
        if self.compile and engine != "torch":
            raise EngineError(f"{engine} cannot compile", Hint(text="use {option}", option="engine", value="torch"))

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

    def _check_limits(self) -> None:
        for name in ("tile", "max_memory"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int):
                raise UsageError(f"{value!r} is not a whole number", Hint(text="give one for {option}", option=name))
        if self.gates not in get_args(Gates):
            choice = f"choose {', '.join(get_args(Gates))} for {{option}}"
            raise UsageError(f"unknown gates {self.gates!r}", Hint(text=choice, option="gates"))
        if self.tile != 0 and self.tile < MIN_TILE_PX:
            least = Hint(text=f"give {{option}} at least {MIN_TILE_PX}, or 0 for an automatic choice", option="tile")
            raise UsageError(f"a tile of {self.tile} pixels is too small", least)
        if self.max_memory is not None and self.max_memory < 1:
            least = Hint(text="give {option} at least 1", option="max_memory")
            raise UsageError(f"{self.max_memory} bytes of memory are too few", least)

    @property
    def is_limited(self) -> bool:
        """Whether a tile, a memory limit or gates were requested."""
        return self.tile != 0 or self.max_memory is not None or self.gates != "auto"


def check_ensemble(runs: int) -> int:
    """Return the number of runs if it is allowed.

    Raises:
        UsageError: for a number other than 1, 2, 4 and 8.
    """
    if isinstance(runs, bool) or not isinstance(runs, int) or runs not in ENSEMBLES:
        choice = "choose 1 (off), 2 (mirrored), 4 (all flips) or 8 (flips and turns) for {option}"
        raise UsageError(f"an ensemble of {runs!r} runs is not possible", Hint(text=choice, option="ensemble"))
    return runs
