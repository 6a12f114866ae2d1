"""Networks that the authors of CIC released, loaded from their own files."""

from zoo.released.colorizers import ECCV16, Siggraph17

__all__ = ["ECCV16", "Siggraph17"]
