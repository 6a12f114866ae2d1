"""Benchmarks: ratios against named alternatives, measured in one run; they are not tests."""
