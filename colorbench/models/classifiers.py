"""Image classifiers for the evaluation of colorizations: timm's architectures with weights identified by hash.

    tf_efficientnet_lite0 weights in a Python package among the dependencies: no download tf_efficientnet_lite1, _lite2
    the same with the extra `classifiers` resnet50, resnet50.a1_in1k timm's published weights, downloaded once
    resnet18:weights.safetensors an architecture with a user's weights file (also https://... or hf:...)

Classifiers compute in float32, on a CPU one image at a time: that is as fast as a batch, and results do not depend on
which images are classified together.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from colorbench.errors import RunError, UserError, describe
from colorbench.models.classifier_weights import (
    IN_PACKAGES,
    PACKAGED_CLASSIFIER,
    packaged_file,
    published_file,
    with_packaged_weights,
)
from colorbench.models.networks import in_fast_order, place
from colorbench.models.weights_download import resolve_weights
from colorbench.models.weights_files import check_shapes, load_weights
from colorbench.registry import nearest
from colorbench.storage import file_sha256

PACKAGED_MEAN, PACKAGED_STD = 127 / 255, 128 / 255
"""Normalization of EfficientNet-Lite, (x - 127) / 128 for 0..255; timm's weights of the same name use 127.5 for
both."""

Crop = Literal["none", "timm"]


@dataclass(frozen=True)
class ClassifierPreprocessing:
    """Preprocessing from an 8-bit image of any size to the input of a classifier."""

    crop: Crop
    """``none``: the whole image, squashed by Pillow's bicubic kernel; ``timm``: the crop of timm's evaluation."""
    size: tuple[int, int]
    """(H, W)."""
    mean: tuple[float, ...]
    """Mean of each channel, for values in 0..1."""
    std: tuple[float, ...]
    interpolation: str
    crop_share: float
    """Side of the center crop relative to the resized image; 1 for no crop."""
    crop_mode: str

    def apply(self, rgb8: np.ndarray) -> Tensor:
        """Preprocess an image: (h, w, 3) uint8 -> (3, H, W) float32, normalized."""
        image = Image.fromarray(rgb8)
        if self.crop == "timm":
            shown = _timm_transform(self)(image)
            assert isinstance(shown, Tensor)
            return shown
        height, width = self.size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)  # (3, H, W)
        return values.sub_(torch.tensor(self.mean)[:, None, None]).div_(torch.tensor(self.std)[:, None, None])


@lru_cache(maxsize=64)
def _timm_transform(preprocessing: ClassifierPreprocessing) -> Callable[[Image.Image], object]:
    from timm.data.transforms_factory import create_transform

    transform: Callable[[Image.Image], object] = create_transform(
        (3, *preprocessing.size),
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_share,
        crop_mode=preprocessing.crop_mode,
    )
    return transform


class Classifier:
    """A network with its weights, preprocessing and classes."""

    def __init__(
        self, name: str, network: nn.Module, weights_sha256: str, preprocessing: ClassifierPreprocessing, n_classes: int
    ) -> None:
        self.name, self.weights_sha256 = name, weights_sha256
        self.preprocessing, self.n_classes = preprocessing, n_classes
        self._network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._outputs: dict[str, threading.local] = {}
        self._lock = threading.Lock()

    @property
    def identity(self) -> dict[str, Any]:
        """Plain data that identify everything on which the predictions depend."""
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "preprocessing": {**asdict(self.preprocessing), "size": list(self.preprocessing.size)},
        }

    @cached_property
    def key(self) -> str:
        """Hash of the identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def synsets(self) -> Mapping[str, int] | None:
        """WordNet synset (``n01440764``) -> class index, if the classes are ImageNet's; None if unknown."""
        from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

        subset = infer_imagenet_subset({"num_classes": self.n_classes})
        if subset is None:
            return None
        info: Any = ImageNetInfo(subset)
        return {name: index for index, name in enumerate(info.label_names())}

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode; to change it, copy it."""
        return self._network

    def logits(self, rgb8: Tensor) -> Tensor:
        """Compute the outputs of the network.

        Args:
            rgb8: (N, 3, h, w) uint8, of any size; the network runs on its device.

        Returns:
            (N, n_classes) float32 on the same device.

        Raises:
            RunError: if the output contains NaN or infinity.
        """
        return self._run(rgb8, self._network)

    def features(self, rgb8: Tensor, layer: str = "pool") -> Tensor:
        """Compute the features of images in one layer of the network.

        Args:
            rgb8: (N, 3, h, w) uint8, of any size; the network runs on its device.
            layer: ``pool`` for the input of the last layer, or the name of a module (``blocks.4``), whose output is
                averaged over space.

        Returns:
            (N, d) float32 on the same device.

        Raises:
            UserError: for an unknown layer.
            RunError: for features that contain NaN or infinity.
        """
        if layer == "pool":
            return self._run(rgb8, self._pooled)
        outputs = self._outputs_of(layer)

        def run(shown: Tensor) -> Tensor:
            self._network(shown)
            output: Tensor = outputs.last
            # (N, C, h, w) of convolutions, or (N, tokens, C).
            return output.mean(dim=(2, 3)) if output.dim() == 4 else output.flatten(1, -2).mean(dim=1)

        return self._run(rgb8, run)

    def check_layer(self, layer: str) -> None:
        """Raise if the network does not have a layer.

        Raises:
            UserError: naming the most similar layer, or some layers.
        """
        if layer != "pool":
            self._outputs_of(layer)

    def _outputs_of(self, layer: str) -> threading.local:
        """Return the last output of a module, per thread, since several threads run the same network."""
        with self._lock:
            if layer not in self._outputs:
                modules = {name: module for name, module in self._network.named_modules() if name}
                if layer not in modules:
                    near = nearest(layer, list(modules))
                    hint = f"did you mean {near}?" if near else f"give pool, or of {', '.join(list(modules)[:8])} ..."
                    raise UserError(f"{self.name} has no layer {layer!r}", hint=hint)
                kept = self._outputs[layer] = threading.local()
                # The hook is never removed: another thread may be running the module.
                modules[layer].register_forward_hook(lambda module, given, output: setattr(kept, "last", output))
            return self._outputs[layer]

    def _pooled(self, shown: Tensor) -> Tensor:
        network: Any = self._network
        pooled: Tensor = network.forward_head(network.forward_features(shown), pre_logits=True)
        return pooled

    def _run(self, rgb8: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Run a part of the network: (N, 3, h, w) uint8 -> (N, ...) float32."""
        device = rgb8.device
        if next(self._network.parameters()).device != device:
            place(self._network, device)
        images = rgb8.permute(0, 2, 3, 1).cpu().numpy()  # (N, h, w, 3)
        shown = torch.stack([self.preprocessing.apply(np.ascontiguousarray(one)) for one in images])
        shown = in_fast_order(shown.to(device))
        with torch.no_grad():
            at_once = 1 if device.type == "cpu" else len(shown)
            parts = [shown[start : start + at_once] for start in range(0, len(shown), at_once)]
            found = torch.cat([network(part) for part in parts])
        if not bool(found.isfinite().all()):
            hint = "give other weights"
            raise RunError(f"classifier {self.name} returned NaN or infinity", hint=hint)
        return found


def load_classifiers(names: str, *, crop: Crop = "none") -> tuple[Classifier, ...]:
    """Load the classifiers of a list such as ``tf_efficientnet_lite0,resnet18:FILE``.

    Raises:
        UserError: as ``load_classifier``; for an empty list, and for a classifier that is named twice.
    """
    asked = [name.strip() for name in names.split(",") if name.strip()]
    if not asked:
        raise UserError("no classifier was given", hint=f"give for example classifiers={PACKAGED_CLASSIFIER}")
    loaded = tuple(load_classifier(name, crop=crop) for name in asked)
    seen: dict[str, str] = {}
    for one, name in zip(loaded, asked, strict=True):
        if slug(one.name) in seen:
            twice = f"{seen[slug(one.name)]!r} and {name!r}"
            raise UserError(
                f"two classifiers have the same name: {twice}", hint="give each classifier and file name only once"
            )
        seen[slug(one.name)] = name
    return loaded


def load_classifier(name: str, *, crop: Crop = "none") -> Classifier:
    """Load a classifier by timm's name.

    ``NAME:FILE`` loads the weights from a file (also ``https://...`` or ``hf:...``).

    Args:
        name: see the head of this file.
        crop: ``none`` for the whole image, ``timm`` for the crop of timm's evaluation.

    Raises:
        UserError: for an unknown name, a network that is not a classifier, weights that are missing or do not fit, or a
            download while offline.
        RunError: for a download that fails.
    """
    if crop not in get_args(Crop):
        raise UserError(f"crop cannot be {crop!r}", hint=f"choose {' or '.join(get_args(Crop))}")
    architecture, colon, source = name.partition(":")
    config = _config(architecture)
    if not config.num_classes:
        raise UserError(
            f"{architecture} is not a classifier: it has no classes",
            hint="use one that was trained on ImageNet classes",
        )
    preprocessing = _preprocessing(config, crop)
    if colon:
        path, known_as = resolve_weights(source), f"{architecture}:{Path(source.partition('@')[0]).stem}"
        network = _network(architecture, load_weights(path), path)
    elif architecture in IN_PACKAGES:
        path, known_as = packaged_file(architecture), architecture
        network = with_packaged_weights(architecture, path)
        preprocessing = replace(preprocessing, mean=(PACKAGED_MEAN,) * 3, std=(PACKAGED_STD,) * 3)
    else:
        path = published_file(architecture, config)
        known_as = f"{config.architecture}.{config.tag}" if config.tag else architecture
        network = _network(architecture, load_weights(path), path)
    return Classifier(known_as, network, file_sha256(path), preprocessing, int(config.num_classes))


def slug(name: str) -> str:
    """Convert a classifier's name to letters, digits and underscores, for names of columns and metrics."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()


def _config(architecture: str) -> Any:
    """Return timm's configuration of an architecture and its published weights.

    Raises:
        UserError: for an unknown name or tag, suggesting the most similar.
    """
    import timm

    base, dot, tag = architecture.partition(".")
    if not timm.is_model(base):
        near = nearest(base, timm.list_models())
        hint = f"did you mean {near}?" if near else "`timm.list_models(pretrained=True)` names them"
        raise UserError(f"timm has no classifier {base!r}", hint=hint)
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
    if dot and tag not in tags:
        hint = f"it has {', '.join(tags)}" if tags else f"it has none; use a file, {base}:FILE"
        raise UserError(f"timm has no weights {tag!r} for {base}", hint=hint)
    config = timm.get_pretrained_cfg(architecture)
    if config is None:
        what = f"timm has no preprocessing for {architecture}"
        raise UserError(what, hint="use an architecture with published weights")
    return config


def _preprocessing(config: Any, crop: Crop) -> ClassifierPreprocessing:
    from timm.data import config as timm_config

    known: Any = timm_config
    data = known.resolve_data_config(pretrained_cfg=config.to_dict())
    size: Sequence[int] = data["input_size"][1:]
    full = crop == "none"
    return ClassifierPreprocessing(
        crop=crop,
        size=(size[0], size[1]),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation="bicubic" if full else data["interpolation"],
        crop_share=1.0 if full else data["crop_pct"],
        crop_mode="full" if full else data["crop_mode"],
    )


def _network(architecture: str, state: dict[str, Tensor], path: Path) -> nn.Module:
    """Build timm's network and load the weights.

    timm converts between the formats in which weights of an architecture are published.

    Raises:
        UserError: for weights of another network.
    """
    import timm

    with torch.random.fork_rng(devices=[]):  # random numbers are drawn for the initial weights
        try:
            network: nn.Module = timm.create_model(
                architecture, pretrained=True, pretrained_cfg_overlay={"state_dict": state}
            )
        except Exception as error:  # timm's conversion may raise any error for an unknown file
            check_shapes(state, timm.create_model(architecture).state_dict(), path)
            raise UserError(f"the weights do not fit {architecture}: {describe(error)}", where=str(path)) from error
    return network
