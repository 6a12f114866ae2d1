"""A model that can be run, with all that a record says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from colorbench.models.colorizer_interfaces import Colorizer, OnDevice
from colorbench.models.foreign_code import one_line
from colorbench.models.image_folder_model import ImageFolderModel
from colorbench.models.model_card import ModelCard
from colorbench.models.networks import device_of, evaluation_mode, networks_of
from colorbench.models.onnx_model import OnnxColorizer


@dataclass
class LoadedModel:
    """A model under the name that tables print, with all that the record says of it."""

    full_name: str
    """With its resolved tag: ``zoo/cic.small``; ``zoo/cic@mine`` with ``--weights mine.safetensors``."""
    package: str | None
    """Installed package that it comes from; None for a file or a folder."""
    package_version: str | None
    """Of the package; where code can change without it (a file, an editable install), with a hash of the code."""
    colorizer: Colorizer
    card: ModelCard
    weights_sha256: str | None = None
    """Of the weights file; of stored images, over all of them, once they are prepared."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """decode and temperature, where the model predicts a distribution."""
    undecoded_name: str | None = None
    """The name without a decoding that was chosen; None where none was."""
    usual_decoding: Mapping[str, Any] | None = None
    """Before one was chosen."""

    @property
    def stored(self) -> ImageFolderModel | None:
        """The stored predictions that it reads; None for a model that computes them."""
        return self.colorizer if isinstance(self.colorizer, ImageFolderModel) else None

    def runtime_notes(self, device: torch.device) -> list[str]:
        """Return what a reader must know of where the model ran, in a run on ``device``."""
        note = self.colorizer.runtime_note(device) if isinstance(self.colorizer, OnnxColorizer) else None
        return [] if note is None else [note]

    def prepare(self, ids: tuple[str, ...]) -> None:
        """Prepare a run on the images ``ids``: stored predictions are looked up and hashed.

        Raises:
            RunError: if images are missing.
        """
        if isinstance(self.colorizer, ImageFolderModel):
            self.weights_sha256 = self.colorizer.prepare(ids)

    def to(self, device: torch.device) -> LoadedModel:
        """Move the model's tensors, where it has any: by its own method, or the networks that it holds.

        Raises:
            UserError: for a model whose own method fails.
        """
        with one_line(f"{self.full_name} cannot be moved to {device}"):
            if isinstance(self.colorizer, OnDevice):
                self.colorizer.to(device)
            else:
                for network in networks_of(self.colorizer):
                    network.to(device)
        return self

    @contextlib.contextmanager
    def at_work(self, device: torch.device) -> Iterator[None]:
        """Move the model to a device, in evaluation mode; afterwards restore its device and mode."""
        home = device_of(self.colorizer) or torch.device("cpu")
        with evaluation_mode(self.colorizer):
            try:
                self.to(device)
                yield
            finally:
                self.to(home)
