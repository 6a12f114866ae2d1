"""A small decoder on a pretrained classifier: the modern reference model."""

from zoo.lite.colorizer import Lite

__all__ = ["Lite"]
