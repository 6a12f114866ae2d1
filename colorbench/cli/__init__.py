"""The command line: one file per verb, loaded only when its verb is called, so that ``--help`` is fast."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
