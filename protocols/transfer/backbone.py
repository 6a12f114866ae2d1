"""A colorizer as the lower part of another network: the feature map of one layer, fine-tuned from a given block on.

The weights to tune are found from gradients, for any architecture: weights on which the map of the block below the
first tuned one depends are frozen, all others up to the layer are tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from colorbench.errors import RunError, UserError
from colorbench.models import HasFeatures, LoadedModel, chosen_layers, in_fast_order, modules_of

HEAD, ALL, DEEPEST = "head", "all", "auto"


class Backbone(nn.Module):
    """(N, 1, H, W) lightness -> (N, C, h, w) of one layer. Normalization keeps its learned moments."""

    def __init__(self, model: LoadedModel, layer: str, tune: str, size: int, device: torch.device) -> None:
        """Copy the model, so that its own weights do not change.

        Args:
            model: with features.
            layer: name of the map; ``auto``: the deepest block among those of lowest resolution.
            tune: ``head`` (no weights of the backbone), ``all``, or the name of the first block that is tuned.
            size: side of the images in pixels, for a first pass through the model.
            device: of the computation.

        Raises:
            UserError: for a model without features, or names of layers that it does not have.
        """
        super().__init__()
        colorizer = deepcopy(model.colorizer)
        if not isinstance(colorizer, HasFeatures):
            raise UserError(f"transfer needs a model with features, and {model.full_name} has none")
        self.name = model.full_name
        # In a list, so that nn.Module does not put the copy into its own train mode.
        self._colorizer = [colorizer]
        LoadedModel(**{**vars(model), "colorizer": colorizer}).to(device)
        self.parts = nn.ModuleList(modules_of(colorizer).values())
        self.requires_grad_(True)
        with torch.enable_grad():
            maps = colorizer.features(torch.full((1, 1, size, size), 50.0, device=device))
            blocks = chosen_layers(list(maps), "blocks")
            self.layer = self._named(layer, maps, blocks)
            self.channels, self.height = maps[self.layer].shape[1], maps[self.layer].shape[2]
            used = self._reaching(maps[self.layer])
            if tune == HEAD:
                tuned: list[nn.Parameter] = []
            elif tune == ALL:
                tuned = used
            elif tune in blocks and blocks.index(tune) <= blocks.index(self.layer):
                first = blocks.index(tune)
                below = {id(one) for one in self._reaching(maps[blocks[first - 1]])} if first else set()
                tuned = [one for one in used if id(one) not in below]
            else:
                known = ", ".join(blocks[: blocks.index(self.layer) + 1])
                raise UserError(f"tune cannot be {tune!r}", hint=f"choose head, all, or one of {known}")
        if tune != HEAD and not tuned:
            raise UserError(f"{self.name} has no weights to tune", hint="use --param tune=head")
        self.requires_grad_(False)
        for parameter in tuned:
            parameter.requires_grad_(True)
        self.tuned = tuned
        self.eval()

    def _named(self, layer: str, maps: dict[str, Tensor], blocks: Sequence[str]) -> str:
        if layer != DEEPEST:
            (found,) = chosen_layers(blocks, layer) if "," not in layer and layer in blocks else (None,)
            if found is None:
                raise UserError(f"unknown block {layer!r}", hint=f"choose auto or one of {', '.join(blocks)}")
            return found
        minimum = min(maps[name].shape[2] for name in blocks)
        return [name for name in blocks if maps[name].shape[2] == minimum][-1]

    def _reaching(self, features: Tensor) -> list[nn.Parameter]:
        """Return the weights that a map depends on."""
        weights = list(self.parameters())
        if not weights or not features.requires_grad:
            return []
        slopes = torch.autograd.grad(features.sum(), weights, retain_graph=True, allow_unused=True)
        return [weight for weight, slope in zip(weights, slopes, strict=True) if slope is not None]

    def train(self, mode: bool = True) -> Backbone:
        """Keep evaluation mode.

        Batches of a fine-tuning are small, so normalization keeps its learned moments.
        """
        super().train(False)
        return self

    def forward(self, lightness: Tensor) -> Tensor:
        """Compute the maps: (N, 1, H, W) L in 0..100 -> (N, C, h, w) float32."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(self.tuned)):
            found: Tensor = self._colorizer[0].features(in_fast_order(lightness))[self.layer].float()
        if not torch.isfinite(found).all():
            raise RunError(f"{self.name} gives features that are not finite in layer {self.layer}")
        return found
