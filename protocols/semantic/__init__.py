"""The ``semantic`` protocol: accuracy of an independent classifier on the colorized images.

    colorbench run --protocol semantic
    colorbench run --protocol semantic --param semantic.classifiers=tf_efficientnet_lite0,resnet50

It follows the paper's section 3.1, "semantic interpretability". Every image is colorized once and classified by all
classifiers; its true colors and its gray version (Lab L, ab = 0) are classified once for all models.
"""

from protocols.semantic.protocol import SemanticProtocol, SemanticScorer

__all__ = ["SemanticProtocol", "SemanticScorer"]
