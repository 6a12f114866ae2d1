"""The ``fidelity`` protocol: distance of predictions from the ground truth, and their colorfulness.

    colorbench run --protocol fidelity
    colorbench run --protocol fidelity --param fidelity.psnr_infinite=drop

All metrics use the rendered 8-bit image. Distances from one ground truth reward cautious colors: gray scores well in
PSNR and color difference, so compare both with the gray baseline and with the colorfulness. SSIM hardly depends on
color.

Gray images are handled by the run (``--gray keep|drop``). This protocol only defines the treatment of infinite PSNR and
of images without chroma.
"""

from protocols.fidelity.fidelity_metrics import METRICS
from protocols.fidelity.protocol import FidelityProtocol, FidelityScorer

__all__ = ["METRICS", "FidelityProtocol", "FidelityScorer"]
