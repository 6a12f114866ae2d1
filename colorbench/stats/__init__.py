"""Statistics: confidence intervals, paired tests, ranks and clustered designs, as functions of NumPy arrays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
