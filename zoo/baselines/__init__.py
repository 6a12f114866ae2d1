"""Baselines: gray, the mean colour, the best single colour, and another photograph's colours."""

from zoo.baselines.colorizers import RandomPhotograph, constant, gray, mean_color

__all__ = ["RandomPhotograph", "constant", "gray", "mean_color"]
