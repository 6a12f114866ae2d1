"""A path where there is no file: the hint names a similar one, or says that it is a folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colorbench
from colorbench.errors import UserError
from colorbench.models.onnx_contract import read_contract

CALLS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "a class in a file": ("model.py", lambda path: colorbench.load_model(f"{path}:Model")),
    "an ONNX file": ("model.onnx", lambda path: colorbench.load_model(f"onnx:{path}")),
    "a contract": ("model.toml", lambda path: read_contract(Path(path))),
    "weights": ("model.safetensors", lambda path: colorbench.load_model("zoo/cic.small", weights=path)),
    "weights by name": ("model.safetensors", lambda path: colorbench.load_model(f"zoo/cic.small[weights={path}]")),
    "weights of a released network": (
        "model.pth",
        lambda path: colorbench.load_model(f"zoo/eccv16[weights={path}]"),
    ),
    "a list of images": ("list.txt", lambda path: colorbench.open_dataset("images", list_file=path)),
}
"""What a path names -> a name for it, and a call with the path."""


@pytest.mark.parametrize("what", CALLS)
def test_a_folder_is_named_as_such(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, call = CALLS[what]
    (tmp_path / "images").mkdir()
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        call(name)
    assert re.search("folder|directory", str(error.value)) and "Did you mean" not in str(error.value)


@pytest.mark.parametrize("what", CALLS)
def test_a_similar_name_is_suggested(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, call = CALLS[what]
    (tmp_path / "images").mkdir()
    (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"Did you mean {name}\\?"):
        call(name.replace("l", "ll", 1))
