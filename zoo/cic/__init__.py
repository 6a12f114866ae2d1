"""The classification network of "Colorful Image Colorization"."""

from zoo.cic.colorizer import CIC, CICClass

__all__ = ["CIC", "CICClass"]
