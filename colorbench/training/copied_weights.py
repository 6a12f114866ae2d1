"""Initialization of a network with the weights of another model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from colorbench.models import check_shapes, load_weights

HEAD = "head."
"""Prefix of the last layer, which may differ, since it depends on the loss."""


@torch.no_grad()
def copy_weights(network: nn.Module, path: Path) -> list[str]:
    """Copy the weights of a file into a network; return the names of the weights that were not copied.

    A head of the same shape is copied as well; one of another shape (classification to regression) is not.

    Raises:
        UserError: for an unreadable file, or weights of another trunk or width.
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
