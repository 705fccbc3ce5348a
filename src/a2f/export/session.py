"""An onnxruntime session with the options that suit these graphs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def make_session(
    blob: bytes, *, threads: int, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> "InferenceSession":
    """Open an ONNX file.

    Args:
        blob: the file.
        threads: of one run, at least 1.
        providers: onnxruntime's execution providers, in order.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would take the cores from decoding and encoding; on these graphs spinning gains nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(blob, options, providers=list(providers))
