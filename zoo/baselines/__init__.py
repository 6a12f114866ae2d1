"""Baselines: gray, the mean color, the best single color, and another image's colors."""

from zoo.baselines.colorizers import RandomImage, constant, gray, mean_color

__all__ = ["RandomImage", "constant", "gray", "mean_color"]
