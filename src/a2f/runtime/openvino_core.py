"""The OpenVINO of this process."""

import functools
import sys
import threading
from typing import Any

CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}

_LOCK = threading.Lock()


def import_openvino() -> Any:
    """OpenVINO, without the package that tells its maker of each import.

    That package (openvino_telemetry) sends and keeps an identifier on the disk unless it cannot be imported. Where
    another part of the program has imported OpenVINO before, that is left as it is.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    with _LOCK:
        hidden = "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
        if hidden:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # which makes its import fail
        try:
            import openvino
        finally:
            if hidden:
                del sys.modules["openvino_telemetry"]
        return openvino


def openvino_core() -> Any:
    """The one `openvino.Core` of this process, which lives as long as it.

    Its CPU plugin gives the thread that loads it another stack for signal handlers, and unmaps that stack when the
    plugin goes, but takes it back only if it goes in the same thread. So a core let go elsewhere (by another thread, or
    by the garbage collector at work in one) leaves the first thread with a stack that is not there: the next Ctrl-C
    kills the process. A core that stays cannot.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    openvino = import_openvino()
    with _LOCK:
        return _core(openvino)


@functools.cache
def _core(openvino: Any) -> Any:
    return openvino.Core()


def computes(dtype: str) -> bool:
    """Whether this CPU has instructions for "float32", "bfloat16" or "int8", as far as OpenVINO knows.

    Raises:
        ImportError: if OpenVINO is not installed.
    """
    return CAPABILITIES[dtype] in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
