"""Networks released by the authors of CIC, loaded from their files."""

from zoo.released.colorizers import ECCV16, Siggraph17

__all__ = ["ECCV16", "Siggraph17"]
