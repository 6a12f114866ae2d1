"""The regression models of the paper's table 1: ``zoo/l2``, "Ours (L2)", and ``zoo/l2-ft``, "Ours (L2, ft)"."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from zoo.cic.colorizer import SHIPPED as CLASSIFICATION_WEIGHTS
from zoo.cic.trunk_colorizer import TrunkColorizer
from zoo.regression.presets import FINE_TUNING_PRESETS, PRESETS
from zoo.regression.training_task import AB_SCALE, RegressionTraining

WEIGHTS = Path(__file__).parent / "weights"


class L2(TrunkColorizer):
    """Regression of ab with the Euclidean loss (paper, equation 1), trained from scratch."""

    tags = {
        "small": "included weights: width 0.2, trained on a GPU",
        "untrained": "control: width 0.2, random initialization, not trained",
    }
    presets = PRESETS
    training = RegressionTraining
    shipped = WEIGHTS / "l2-small.safetensors"
    outputs = 2

    def colorize(self, lightness: Tensor) -> Tensor:
        """Predict ab: (N, 1, H, W) L in 0..100 -> (N, 2, H/4, W/4); H and W multiples of 8."""
        return self.prediction(lightness) * AB_SCALE


class L2FineTuned(L2):
    """The same regression, initialized from the trunk of the full classification network."""

    tags = {"small": "included weights: width 0.2, trained on a GPU"}
    presets = FINE_TUNING_PRESETS
    shipped = WEIGHTS / "l2-ft-small.safetensors"
    initial = CLASSIFICATION_WEIGHTS
    """Default initial weights of `colorbench train`; the head is new."""
