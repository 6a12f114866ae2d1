"""Processes that share work: what a launcher says of them, and claims on units of work."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
