"""A loaded model, with the facts about it that a record stores."""

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
    """A model that can be run, with its name, card, package, weights hash and decoding."""

    full_name: str
    """Name with the resolved tag: ``zoo/cic.small``; ``zoo/cic@mine`` with ``--weights mine.safetensors``."""
    package: str | None
    """Installed package that contains it; None for a file or a folder."""
    package_version: str | None
    """Version of the package; with a hash of the code for a file or an editable install."""
    colorizer: Colorizer
    card: ModelCard
    weights_sha256: str | None = None
    """Hash of the weights file; for stored predictions, over all of them after ``prepare``."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Method and temperature, if the model predicts a distribution."""
    undecoded_name: str | None = None
    """Name without the chosen decoding; None if none was chosen."""
    usual_decoding: Mapping[str, Any] | None = None
    """Decoding before one was chosen."""

    @property
    def stored(self) -> ImageFolderModel | None:
        """The folder of stored predictions that it reads; None for a model that computes them."""
        return self.colorizer if isinstance(self.colorizer, ImageFolderModel) else None

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may call the model at once, as its class says."""
        return getattr(self.colorizer, "thread_safe", False) is True

    def runtime_notes(self, device: torch.device) -> list[str]:
        """Return notes for the record about where the model ran, in a run on ``device``."""
        note = self.colorizer.runtime_note(device) if isinstance(self.colorizer, OnnxColorizer) else None
        return [] if note is None else [note]

    def prepare(self, ids: tuple[str, ...]) -> None:
        """Prepare a run on the images ``ids``: find and hash stored predictions.

        Raises:
            RunError: if images are missing.
        """
        if isinstance(self.colorizer, ImageFolderModel):
            self.weights_sha256 = self.colorizer.prepare(ids)

    def to(self, device: torch.device) -> LoadedModel:
        """Move the model's tensors to a device, by its own method or network by network.

        Raises:
            UserError: if the model's own method fails.
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
        """Move the model to a device in evaluation mode; restore its device and mode afterwards."""
        home = device_of(self.colorizer) or torch.device("cpu")
        with evaluation_mode(self.colorizer):
            try:
                self.to(device)
                yield
            finally:
                self.to(home)
