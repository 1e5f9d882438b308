"""Benchmarks: figures to read, not tests with time limits. ``python -m tests.bench --help``."""
