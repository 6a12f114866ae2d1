"""colorbench: evaluation, benchmarking and a reference model zoo for automatic image colorizers.

    import colorbench
    record = colorbench.run("zoo/cic", "auc", "my-images/")

Importing the package imports no torch; what is used is loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
