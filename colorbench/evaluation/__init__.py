"""Evaluation: what a run is made of, and the interfaces that the author of a protocol implements."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
