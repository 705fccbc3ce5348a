"""Open onnxruntime sessions with suitable options for these graphs."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def make_session(
    blob: bytes, *, threads: int, providers: Sequence[str] = ("CPUExecutionProvider",), shared_memory: bool = False
) -> "InferenceSession":
    """Open an ONNX file.

    Args:
        blob: the file.
        threads: threads of one run, at least 1.
        providers: onnxruntime's execution providers, in order.
        shared_memory: share one memory pool with all other sessions of the process that have this option.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning idle threads would take the cores from decoding and encoding, and make these graphs no faster.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if shared_memory:
        _make_pool()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.enable_mem_pattern = False  # a memory pattern is planned for one tile size
    return onnxruntime.InferenceSession(blob, options, providers=list(providers))


@functools.cache
def _make_pool() -> None:
    import onnxruntime as ort

    where = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    # Grow by the requested size (1), not by doubling.
    ort.create_and_register_allocator(where, ort.OrtArenaCfg({"arena_extend_strategy": 1}))
