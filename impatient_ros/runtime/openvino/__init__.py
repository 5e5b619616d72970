"""Stages on OpenVINO, on the CPU or on Intel's integrated GPU. Needs no torch."""
