"""The classification network of "Colorful Image Colorization"."""

from zoo.cic.colorizer import CIC, CICClass, CICPixelwise

__all__ = ["CIC", "CICClass", "CICPixelwise"]
