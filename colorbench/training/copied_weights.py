"""Starting from the weights of another model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from colorbench.models import check_shapes, load_weights

HEAD = "head."
"""Names of the last layer begin so: it may differ, since another loss wants other maps."""


@torch.no_grad()
def copy_weights(network: nn.Module, path: Path) -> list[str]:
    """Copy the weights of a file into a network; the names of what stayed as it was.

    A head of the same shape is taken as well; one of another shape (classification to regression) stays.

    Raises:
        UserError: for a file that cannot be read, or weights of another trunk or width.
    """
    state, wanted = load_weights(path), network.state_dict()
    other = [
        name
        for name, value in wanted.items()
        if name.startswith(HEAD) and (name not in state or state[name].shape != value.shape)
    ]
    given = {name: value for name, value in state.items() if not (other and name.startswith(HEAD))}
    kept = [name for name in wanted if other and name.startswith(HEAD)]
    check_shapes(given, {name: value for name, value in wanted.items() if name not in kept}, path)
    for name, value in given.items():
        wanted[name].copy_(value)
    return kept
