"""Stages on ONNX Runtime, on the CPU."""
