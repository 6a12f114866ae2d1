"""The classification network of "Colorful Image Colorization"."""

from zoo.cic.model import CIC, CICClass

__all__ = ["CIC", "CICClass"]
