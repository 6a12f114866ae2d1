"""Data-dependent k-means initialization (Krähenbühl, Doersch, Donahue, Darrell, ICLR 2016), as used in the paper.

Layer by layer from the input: the filters of a convolution are set to centroids of normalized patches of its input,
then each channel is scaled and shifted so that its pre-activations have unit variance and a mean of 0.1. Without it a
training of this network stays at a single tint (richzhang/colorization-pytorch, issue 3).

Scales are corrected layer by layer, so that all activations are of order one. The original can then exchange scale
between neighboring layers until their relative gradients are equal, which equalizes the rates of change under plain
gradient descent. Adam's step does not depend on the scale of the gradient, so this is left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

PATCHES = 12000
BIAS = 0.1  # magic_init's default


@torch.no_grad()
def kmeans_initialize(trunk: nn.Sequential | nn.Module, inputs: Tensor, seed: int = 0) -> Tensor:
    """Initialize every convolution of ``trunk`` in place, in the order of the data flow; return its output.

    Args:
        trunk: module whose children, in order, are blocks of layers.
        inputs: (N, C, H, W) input of the trunk; about 64 images are enough.
        seed: seed of the choice of patches and of k-means.
    """
    rng = np.random.default_rng(seed)
    trunk.train()
    x = inputs
    for block in trunk.children():
        for layer in block.children():
            if isinstance(layer, nn.Conv2d):
                _set_filters(layer, x, rng)
                _standardize(layer, x)
            elif isinstance(layer, nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight)  # a transposed convolution has no input patches to learn from
                _standardize(layer, x)
            x = layer(x).contiguous()
    return x


def _set_filters(layer: nn.Conv2d, x: Tensor, rng: np.random.Generator) -> None:
    from sklearn.cluster import MiniBatchKMeans  # takes seconds to import; needed only for training

    positions = max(1, PATCHES // len(x))
    assert isinstance(layer.padding, tuple)
    padding = layer.padding
    patches = []
    for image in x:
        # Every second position, since neighbors are similar.
        columns = unfold(image[None], layer.kernel_size, layer.dilation, padding, 2)[0].T  # (positions, C k k)
        patches.append(columns[torch.from_numpy(rng.permutation(len(columns))[:positions])])
    matrix = torch.cat(patches).numpy()
    matrix = matrix - matrix.mean(axis=0)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix = (matrix / np.maximum(norms, 1e-6))[norms[:, 0] > np.percentile(norms, 10)]
    clusters = min(layer.out_channels, len(matrix))
    found = MiniBatchKMeans(clusters, random_state=int(rng.integers(2**31)), n_init=1, batch_size=1024, max_iter=20)
    centroids = found.fit(matrix).cluster_centers_
    filters = torch.from_numpy(centroids.astype(np.float32)).reshape(clusters, *layer.weight.shape[1:])
    nn.init.kaiming_normal_(layer.weight)
    layer.weight[:clusters] = filters


def _standardize(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor) -> None:
    assert layer.bias is not None
    layer.bias.zero_()
    y = layer(x)
    std, mean = y.std(dim=(0, 2, 3)).clamp_min(1e-6), y.mean(dim=(0, 2, 3))
    across = (1, -1, 1, 1) if isinstance(layer, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    layer.weight.div_(std.reshape(across))
    layer.bias.copy_(BIAS - mean / std)
