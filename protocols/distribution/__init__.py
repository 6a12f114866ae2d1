"""The ``distribution`` protocol: distance between predictions and real images as sets, by features of a network.

    colorbench run --protocol distribution
    colorbench run --protocol distribution --param distribution.backend=tf_efficientnet_lite1
    colorbench run --protocol distribution --param distribution.backend=inception

The features of all predictions are compared with those of the true colors as two sets, not image by image. The headline
is a kernel distance (KID) in its paired form; the Fréchet distance (FID for Inception features) is added if there are
enough images. See docs/distribution.md.
"""

from protocols.distribution.protocol import DistributionProtocol, DistributionScorer

__all__ = ["DistributionProtocol", "DistributionScorer"]
