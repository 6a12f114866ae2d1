"""Which models lie on the device: those at work, as many as fit.

All models of a pass take turns at each batch. Moving one there and back at each turn would take longer than its work,
so they stay as long as there is room. Once the device is full, only the model whose turn it is lies there.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import torch

from colorbench.models.loading import LoadedModel
from colorbench.models.networks import device_of, evaluation_mode

Prediction = TypeVar("Prediction")


class Residents:
    """Lends models to a device, in evaluation mode; at the end each is where it was, in the mode it was in."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.one_at_a_time = False
        self._homes: dict[int, tuple[LoadedModel, torch.device]] = {}
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> Residents:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._all_home()
        finally:
            self._stack.close()

    def work(self, model: LoadedModel, do: Callable[[], Prediction]) -> Prediction:
        """Return what ``do`` returns while the model lies on the device.

        Raises:
            RunError, torch.OutOfMemoryError: where there is no room for it even alone.
        """
        try:
            self._fetch(model)
            prediction = do()
        except Exception as error:
            if not (_out_of_memory(error) and len(self._homes) > 1 and not self.one_at_a_time):
                raise
            self.one_at_a_time = True
            del error  # its traceback holds tensors
            self._all_home()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self._fetch(model)
            prediction = do()
        if self.one_at_a_time:
            self._all_home()
        return prediction

    def _fetch(self, model: LoadedModel) -> None:
        with self._lock:  # batches side by side
            if id(model) in self._homes:
                return
            self._stack.enter_context(evaluation_mode(model.colorizer))
            self._homes[id(model)] = (model, device_of(model.colorizer) or torch.device("cpu"))
            model.to(self.device)

    def _all_home(self) -> None:
        with self._lock:
            for model, home in self._homes.values():
                model.to(home)
            self._homes.clear()


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or isinstance(error.__cause__, torch.OutOfMemoryError)
