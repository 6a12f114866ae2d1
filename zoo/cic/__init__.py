"""Colorful Image Colorization: the classification network over 313 colour bins."""

from zoo.cic.model import CIC

__all__ = ["CIC"]
