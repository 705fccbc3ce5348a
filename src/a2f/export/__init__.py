"""From weights to an ONNX graph, without torch."""
