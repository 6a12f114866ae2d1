"""From a name to a model: what each form of name gives, and the one line for each that gives none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from colorbench.errors import UserError
from colorbench.models.colorizer_interfaces import ColorizerInput
from colorbench.models.model_loading import load_model, model_factory, tags_of
from colorbench.models.weights_files import save_weights
from colorbench.storage import file_sha256

HEAD = (
    "import torch\nfrom colorbench.models.model_card import ModelCard\n"
    "from colorbench.models.colorizer_interfaces import ColorPrediction\n"
)
SHORT = (
    HEAD
    + """
class Warm:
    card = ModelCard(title="warm")
    def colorize(self, lightness):
        return torch.full_like(lightness, 10.0).repeat(1, 2, 1, 1)
"""
)
TAGGED = (
    HEAD
    + """
class Net(torch.nn.Module):
    tags = {"small": "a small one", "large": "a large one"}
    def __init__(self, tag, weights):
        super().__init__()
        self.tag, self.weights = tag, weights
        self.dropout = torch.nn.Dropout(0.9)
        self.card = ModelCard(title=tag, training_hashes="training_hashes.npy" if weights else "package:images.npy")
    @classmethod
    def load(cls, tag, weights=None):
        return cls(tag, weights)
    def colorize(self, lightness):
        return self.dropout(torch.ones_like(lightness)).repeat(1, 2, 1, 1)
"""
)


@pytest.fixture
def write(tmp_path: Path):
    """Write a Python file and return its path."""

    def file(text: str, name: str = "model.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return file


def ask(size: int = 8, n: int = 2) -> ColorizerInput:
    return ColorizerInput(torch.full((n, 1, size, size), 50.0), tuple("ab"[:n]), tuple(range(n)))


def test_a_class_in_a_file_is_a_model(write) -> None:
    path = write(SHORT)
    loaded = load_model(f"{path}:Warm")
    assert loaded.full_name == f"{path.parent.name}/{path.name}:Warm"
    assert loaded.package is None
    ab = loaded.colorizer.colorize_batch(ask()).ab
    assert ab is not None and ab.shape == (2, 2, 8, 8) and bool((ab == 10).all())


def test_an_edited_file_is_another_model(write) -> None:
    versions = [load_model(f"{write(text)}:Warm").package_version for text in (SHORT, SHORT, SHORT.replace("10", "11"))]
    assert versions[0] == versions[1] != versions[2]


def test_a_file_may_import_its_neighbors(write) -> None:
    write("AB = 7.0\n", "neighbor_of_model.py")
    path = write(f"from neighbor_of_model import AB\n{SHORT.replace('10.0', 'AB')}")
    ab = load_model(f"{path}:Warm").colorizer.colorize_batch(ask()).ab
    assert ab is not None and bool((ab == 7).all())
    sys.path.remove(str(path.parent.resolve()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.py:Wram", "no class 'Wram' in this file .*Did you mean Warm?"),
        ("model.py:Zebra", "It has Warm"),
        ("none.py:Warm", "no such file"),
        ("model.py", "which model of .*model.py:ClassName"),
        ("model.txt:Warm", "no model"),
        ("model.py:", "no model"),
        ("model.py:Warm.big", "has no tag 'big'.*It has no tags"),
    ],
)
def test_a_name_of_a_file_that_gives_no_model(write, name: str, message: str) -> None:
    folder = write(SHORT).parent
    with pytest.raises(UserError, match=message):
        load_model(f"{folder}/{name}")


def test_a_file_that_fails_names_the_line(write) -> None:
    path = write("x = 1\ny = x / 0\n")
    with pytest.raises(
        UserError, match=r"cannot be imported: ZeroDivisionError: division by zero \(line 2 of model.py\)"
    ):
        load_model(f"{path}:Warm")


def test_a_card_that_is_none_is_explained_in_one_line(write) -> None:
    path = write("from colorbench import ModelCard\n\ncard = ModelCard(name='x', title='y')\n")
    with pytest.raises(UserError, match=r"ModelCard: name: Extra inputs are not permitted \(line 3 of model.py\)"):
        load_model(f"{path}:Warm")


def test_a_plain_name_is_never_looked_up_in_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gray").mkdir()
    with pytest.raises(UserError, match="no model 'gray': model names have a prefix. Did you mean zoo/gray?"):
        load_model("gray")


def test_tags_choose_and_the_first_is_the_default(write) -> None:
    path = write(TAGGED)
    assert load_model(f"{path}:Net").full_name == f"{path.parent.name}/{path.name}:Net.small"
    large = load_model(f"{path}:Net.large")
    assert (large.full_name, large.card.title) == (f"{path.parent.name}/{path.name}:Net.large", "large")
    assert list(tags_of(model_factory(f"{path}:Net.large"))) == ["small", "large"]
    with pytest.raises(UserError, match="has no tag 'lagre'. It has small, large"):
        load_model(f"{path}:Net.lagre")


def test_a_weights_file_of_ones_own_gives_name_and_hash(write, tmp_path: Path) -> None:
    path, weights = write(TAGGED), tmp_path / "mine.safetensors"
    save_weights({"w": torch.ones(1)}, weights)
    loaded = load_model(f"{path}:Net", weights=weights)
    assert loaded.full_name == f"{path.parent.name}/{path.name}:Net@mine"
    assert loaded.weights_sha256 == file_sha256(weights)
    assert loaded.card.training_hashes == str(tmp_path / "training_hashes.npy")
    named = load_model(f"{path}:Net.large", weights=weights)
    assert named.full_name == f"{path.parent.name}/{path.name}:Net.large@mine"
    with pytest.raises(UserError, match="no such weights file"):
        load_model(f"{path}:Net", weights=tmp_path / "none.safetensors")
    for name in ("zoo/gray", f"images:{tmp_path}"):
        with pytest.raises(UserError, match="does not take a weights file"):
            load_model(name, weights=weights)


def test_a_network_is_measured_in_eval_mode_and_can_be_moved(write) -> None:
    loaded = load_model(f"{write(TAGGED)}:Net", device="cpu")
    ab = loaded.colorizer.colorize_batch(ask()).ab
    assert ab is not None and bool((ab == 1).all())  # dropout would leave zeros
    moved = []
    loaded.colorizer.to = lambda *position: moved.append(position)  # type: ignore[attr-defined]
    loaded.to(torch.device("cpu"))
    assert moved == [(torch.device("cpu"),)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("colorize = None\n    card = ModelCard(title='x')", "neither colorize nor colorize_batch"),
        ("def colorize(self, lightness): ...", "Bad has no card"),
        ("card = {'title': 'x'}\n    def colorize(self, lightness): ...", "card of .* is a dict, not a ModelCard"),
        ("def __init__(self): self.x = 1 / 0", r"cannot be made: ZeroDivisionError.*\(line 5 of model.py\)"),
        ("def __init__(self, path): ...", "cannot be made: TypeError"),
        ("tags = {'a': 'x'}", r"must be a class with tags and load\(tag\)"),
    ],
)
def test_an_incomplete_model_is_named_with_what_it_lacks(write, body: str, message: str) -> None:
    path = write(f"{HEAD}class Bad:\n    {body}\n")
    with pytest.raises(UserError, match=message) as caught:
        load_model(f"{path}:Bad")
    assert "Bad" in str(caught.value)


def test_something_that_makes_no_model_is_refused(write) -> None:
    with pytest.raises(UserError, match="must be a class or function that makes a model"):
        load_model(f"{write('number = 3')}:number")


def test_decoding_is_chosen_and_written_down() -> None:
    usual = load_model("zoo/cic.untrained")
    assert usual.decoding == {"decode": "annealed-mean", "temperature": 0.38}
    warmer = load_model("zoo/cic.untrained", temperature=0.5)
    assert warmer.decoding == {"decode": "annealed-mean", "temperature": 0.5}
    mode = load_model("zoo/cic.untrained", decode="mode")
    assert mode.decoding == {"decode": "mode"}
    predictions = [model.colorizer.colorize_batch(ask(64, 1)).ab for model in (usual, warmer, mode)]
    assert all(not torch.equal(a, b) for a, b in zip(predictions, predictions[1:], strict=False))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "choice", "message"),
    [
        ("zoo/gray", {"decode": "mean"}, "zoo/gray predicts no distribution"),
        ("zoo/gray", {"temperature": 0.5}, "zoo/gray predicts no distribution"),
        ("zoo/cic.untrained", {"decode": "median"}, "unknown decoding 'median'. Choose from annealed-mean, mean, mode"),
        ("zoo/cic.untrained", {"temperature": 0.0}, "must be positive, got 0.0"),
        ("zoo/cic.untrained", {"temperature": float("nan")}, "must be positive, got nan"),
        ("zoo/cic.untrained", {"decode": "mean", "temperature": 0.5}, "decode=mean has no temperature"),
    ],
)
def test_a_decoding_that_cannot_be_is_refused(name: str, choice: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_model(name, **choice)
