"""Ratios against named opponents, measured in one run. Not tests."""
