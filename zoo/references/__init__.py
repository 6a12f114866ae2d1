"""References: models that are given the true colors, to interpret metrics."""

from zoo.references.colorizers import GroundTruth, GroundTruthJpeg95, HalfChroma

__all__ = ["GroundTruth", "GroundTruthJpeg95", "HalfChroma"]
