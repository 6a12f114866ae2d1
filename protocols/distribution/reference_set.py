"""Reference datasets other than the ground truth: their features, computed once and cached on disk."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from colorbench.data import Dataset, get_preprocessing, load_batches, open_dataset
from colorbench.errors import UserError
from colorbench.storage import cache_folder, content_fingerprint, digest_of, is_intact, write_checked
from protocols.distribution.feature_networks import Backend

SAME = "same"


@dataclass(frozen=True)
class ReferenceSet:
    """A dataset of real images as the reference."""

    dataset: Dataset
    preprocessing: str
    backend: Backend
    fingerprint: str
    """sha256 over the sorted content hashes of its files."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the features, except backend and preprocessing."""
        return {"n": len(self.dataset), "fingerprint": self.fingerprint}

    @property
    def name(self) -> str:
        """Name for display."""
        return f"{self.dataset.name} of {len(self.dataset)} images, {self.fingerprint[:8]}"

    def features(self) -> np.ndarray:
        """Return the features (m, d) float32, from the cache if available.

        Raises:
            UserError: if no image can be read.
        """
        key = digest_of({**self.identity, "preprocessing": self.preprocessing, "backend": self.backend.identity})
        path = cache_folder() / "features" / f"{key[:32]}.npy"
        with self._lock:
            if not is_intact(path):
                buffer = io.BytesIO()
                np.save(buffer, self._made())
                write_checked(path, buffer.getvalue(), durable=True)
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            return found

    def _made(self) -> np.ndarray:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        batches = load_batches(
            self.dataset.samples, get_preprocessing(self.preprocessing), batch_size=16, workers=2, gray_policy="keep"
        )
        with torch.no_grad():
            parts = [self.backend.features(batch.rgb8.to(device)).cpu().numpy() for batch in batches if batch.ids]
        if not parts:
            raise UserError("no image of the reference can be read", where=self.dataset.source or self.dataset.name)
        return np.concatenate(parts)


def open_reference(name: str, preprocessing: str, backend: Backend) -> ReferenceSet | None:
    """Open the reference dataset; None for the true colors of the same images.

    Raises:
        UserError: for a dataset that cannot be opened or is empty.
    """
    if name == SAME:
        return None
    dataset = open_dataset(name)
    if not dataset.samples:
        raise UserError("there are no images in the reference", where=name, hint="check distribution.reference")
    fingerprint = content_fingerprint([sample.sha256() for sample in dataset.samples])
    return ReferenceSet(dataset, preprocessing, backend, fingerprint)
