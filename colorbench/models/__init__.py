"""Models: the interfaces of a colorizer, its card, adapters, loading and weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
