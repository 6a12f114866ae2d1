"""Color: sRGB and Lab, the 313 ab bins of CIC, soft encoding and the color prior.

colorbench.color.rgb_to_lab(rgb), colorbench.color.ab_bins()
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
