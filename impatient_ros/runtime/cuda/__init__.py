"""Stages as CUDA graphs."""
