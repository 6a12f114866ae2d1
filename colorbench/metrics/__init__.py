"""Metrics as pure functions: tensors in, one float64 per image out.

Every value depends on its image alone, not on the batch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
