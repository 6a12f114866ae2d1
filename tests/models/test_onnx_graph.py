"""Reading ONNX files of strangers: weights from elsewhere, custom operators, damage and other versions are refused."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save_model

from colorbench.errors import UserError
from colorbench.models.onnx_graph import read_graph
from tests.support.onnx_files import save_affine, save_network

MATRIX, BIAS = np.array([[0.5], [-0.25]]), np.array([1.0, 2.0])


def external(location: str, **entries: int) -> Callable[[ModelProto], None]:
    """Move the first weight of a model to a file."""

    def change(model: ModelProto) -> None:
        point_to(model.graph.initializer[0], location, **entries)

    return change


def point_to(tensor: TensorProto, location: str, **entries: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))


def test_weights_in_a_file_beside_are_read_and_hashed(tmp_path: Path) -> None:
    weights = np.array([0.5, -0.25], np.float32).tobytes()
    (tmp_path / "net.data").write_bytes(b"12345678" + weights)
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, change=external("net.data", offset=8, length=8))
    graph = read_graph(path)
    assert graph.files == {
        "net.onnx": hashlib.sha256(path.read_bytes()).hexdigest(),
        "net.data": hashlib.sha256(b"12345678" + weights).hexdigest(),
    }
    loaded = ModelProto.FromString(graph.data)
    assert numpy_helper.to_array(loaded.graph.initializer[0]).ravel().tolist() == [0.5, -0.25]
    assert not any(tensor.external_data for tensor in loaded.graph.initializer)
    before = graph.sha256
    (tmp_path / "net.data").write_bytes(b"12345678" + weights[::-1])
    assert read_graph(path).sha256 != before


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../net.data", "sub/net.data", "..", ".", "", "a\\b", "C:net.data", "*/_ORT_MEM_ADDR_/*", "./x"],
)
def test_weights_from_anywhere_else_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("net.data", "sub/net.data", "in/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(8))
    path = save_affine(tmp_path / "in" / "net.onnx", MATRIX, BIAS, change=external(location))
    with pytest.raises(UserError, match="wants its weights from .* which is not a file beside it") as caught:
        read_graph(path)
    assert "\n" not in str(caught.value)


def test_weights_behind_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    path = save_affine(tmp_path / "in" / "net.onnx", MATRIX, BIAS, change=external("net.data"))
    os.symlink("../secret", tmp_path / "in" / "net.data")
    with pytest.raises(UserError, match="net.data are a link out of the folder"):
        read_graph(path)


@pytest.mark.parametrize("where", ["initializer", "attribute", "branch", "function", "sparse"])
def test_external_weights_are_found_wherever_they_stand(tmp_path: Path, where: str) -> None:
    def change(model: ModelProto) -> None:
        tensor = numpy_helper.from_array(np.zeros((2, 1, 1, 1), np.float32), "v")
        point_to(tensor, "/etc/hostname")
        constant = helper.make_node("Constant", [], ["v"], value=tensor)
        if where == "initializer":
            model.graph.initializer.append(tensor)
        elif where == "attribute":
            model.graph.node.append(constant)
        elif where == "branch":
            branch = helper.make_graph([constant], "branch", [], [])
            model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
        elif where == "function":
            one = helper.make_function("own", "F", [], ["v"], [constant], [helper.make_opsetid("", 18)])
            model.functions.append(one)
        else:
            index = numpy_helper.from_array(np.zeros(1, np.int64), "i")
            model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, index, [2]))

    with pytest.raises(UserError, match="wants its weights from '/etc/hostname'"):
        read_graph(save_affine(tmp_path / "net.onnx", MATRIX, BIAS, change=change))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 4}, None),
        ({"offset": 4, "length": 8}, "lie outside of net.data"),
        ({"offset": -4}, "lie outside"),
        ({"offset": 99}, "lie outside"),
    ],
)
def test_weights_must_lie_within_their_file(tmp_path: Path, entries: dict[str, int], message: str | None) -> None:
    (tmp_path / "net.data").write_bytes(bytes(8))
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, change=external("net.data", **entries))
    if message is None:
        read_graph(path)
    else:
        with pytest.raises(UserError, match=message):
            read_graph(path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, change=external("net.data"))
    with pytest.raises(UserError, match="the weights of the ONNX file are missing: net.data"):
        read_graph(path)


def node(kind: str, domain: str) -> Any:
    return helper.make_node(kind, ["x"], ["y"], domain=domain)


@pytest.mark.parametrize(
    ("kind", "domain", "message"),
    [
        ("Magic", "mine", "a custom operator, mine:Magic"),
        ("Conv", "ai.onnx.contrib", "a custom operator, ai.onnx.contrib:Conv"),
        ("EPContext", "com.microsoft", "a custom operator, com.microsoft:EPContext"),
        ("RandomNormalLike", "", r"draws random numbers \(RandomNormalLike\)"),
        ("Gelu", "com.microsoft", None),
        ("Relu", "ai.onnx", None),
    ],
)
def test_operators_are_those_of_the_runtime(tmp_path: Path, kind: str, domain: str, message: str | None) -> None:
    path = save_network(tmp_path / "net.onnx", [node(kind, domain)], {}, domains={domain: 1} if domain else None)
    if message is None:
        read_graph(path)
    else:
        with pytest.raises(UserError, match=message):
            read_graph(path)


def test_an_operator_that_the_file_defines_is_none_of_a_library(tmp_path: Path) -> None:
    def change(model: ModelProto) -> None:
        body = [helper.make_node("Relu", ["x"], ["y"])]
        model.functions.append(helper.make_function("mine", "Magic", ["x"], ["y"], body, [helper.make_opsetid("", 18)]))

    path = save_network(tmp_path / "net.onnx", [node("Magic", "mine")], {}, domains={"mine": 1}, change=change)
    read_graph(path)
    hidden = [node("Other", "theirs")]

    def change_again(model: ModelProto) -> None:
        model.functions.append(
            helper.make_function("mine", "Magic", ["x"], ["y"], hidden, [helper.make_opsetid("theirs", 1)])
        )

    path = save_network(tmp_path / "net.onnx", [node("Magic", "mine")], {}, domains={"mine": 1}, change=change_again)
    with pytest.raises(UserError, match="a custom operator, theirs:Other"):
        read_graph(path)


@pytest.mark.parametrize("version", [0, 99])
def test_an_unknown_opset_is_refused(tmp_path: Path, version: int) -> None:
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, opset=version)
    with pytest.raises(UserError, match=f"the file has opset {version}; the installed onnx knows 1 to"):
        read_graph(path)


def test_an_unknown_version_of_the_format_is_refused(tmp_path: Path) -> None:
    def change(model: ModelProto) -> None:
        model.ir_version = 99

    with pytest.raises(UserError, match="the file has format version 99; the installed onnx knows 1 to"):
        read_graph(save_affine(tmp_path / "net.onnx", MATRIX, BIAS, change=change))


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    whole = save_affine(tmp_path / "net.onnx", MATRIX, BIAS).read_bytes()
    files = {
        "text": b"hello, this is not a network",
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "zip": b"PK\x03\x04" + bytes(100),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 12\n",
    }
    save_model(ModelProto(), tmp_path / "nothing.onnx")
    files["nothing"] = (tmp_path / "nothing.onnx").read_bytes()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match="Git LFS" if name == "lfs" else "no ONNX file, or it is damaged") as caught:
            read_graph(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such ONNX file"):
        read_graph(tmp_path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_extra(tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package}.*uv run --extra onnx, or pip install '\.\[onnx\]'"):
        read_graph(path)
