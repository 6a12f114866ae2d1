"""Training the decoder: the loss of ``zoo/cic`` on what the frozen encoder gives."""

from __future__ import annotations

from torch import Tensor

from zoo.cic.training_task import ClassificationTraining
from zoo.lite.network import Network


class DecoderTraining(ClassificationTraining):
    """Network, rebalancing weights and loss of the decoder; ``forward`` is the loss."""

    network_class = Network

    def initialize(self, lightness: Tensor, seed: int) -> None:
        """Start at the best prediction without the image; other layers stay as torch draws them."""
        self.start_at_prior(self.network.decoder.head)
