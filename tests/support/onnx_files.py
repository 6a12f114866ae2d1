"""Small ONNX files, made node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, save_model

Shape = Sequence[int | str]


def save_network(
    path: Path,
    nodes: Sequence[NodeProto],
    weights: Mapping[str, np.ndarray],
    *,
    shown: Shape = (1, 1, 32, 32),
    given: Shape = (1, 2, 32, 32),
    dtype: int = TensorProto.FLOAT,
    opset: int = 18,
    domains: Mapping[str, int] | None = None,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    change: Any = None,
) -> Path:
    """Save a graph from ``x`` to ``y``; ``change`` is called with the model before it is written."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", dtype, shown), *inputs],
        [helper.make_tensor_value_info("y", dtype, given), *outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in (domains or {}).items())]
    model: ModelProto = helper.make_model(graph, opset_imports=imports, ir_version=10)
    if change is not None:
        change(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path)
    return path


def save_affine(path: Path, matrix: np.ndarray, bias: np.ndarray, **options: Any) -> Path:
    """Save the network y = matrix x + bias over the channels: a 1x1 convolution."""
    kind = np.float16 if options.get("dtype") == TensorProto.FLOAT16 else np.float32
    weights = {"w": matrix.astype(kind)[:, :, None, None], "b": bias.astype(kind)}
    return save_network(path, [helper.make_node("Conv", ["x", "w", "b"], ["y"])], weights, **options)


CONTRACT = """
[card]
license = "MIT"

[input]
form = "lightness"
low = 0
high = 100
size = 32
squash = "bicubic-aa"

[output]
form = "ab"
upsample = "bilinear"
keep = "lightness"
"""
"""Of the network that ``save_affine`` makes by default."""
