"""Results: what is stored of a run (record, rows, shards), and how it is read and paired."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
