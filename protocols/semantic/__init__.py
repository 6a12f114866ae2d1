"""The ``semantic`` protocol: does a classifier that never saw the colorizer still know what the image shows?

    colorbench run --protocol semantic
    colorbench run --protocol semantic --param semantic.classifiers=tf_efficientnet_lite0,resnet50

After the paper's section 3.1, "semantic interpretability". Every image is colorized once and judged by all
classifiers; its true colors and its gray version (Lab L, ab = 0) are judged once for all models.
"""

from protocols.semantic.protocol import SemanticProtocol, SemanticScorer

__all__ = ["SemanticProtocol", "SemanticScorer"]
