"""The model fingerprint: whatever changes a model's predictions changes it, and nothing else does."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from colorbench.models.adapters import SimpleColorizerAdapter
from colorbench.models.fingerprint import canonical_name, model_fingerprint
from colorbench.models.model_card import ModelCard
from colorbench.models.model_loading import load_model
from colorbench.models.state_hash import state_digest
from tests.support.engine import loaded

REPOSITORY = Path(__file__).parent.parent.parent


class Holder:
    """A model that holds whatever it is given."""

    card = ModelCard(title="holder")

    def __init__(self, held: Any) -> None:
        self.held = held

    def colorize(self, lightness: Tensor) -> Tensor:
        return torch.zeros(len(lightness), 2, *lightness.shape[-2:])


class Plain:
    def __init__(self, value: Any) -> None:
        self.value = value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def network(value: float = 0.5) -> nn.Module:
    found = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    nn.init.constant_(found[0].weight, value)
    nn.init.zeros_(found[0].bias)
    return found


def closed_over(value: Any) -> Callable[[], Any]:
    return lambda: value


def with_buffer(value: float, *, persistent: bool) -> nn.Module:
    found = nn.Identity()
    found.register_buffer("scale", torch.tensor([value]), persistent=persistent)
    return found


def moments(value: float) -> nn.Module:
    found = network()
    found[1].running_mean += value
    return found


def cached(value: float, maxsize: int | None) -> Callable[[], Any]:
    """A function whose cache alone holds a network."""
    networks = [network(value)]
    made = functools.lru_cache(maxsize)(lambda: networks.pop())
    made()
    return made


HELD: dict[str, Callable[[float], Any]] = {
    "network": network,
    "moments of a normalization": moments,
    "buffer": lambda value: with_buffer(value, persistent=True),
    "buffer that is not saved": lambda value: with_buffer(value, persistent=False),
    "network in a list": lambda value: [network(), network(value)],
    "network in a mapping": lambda value: {"a": {"b": network(value)}},
    "network in an object": lambda value: Plain(Plain(network(value))),
    "network in slots": lambda value: Slotted(network(value)),
    "network in a function": lambda value: closed_over(network(value)),
    "network in a partial": lambda value: functools.partial(print, network(value)),
    "method of an object": lambda value: network(value).forward,
    "network in a cache": lambda value: cached(value, None),
    "network in a bounded cache": lambda value: cached(value, 2),
    "tensor": lambda value: torch.tensor([value]),
    "half": lambda value: torch.tensor([value], dtype=torch.bfloat16),
    "whole numbers": lambda value: torch.tensor([int(4 * value)], dtype=torch.int8),
    "not contiguous": lambda value: torch.full((3, 4), value).T,
    "array": lambda value: np.array([value]),
    "array of objects": lambda value: np.array([value, None], dtype=object),
    "number": lambda value: value,
    "text": str,
    "set": lambda value: {1, value},
    "generator": lambda value: torch.Generator().manual_seed(int(8 * value)),
    "generator of numpy": lambda value: np.random.default_rng(int(8 * value)),
    "class": lambda value: type("Made", (), {"scale": value}),
}


@pytest.mark.parametrize("kind", HELD)
def test_what_a_model_holds_is_in_its_fingerprint_wherever_it_lies(kind: str) -> None:
    one, same, other = (model_fingerprint(loaded(Holder(HELD[kind](value)))) for value in (0.5, 0.5, 0.75))
    assert one == same
    assert one.reusable, one.reasons
    assert one.weights != other.weights


def test_weights_that_are_changed_in_position_are_seen_and_moving_them_is_not() -> None:
    held = network()
    model = loaded(SimpleColorizerAdapter(Holder([held])))
    before = model_fingerprint(model)
    held.to(memory_format=torch.channels_last)
    held.train()
    held.requires_grad_(False)
    assert model_fingerprint(model) == before
    with torch.no_grad():
        held[0].weight.data[0] += 1e-3
    assert model_fingerprint(model).weights != before.weights


def test_gradients_and_locks_are_no_part_of_it() -> None:
    import logging
    import threading

    def made() -> Holder:
        return Holder([network(), threading.Lock(), logging.getLogger("x"), torch.device("cpu")])

    first, second = made(), made()
    second.held[0](torch.zeros(1, 1, 2, 2)).sum().backward()
    second.held[0][1].load_state_dict(first.held[0][1].state_dict())
    assert model_fingerprint(loaded(first)) == model_fingerprint(loaded(second))


@pytest.mark.parametrize("kind", ["file", "match", "process", "socket"])
def test_what_cannot_be_read_is_not_reusable(kind: str, tmp_path: Path) -> None:
    import re
    import socket

    (tmp_path / "x").write_text("x")
    with open(tmp_path / "x") as file, socket.socket() as connection:
        process = subprocess.Popen([sys.executable, "-c", ""])
        held = {"file": file, "match": re.match("a", "a"), "process": process, "socket": connection}[kind]
        found = model_fingerprint(loaded(Holder([1, held])))
        process.wait()
    assert not found.reusable
    assert "held[1] is a" in found.reasons[0]


def test_a_cycle_ends() -> None:
    one = Plain(None)
    one.value = [one]
    assert state_digest(one) == state_digest(one)


MODEL = """
from pathlib import Path
import torch
from colorbench.models.model_card import ModelCard
{imports}

class Model:
    card = ModelCard(title="one color")
    {member}

    def colorize(self, lightness):
        {lazy}
        return torch.full((len(lightness), 2, *lightness.shape[-2:]), float({value}))
"""


def written(folder: Path, imports: str = "", value: str = "1", lazy: str = "pass", member: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.py"
    path.write_text(MODEL.format(imports=imports, value=value, lazy=lazy, member=member))
    return path


def print_of(path: Path) -> tuple[str, ...]:
    """(name, weights, code) as a process of its own finds them."""
    program = (
        "import sys; from colorbench.models.model_loading import load_model\n"
        "from colorbench.models.fingerprint import model_fingerprint\n"
        "found = model_fingerprint(load_model(sys.argv[1]))\n"
        "assert found.reusable, found.reasons\n"
        "print(found.name, found.weights, found.code)"
    )
    # sys.path[0] is the current folder: another one must make no difference.
    done = subprocess.run(
        [sys.executable, "-c", program, f"{path}:Model"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=path.parent.parent,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return tuple(done.stdout.split())


def change(folder: Path, name: str, before: str, after: str) -> Path:
    """Write a file now, and what it becomes later beside it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before)
    path.with_suffix(path.suffix + ".later").write_text(after)
    return path


CODE: dict[str, dict[str, Any]] = {
    "itself": {"file": ("model.py", None, None)},
    "helper": {"imports": "import helper", "value": "helper.AB", "file": ("helper.py", "AB = 1", "AB = 2")},
    "helper's helper": {
        "imports": "from helper import AB",
        "value": "AB",
        "more": ("helper.py", "from second import AB"),
        "file": ("second.py", "AB = 1", "AB = 2"),
    },
    "imported when asked": {"lazy": "import helper", "file": ("helper.py", "AB = 1", "AB = 2")},
    "imported by a text": {
        "lazy": "import importlib; importlib.import_module('helper')",
        "file": ("helper.py", "AB = 1", "AB = 2"),
    },
    "imported by a name made later": {
        "lazy": "import importlib; importlib.import_module('hel' + 'per')",
        "file": ("helper.py", "AB = 1", "AB = 2"),
    },
    "package": {
        "imports": "from parts import one",
        "more": ("parts/__init__.py", "import json"),
        "file": ("parts/deep/other.py", "AB = 1", "AB = 2"),
    },
    "folder without an init": {"imports": "from parts import one", "file": ("parts/one.py", "AB = 1", "AB = 2")},
    "code of another language": {"lazy": "open('kernel.cu')", "file": ("kernel.cu", "one", "two")},
    "data read when asked": {
        "lazy": "Path(__file__).with_name('table.json').read_text()",
        "file": ("table.json", "1", "2"),
    },
    "data in a folder": {
        "lazy": "(Path(__file__).parent / 'data' / 'table.json').read_text()",
        "file": ("data/table.json", "1", "2"),
    },
    "data of a helper": {
        "imports": "import helper",
        "value": "helper.AB",
        "more": ("helper.py", "import pathlib\nAB = float(pathlib.Path(__file__).with_name('x.txt').read_text())"),
        "file": ("x.txt", "1", "2"),
    },
}


@pytest.mark.parametrize("kind", CODE)
def test_code_and_data_of_a_file_and_its_folder_are_in_the_fingerprint(kind: str, tmp_path: Path) -> None:
    from colorbench.storage.source_code_hashes import code_digest

    case = dict(CODE[kind])
    name, before, after = case.pop("file")
    more = case.pop("more", None)
    path = written(tmp_path / "a", **case)
    if more:
        change(tmp_path / "a", more[0], more[1], "")
    if before is None:
        first = code_digest([path])
        written(tmp_path / "a", value="2")
        assert code_digest([path]) != first
        return
    target = change(tmp_path / "a", name, before, after)
    # What nobody imports makes no difference.
    if kind != "imported by a name made later":
        (tmp_path / "a" / "unrelated.py").write_text("AB = 1")
    first = code_digest([path])
    (tmp_path / "a" / "unrelated.py").write_text("AB = 3")
    if kind != "imported by a name made later":
        assert code_digest([path]) == first
    status = target.stat()
    target.write_text(after)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same length and time
    assert code_digest([path]) != first


def test_data_read_while_a_file_is_imported_is_seen_in_its_globals(tmp_path: Path) -> None:
    imports = "import os\nAB = float((Path(__file__).parent / os.environ.get('NAME', 'ab.' + 'txt')).read_text())"
    path = written(tmp_path / "a", imports=imports, value="AB")
    (path.parent / "ab.txt").write_text("1")
    first = print_of(path)
    assert print_of(path) == first, "the same in every process"
    copied = tmp_path / "elsewhere" / "b"
    copied.mkdir(parents=True)
    for one in path.parent.glob("*.*"):
        (copied / one.name).write_bytes(one.read_bytes())
    assert print_of(copied / "model.py") == first, "and wherever the files lie"
    (path.parent / "ab.txt").write_text("2")
    assert print_of(path) != first


def test_a_file_has_one_name_however_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "other.py").symlink_to(path)
    monkeypatch.chdir(tmp_path / "a")
    given = ["model.py", "./model.py", str(path), "../a/model.py", str(tmp_path / "link" / "model.py"), "other.py"]
    models = [load_model(f"{one}:Model") for one in given]
    assert {model.full_name for model in models} == {"model.py:Model"}
    assert len({(found.name, found.weights, found.code) for found in map(model_fingerprint, models)}) == 1
    monkeypatch.chdir(tmp_path)
    assert load_model("a/model.py:Model").full_name == "a/model.py:Model"
    assert model_fingerprint(load_model("a/model.py:Model")) == model_fingerprint(models[0])


def test_a_folder_of_images_has_one_name_however_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    (tmp_path / "a" / "x").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "x" / "0.png")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    given = ["x", "x/", "./x", "../a/x", str(tmp_path / "a" / "x"), str(tmp_path / "link" / "x")]
    assert {load_model(f"images:{one}").full_name for one in given} == {"images:x"}


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("zoo/cic.small", "zoo/cic.small"),
        ("a/b/m.py:M.tag@w", "m.py:M.tag@w"),
        ("images:../x/y", "images:y"),
        ("zoo/cic@mine", "zoo/cic@mine"),
    ],
)
def test_canonical_names(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


def test_a_class_without_a_file_is_known_by_its_source_and_its_globals(tmp_path: Path) -> None:
    program = (
        "from colorbench.models.model_card import ModelCard\n"
        "from colorbench.models.fingerprint import model_fingerprint\n"
        "from colorbench.models.model_loading import LoadedModel\n"
        "def scaled(x): return x * {scale}\n"
        "class M:\n"
        "    card = ModelCard(title='m')\n"
        "    def colorize(self, x): return scaled(x) + {offset} + EXTRA\n"
        "EXTRA = {extra}\n"
        "m = M()\n"
        "found = model_fingerprint(LoadedModel('m/m', None, None, m, m.card))\n"
        "assert found.reusable, found.reasons\n"
        "print(found.weights, found.code)\n"
    )

    def run(**values: int) -> str:
        text = program.format(**{"scale": 1, "offset": 2, "extra": 3, **values})
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300, cwd=REPOSITORY)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = run()
    assert len({first, run(scale=7), run(offset=7), run(extra=7)}) == 4
    assert run() == first


def test_the_shipped_models_are_reusable() -> None:
    for name in ("zoo/cic", "zoo/eccv16.random", "zoo/gray", "zoo/random", "zoo/ground-truth"):
        assert model_fingerprint(load_model(name)).reusable
