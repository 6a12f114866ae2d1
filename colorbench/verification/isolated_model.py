"""Prediction by a model in a separate process that receives only lightness, for ``verify --rerun``.

``Apart`` starts a child with a clean environment, in an empty folder, whose command line names no path. The child may
not read the dataset (``permanent_file_blocking``). Ids and seeds are random tokens, and sizes are scaled, so that
predictions can depend only on lightness. Only arrays cross the process boundary, never objects.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from colorbench.data import Sample
from colorbench.errors import RunError, UserError
from colorbench.processes import ended_with_this_process, temporary_folder
from colorbench.storage.npz import packed, unpacked
from colorbench.verification.permanent_file_blocking import positions_of

if TYPE_CHECKING:
    from colorbench.models import ColorPrediction

_KEPT = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_CACHE_DIR"),
    *("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"),
)
"""Environment variables that a model may need; others could name the dataset."""
_START = (
    "import sys, json, struct; "
    "n, = struct.unpack('>Q', sys.stdin.buffer.read(8)); settings = json.loads(sys.stdin.buffer.read(n)); "
    "sys.path[:] = settings.pop('path'); "
    "from importlib.util import spec_from_file_location as spec, module_from_spec as make; "
    "s = spec('colorbench_file_access', settings.pop('guard')); m = make(s); s.loader.exec_module(m); "
    "guard = m.keep_away(settings.pop('roots'), map(tuple, settings.pop('inodes'))); "
    "from colorbench.verification.isolated_model import serve; serve(settings, guard)"
)
LARGEST_MESSAGE = 1 << 32


class Apart:
    """A model in a separate process."""

    def __init__(self, model: Mapping[str, Any], samples: Iterable[Sample]) -> None:
        """Start the process and load the model there.

        Args:
            model: ``name``, ``decode``, ``temperature``, ``weights``, ``contract``, ``device``, ``dtype``.
            samples: of the dataset that the process may not read.

        Raises:
            UserError: for a model that cannot be loaded there.
        """
        self._resources = contextlib.ExitStack()
        folder = self._resources.enter_context(temporary_folder("colorbench-apart-"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            # Ctrl-C in a terminal reaches all processes of the command; this one is ended by its parent.
            start_new_session=True,
        )
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            self._resources.callback(stream.close)
        self._resources.enter_context(ended_with_this_process(self._process))
        positions = positions_of(samples)
        kept = [Path(entry).resolve() for entry in sys.path]
        settings = {
            # The current folder may be that of the dataset, so it is not on the import path.
            "path": [str(path) for path in kept if not any(path.is_relative_to(root) for root in positions["roots"])],
            "guard": str(Path(__file__).with_name("permanent_file_blocking.py")),
            **positions,
            **model,
        }
        try:
            self._send(json.dumps(settings).encode())
            response = json.loads(self._receive())
        except (OSError, EOFError, ValueError):
            response = {"error": "its process exited"}
        if "error" in response:
            self.close()
            raise UserError(f"the model cannot run in a separate process: {response['error']}")
        self.stochastic = bool(response["stochastic"])

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._resources.close()

    def ask(
        self, arrays: Mapping[str, np.ndarray], message: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Predict in the other process; return the predictions, for ``given_colors``, and the refused files.

        Args:
            arrays: ``lightness`` (N, 1, H, W), ``sizes`` (N, 2), ``seeds`` (N,), and ``truth`` for a reference; those
                of ``Told.arrays``, where more is asked for than the usual prediction.
            message: ``ids`` and ``preprocessing``.

        Raises:
            RunError: for a model that fails.
        """
        try:
            self._send(json.dumps(message).encode())
            self._send(packed(arrays))
            stated = json.loads(self._receive())
            data = self._receive()
        except (OSError, EOFError, ValueError) as error:
            raise RunError("the process of the model exited", hint="use another --device, or fewer images") from error
        refused = [str(one) for one in stated.get("refused", [])]
        if "error" in stated:
            tried = f" (it was refused: {refused[0]})" if refused else ""
            raise RunError(f"the model failed: {stated['error']}{tried}")
        return unpacked(data), refused

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        _write(self._process.stdin, data)

    def _receive(self) -> bytes:
        assert self._process.stdout is not None
        return _read(self._process.stdout)


def serve(settings: Mapping[str, Any], guard: Any) -> None:
    """Serve an isolated model in the child process: load it and predict until standard input ends."""
    predictions = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output that a model prints must not mix with the protocol
    questions = sys.stdin.buffer
    try:
        model = _loaded(settings)
    except Exception as error:  # foreign code
        _write(predictions, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return
    _write(predictions, json.dumps({"stochastic": model.card.stochastic}).encode())
    warm = False
    while True:
        try:
            message, arrays = json.loads(_read(questions)), unpacked(_read(questions))
        except EOFError:
            return
        try:
            if not warm:
                # Files that a model reads at its first call are read before it has received any image.
                noise = np.random.default_rng(0).uniform(0, 100, arrays["lightness"].shape).astype(np.float32)
                _colors(model, {**arrays, "lightness": noise}, message, settings)
                guard.lock()
                warm = True
            found = _colors(model, arrays, message, settings)
            stated: dict[str, Any] = {"refused": guard.refused}
        except BaseException as error:  # any error is reported to the parent
            found, stated = {}, {"refused": guard.refused, "error": f"{type(error).__name__}: {error}"[:500]}
        _write(predictions, json.dumps(stated).encode())
        _write(predictions, packed(found))


def _loaded(settings: Mapping[str, Any]) -> Any:
    from colorbench.evaluation.devices_and_memory import device_of
    from colorbench.models import load_model

    weights = settings["weights"]
    model = load_model(
        settings["name"],
        decode=settings["decode"],
        temperature=settings["temperature"],
        weights=None if weights is None else Path(weights),
        contract=settings.get("contract"),
    )
    return model.to(device_of(settings["device"]))


def _colors(
    model: Any, arrays: Mapping[str, np.ndarray], message: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    import torch

    from colorbench.evaluation import numerics
    from colorbench.evaluation.devices_and_memory import device_of, dtype_of
    from colorbench.models import ColorizerInput, evaluation_mode, precision
    from colorbench.models.sampled_and_guided_predictions import Told, ask_further

    device = device_of(settings["device"])
    truth = arrays.get("truth")
    inputs = ColorizerInput(
        lightness=torch.from_numpy(arrays["lightness"]).to(device),
        ids=tuple(message["ids"]),
        seeds=tuple(int(seed) for seed in arrays["seeds"]),
        truth=None if truth is None else torch.from_numpy(truth).to(device),
        sizes=tuple((int(height), int(width)) for height, width in arrays["sizes"]),
        preprocessing=message["preprocessing"],
    )
    dtype = dtype_of(settings["dtype"])
    with numerics(None), precision(device, dtype), evaluation_mode(model.colorizer):
        found = [model.colorizer.colorize_batch(inputs)]
        if "draws" in arrays:
            found += ask_further(model.colorizer, inputs, Told.of_arrays(arrays, device))
    return {
        f"{name}{number or ''}": (value.detach().float() if name == "ab" else value).cpu().numpy()
        for number, colors in enumerate(found)
        for name in ("ab", "rgb8")
        if (value := getattr(colors, name, None)) is not None
    }


def given_colors(arrays: Mapping[str, np.ndarray]) -> list[ColorPrediction]:
    """Return the predictions of an isolated model: the usual one, then those that were asked for beside it."""
    import torch

    from colorbench.models import ColorPrediction

    places = sorted({int(name.removeprefix("ab").removeprefix("rgb8") or 0) for name in arrays} | {0})
    return [
        ColorPrediction(
            **{
                name: torch.from_numpy(arrays[f"{name}{place or ''}"])
                for name in ("ab", "rgb8")
                if f"{name}{place or ''}" in arrays
            }
        )
        for place in places
    ]


def _write(stream: IO[bytes], data: bytes) -> None:
    stream.write(struct.pack(">Q", len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    (size,) = struct.unpack(">Q", head)
    if size > LARGEST_MESSAGE:
        raise ValueError("too large")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
