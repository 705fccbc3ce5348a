"""Make ONNX graphs from weights, without torch."""
