"""References: models that are shown the truth, to know what a number means."""

from zoo.references.colorizers import GroundTruth, GroundTruthJpeg95, HalfChroma

__all__ = ["GroundTruth", "GroundTruthJpeg95", "HalfChroma"]
