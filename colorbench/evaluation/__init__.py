"""Evaluation: running models under protocols, and the interfaces that authors of protocols implement."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
