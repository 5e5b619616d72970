"""The parts of the benchmark `test/benchmark/deadlines.py`: loads, traces, policies, runs, summaries, plots."""
