"""The ``fidelity`` protocol: how near a colorization is to the true colors, and how colorful it is.

    colorbench run --protocol fidelity
    colorbench run --protocol fidelity --param fidelity.psnr_infinite=drop

Everything is measured on the rendered 8-bit image. Nearness to one truth rewards caution: gray does well in PSNR and in
color difference, so read both beside the gray row and beside the colorfulness of the images. SSIM hardly sees color.

Images that are gray themselves are left to the run (``--gray keep|drop``). This protocol decides only what an infinite
PSNR counts and which images have no chroma to compare with.
"""

from protocols.fidelity.fidelity_metrics import METRICS
from protocols.fidelity.protocol import FidelityProtocol, FidelityScorer

__all__ = ["METRICS", "FidelityProtocol", "FidelityScorer"]
