"""The fast mode: what this machine computes quickest at a loss that was measured."""

from dataclasses import dataclass
from typing import Literal

from a2f.export.int8 import ranges_of
from a2f.runtime.openvino_core import computes
from a2f.weights import Weights


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine and a precision.

    Attributes:
        engine: of `load_engine`.
        dtype: the same.
        note: why it is not the quickest there is, for people; empty if it is.
    """

    engine: Literal["onnxruntime", "openvino"]
    dtype: str
    note: str = ""


def choose_fast(weights: Weights) -> Choice:
    """8-bit integers or bfloat16 through OpenVINO, what the weights and the CPU allow; exact computation otherwise.

    Args:
        weights: of any network of the family.
    """
    try:
        int8, bfloat16 = computes("int8"), computes("bfloat16")
    except ImportError:
        note = "fast mode needs the extra openvino (pip install 'a2f[openvino]'): computing exactly instead"
        return Choice(engine="onnxruntime", dtype="float32", note=note)
    if int8 and ranges_of(weights) is not None:
        return Choice(engine="openvino", dtype="int8")
    if bfloat16:
        note = "" if ranges_of(weights) else f"{weights.label} has no ranges for int8 (a2f calibrate): bfloat16 instead"
        return Choice(engine="openvino", dtype="bfloat16", note=note)
    missing = "neither int8 nor bfloat16" if not int8 else "no bfloat16, and the weights no ranges for int8"
    return Choice(engine="onnxruntime", dtype="float32", note=f"this CPU has {missing}: computing exactly instead")
