"""Regression baselines of "Colorful Image Colorization": the same trunk, ab by Euclidean loss."""

from zoo.regression.colorizer import L2, L2FineTuned

__all__ = ["L2", "L2FineTuned"]
