"""ONNX files in other programs."""

import numpy as np
import pytest

from a2f.export.graph import export_onnx
from a2f.export.session import make_session
from a2f.weights import find_weights


@pytest.mark.parametrize("lr_size", [(20, 14), None], ids=["fixed sides", "any size"])
def test_opencv_and_onnxruntime_give_equal_pixels(lr_size: tuple[int, int] | None) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    blob = export_onnx(find_weights("sd", scale=2), lr_size=lr_size)
    image = np.random.default_rng(0).integers(0, 256, (14, 20, 3), dtype=np.uint8)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(blob, np.uint8))
    x = cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True)
    net.setInput(x)
    (expected,) = make_session(blob, threads=1).run(None, {"lr": x})
    np.testing.assert_allclose(net.forward(), expected, atol=1e-5)
