"""The parts of the benchmark test/benchmark/deadlines.py."""
