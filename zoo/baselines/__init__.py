"""Baselines: gray, the mean color, the best single color, another image's colors, and the color of the nearest hint."""

from zoo.baselines.colorizers import RandomImage, constant, gray, mean_color
from zoo.baselines.nearest_hint import NearestHint

__all__ = ["NearestHint", "RandomImage", "constant", "gray", "mean_color"]
