"""``onnx:FILE``: a model in an ONNX file, run by onnxruntime according to its contract.

Images are predicted one at a time: some files have a fixed batch size of one, and with dynamic quantization a
prediction depends on the whole batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from colorbench.color import lab_to_rgb, lab_to_rgb8, rgb_to_lab
from colorbench.errors import UserError
from colorbench.models.colorizer_interfaces import ColorizerInput, ColorPrediction
from colorbench.models.foreign_code import one_line
from colorbench.models.model_card import ModelCard
from colorbench.models.onnx_contract import AB_RANGE, OnnxContract, OutputTable, find_contract
from colorbench.models.onnx_graph import OnnxGraph, OnnxValue, read_graph
from colorbench.models.resize import pillow_resized, resized
from colorbench.storage import digest_of

DTYPES = ("float16", "float32", "float64", "uint8")
_CUDA = "CUDAExecutionProvider"
DARK = 0.2
"""If an image has a gray level above this (in 0..1) ..."""
BLACK = 0.01
"""... and its RGB prediction has none above this, the output has another scale than the contract states."""
BEYOND = 4.0
"""A prediction with a level above this has another scale, too; networks exceed 1 only a little."""
_YUV = np.array([[0.299, 0.587, 0.114], [-0.147108, -0.288804, 0.435912], [0.614777, -0.514799, -0.099978]])
"""Y, U = 0.492 (B - Y) and V = 0.877 (R - Y) of BT.601, as OpenCV computes them."""
_RGB = np.array([[1, 0, 1.140], [1, -0.395, -0.581], [1, 2.032, 0]])


class OnnxColorizer:
    """A network in an ONNX file as a colorizer."""

    def __init__(self, path: Path, contract: str | None = None) -> None:
        """Read the file and its contract, and start onnxruntime.

        Args:
            path: the ONNX file.
            contract: name of an included contract, or a path; None: the one beside the file.

        Raises:
            UserError: for an invalid file or contract, or if they do not fit one another.
        """
        graph = read_graph(path)
        self.contract, self.contract_name = find_contract(path, contract)
        self.path, self.sha256, self.files = path, graph.sha256, graph.files
        wanted = self.contract.card.sha256
        if wanted is not None and wanted.lower() != graph.files[path.name]:
            what = f"the file has sha256 {graph.files[path.name]}, its contract is for {wanted.lower()}"
            raise UserError(what, where=str(path), hint="get the file that the contract is for")
        self._input, self._output = _chosen(graph, self.contract)
        self.size = _size(self._input, self.contract, path)
        self.card = self._card()
        self._data = graph.data
        self._device = torch.device("cpu")
        self._threads = torch.get_num_threads()
        self._session = self._started()

    @property
    def fingerprint(self) -> str:
        """sha256 over the file, its weights and the contract without its card."""
        return digest_of({"files": dict(self.files), "contract": self.contract.sha256})

    def runtime_note(self, device: torch.device) -> str | None:
        """Return a note if the network did not run on the run's device; otherwise None."""
        import onnxruntime

        if device.type == "cpu" or (device.type == "cuda" and _CUDA in onnxruntime.get_available_providers()):
            return None
        return f"the network ran on the CPU: the installed onnxruntime has no support for {device.type}"

    def to(self, device: torch.device) -> OnnxColorizer:
        """Use a device: CUDA if the installed onnxruntime supports it, otherwise the CPU."""
        if device != self._device:
            self._device, self._session = device, None
        return self

    def __deepcopy__(self, memo: Mapping[int, Any]) -> OnnxColorizer:
        """Return a copy that can be moved separately, without reading the file again."""
        return copy.copy(self)

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Predict image by image.

        Returns:
            ab if the contract keeps the image's lightness, otherwise 8-bit sRGB.

        Raises:
            UserError: for an output that contradicts the contract.
        """
        if self._session is None or self._threads != torch.get_num_threads():
            self._threads = torch.get_num_threads()
            self._session = self._started()
        predictions = [self._predict(lightness[None]) for lightness in inputs.lightness.float().cpu()]
        together = torch.cat(predictions).to(inputs.lightness.device)
        return ColorPrediction(rgb8=together) if together.dtype == torch.uint8 else ColorPrediction(ab=together)

    def _predict(self, lightness: Tensor) -> Tensor:
        """Predict one image: (1, 1, H, W) L -> (1, 2, H, W) ab or (1, 3, H, W) uint8 sRGB."""
        size = (lightness.shape[-2], lightness.shape[-1])
        shown = self._shown(lightness)
        (given,) = self._session.run([self._output.name], {self._input.name: shown})
        output = self.contract.output
        if not isinstance(given, np.ndarray) or given.ndim != 4 or given.shape[:2] != (1, output.channels):
            shape = getattr(given, "shape", type(given).__name__)
            what = f"its output {self._output.name} is {shape}; the contract says {output.form}"
            raise UserError(f"{what}, which is (1, {output.channels}, H, W)", hint="correct [output] form, or name")
        values = torch.from_numpy(given.astype(np.float32))
        if not bool(values.isfinite().all()):
            raise UserError("NaN or infinity in its output", hint="check low, high, mean and std of [input]")
        return _colors(output, values, lightness, size)

    def _shown(self, lightness: Tensor) -> np.ndarray:
        """Compute the input of the network from lightness: (1, C, h, w) in the dtype of the input."""
        wanted, levels = self.contract.input, lightness
        size = _working_size((lightness.shape[-2], lightness.shape[-1]), self.size, wanted.multiple)
        if wanted.squash.startswith("pillow") and size != lightness.shape[-2:]:
            levels = pillow_resized(lightness, size, wanted.squash.removeprefix("pillow-"))  # L again
        if wanted.form == "lightness":
            levels = _at_size(levels, size, wanted.squash).clamp(0, 100) / 100
        else:
            levels = _at_size(_gray(levels), size, wanted.squash).clamp(0, 1)
        values = levels * (wanted.high - wanted.low) + wanted.low
        if wanted.form == "gray-rgb":
            values = values.expand(-1, 3, -1, -1)
        mean, std = (torch.tensor(one).reshape(-1, 1, 1) for one in (wanted.mean, wanted.std))
        shown = ((values - mean) / std).numpy()
        return np.ascontiguousarray(
            (shown.round() if self._input.dtype == "uint8" else shown).astype(self._input.dtype)
        )

    def _started(self) -> Any:
        """Start a session with the run's threads, which opens no file and loads no operator library."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4  # errors are also raised
        # Idle threads would spin on the cores that decode and score.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = ["CPUExecutionProvider"]
        on_gpu = self._device.type == "cuda" and _CUDA in onnxruntime.get_available_providers()
        if on_gpu:
            # No TF32, and no choice of algorithms by timing.
            settings = {"device_id": self._device.index or 0, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
            providers.insert(0, (_CUDA, settings))
        hint = "pip install -U onnxruntime, or export the file again"
        with one_line("onnxruntime cannot load this file", where=str(self.path), hint=hint):
            session = onnxruntime.InferenceSession(self._data, options, providers=providers)
        if on_gpu and session.get_providers()[0] != _CUDA:
            what = "onnxruntime cannot use the GPU here"
            raise UserError(what, hint="install the CUDA libraries that onnxruntime-gpu asks for, or use --device cpu")
        return session

    def _card(self) -> ModelCard:
        given, shown = self.contract.card, self.contract.input
        notes = [f"ONNX file with the contract {self.contract_name} ({self.contract.sha256[:12]})."]
        if shown.gray == "bt601" and shown.form != "lightness":
            notes.append("Its own program computes gray by BT.601; here it is shown the gray level of L.")
        notes += [] if given.notes is None else [given.notes]
        return ModelCard(
            title=given.title or f"ONNX file {self.path.name}",
            license=given.license,
            paper=given.paper,
            pretrained=tuple(given.pretrained),
            training_data=given.training_data,
            training_hashes=given.training_hashes,
            weights_sha256=self.sha256,
            working_size=self.size,
            notes=" ".join(notes),
        )


def _chosen(graph: OnnxGraph, contract: OnnxContract) -> tuple[OnnxValue, OnnxValue]:
    """Return the graph's input and output that the contract describes.

    Raises:
        UserError: for an unknown name, several inputs or outputs without a name, or a dtype, rank, batch size or number
            of channels that does not fit.
    """
    shown = _named(graph.inputs, contract.input.name, "input", graph.path)
    if len(graph.inputs) > 1:
        names = ", ".join(one.name for one in graph.inputs)
        what = f"the file has {len(graph.inputs)} inputs ({names}), and colorbench fills one"
        raise UserError(what, where=str(graph.path), hint="export it with the others as constants")
    given = _named(graph.outputs, contract.output.name, "output", graph.path)
    for table, value, channels in (
        ("input", shown, contract.input.channels),
        ("output", given, contract.output.channels),
    ):
        form = getattr(contract, table).form
        if value.dtype not in DTYPES:
            hint = f"export it with one of {', '.join(DTYPES)}"
            raise UserError(f"the {table} {value.name} is {value.dtype}", where=str(graph.path), hint=hint)
        if value.shape is None:
            continue
        if len(value.shape) != 4 or value.shape[1] not in (None, channels):
            stated = tuple("any" if one is None else one for one in value.shape)
            what = f"the {table} {value.name} is ({', '.join(map(str, stated))}); the contract says {form}"
            hint = f"correct [{table}] form, or export the file with channels first"
            raise UserError(f"{what}, which is (1, {channels}, H, W)", where=str(graph.path), hint=hint)
        if value.shape[0] not in (None, 1):
            what = f"the {table} {value.name} is for a batch of {value.shape[0]}"
            raise UserError(what, where=str(graph.path), hint="export it for a batch of 1 or of any size")
    return shown, given


def _named(values: tuple[OnnxValue, ...], name: str | None, table: str, path: Path) -> OnnxValue:
    names = [one.name for one in values]
    if not names:
        raise UserError(f"the file has no {table}", where=str(path), hint="export it again")
    if name is None and len(values) == 1:
        return values[0]
    if name is None and table == "input":
        return values[0]  # several are refused by the caller
    if name not in names:
        what = f"the file has no {table} {name!r}" if name is not None else f"the file has {len(values)} {table}s"
        raise UserError(what, where=str(path), hint=f"write name in [{table}] of the contract: {', '.join(names)}")
    return values[names.index(name)]


def _size(shown: OnnxValue, contract: OnnxContract, path: Path) -> int | None:
    """Return the side of the network's input; None for a free size.

    Raises:
        UserError: if the file contradicts its contract.
    """
    wanted = contract.input.size
    sides = (None, None) if shown.shape is None else (shown.shape[2], shown.shape[3])
    fixed = None not in sides
    stated = " x ".join("any" if side is None else str(side) for side in sides)
    where, hint = str(path), f"write the file's own in [input] of the contract, or export it for size {wanted}"
    if wanted == "free":
        if sides != (None, None):
            raise UserError(
                f"the contract says size free, and the file has the fixed size {stated}", where=where, hint=hint
            )
        return None
    if wanted == "file":
        if not fixed or sides[0] != sides[1]:
            what = f"the contract takes the size from the file, which has the size {stated}"
            raise UserError(
                what, where=where, hint="write size in [input] of the contract: a number of pixels, or free"
            )
        side = sides[0]
        if side is not None and side % contract.input.multiple:
            what = f"the file has the size {stated}, which is not a multiple of {contract.input.multiple}"
            raise UserError(what, where=where, hint="correct multiple in [input] of the contract")
        return side
    if any(side not in (None, wanted) for side in sides):
        raise UserError(f"the contract says size {wanted}, and the file has {stated}", where=where, hint=hint)
    return wanted


def _working_size(given: tuple[int, int], size: int | None, multiple: int) -> tuple[int, int]:
    if size is not None:
        return size, size
    height, width = (max(multiple, round(side / multiple) * multiple) for side in given)
    return height, width


def _gray(lightness: Tensor) -> Tensor:
    """Convert L to the gray level of sRGB, (N, 1, H, W) in 0..1."""
    neutral = torch.cat([lightness, torch.zeros_like(lightness), torch.zeros_like(lightness)], dim=1)
    return lab_to_rgb(neutral)[:, 1:2]


def _at_size(maps: Tensor, size: tuple[int, int], kernel: str) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    if kernel.endswith("-aa"):
        return resized(maps, size, kernel.removesuffix("-aa"))
    if kernel in ("area", "nearest"):
        return interpolate(maps, size, mode=kernel)
    return interpolate(maps, size, mode=kernel, align_corners=False)


def _colors(output: OutputTable, values: Tensor, lightness: Tensor, size: tuple[int, int]) -> Tensor:
    """Convert a network's output (1, C, h, w) to the prediction: (1, 2, H, W) ab or (1, 3, H, W) uint8 sRGB."""
    if output.low is not None and output.high is not None:
        stated = (values - output.low) / (output.high - output.low)
        if output.form == "rgb":
            largest = float(stated.max())
            if largest > BEYOND or (largest < BLACK and _gray(lightness).max() > DARK):
                low, high = (float(one) for one in values.aminmax())
                what = f"its RGB output is {low:.3g} to {high:.3g}; the contract says {output.low:g} to {output.high:g}"
                raise UserError(what, hint="correct low and high of [output], or of [input]")
        values = stated.clamp(0, 1) if output.form == "rgb" else (2 * stated - 1) * AB_RANGE
    values = _at_size(values, size, output.upsample)
    if output.form == "rgb":
        values = values.clamp(0, 1)  # bicubic overshoots
        if output.keep == "lightness":
            return rgb_to_lab(values)[:, 1:].contiguous()
        rgb8 = (values * 255).round().to(torch.uint8)
        return rgb8 if output.keep == "nothing" else _with_luma(rgb8, lightness)
    if output.keep == "nothing":
        return lab_to_rgb8(values)
    return values if output.form == "ab" else values[:, 1:].contiguous()


def _with_luma(rgb8: Tensor, lightness: Tensor) -> Tensor:
    """Combine the chroma of ``rgb8`` with the luma of the gray image of L, in 8 bits as OpenCV does."""
    y = (_gray(lightness) * 255).round()[0, 0].numpy()
    planes = rgb8[0].numpy().astype(np.float64)
    u, v = (np.clip(np.rint(np.tensordot(row, planes, 1) + 128), 0, 255) - 128 for row in _YUV[1:])
    rgb = np.clip(np.rint(np.tensordot(_RGB, np.stack([y, u, v]), 1)), 0, 255)
    return torch.from_numpy(rgb.astype(np.uint8))[None]
