"""Results: the stored data of a run (record, rows, shards), reading and pairing."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
