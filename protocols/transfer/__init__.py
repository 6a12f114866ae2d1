"""The ``transfer`` protocols: dataset generalization (paper, section 3.2, table 2)."""

from protocols.transfer.classification import TransferClassificationProtocol
from protocols.transfer.segmentation import TransferSegmentationProtocol

__all__ = ["TransferClassificationProtocol", "TransferSegmentationProtocol"]
