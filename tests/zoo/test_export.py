"""``colorbench export``: the ONNX file of a network predicts what the network does, and says what it is."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import ModelProto

import colorbench
from colorbench.cli import main
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.models import ColorizerInput, ModelCard, export_onnx, load_model
from colorbench.models.onnx_contract import read_contract


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "cic.onnx"
    written = export_onnx(load_model("zoo/cic[temperature=0.5]"), file)
    assert written.difference < 1e-4
    return file


def test_the_contract_tells_decoding_training_and_hash(exported: Path) -> None:
    contract = read_contract(exported.with_suffix(".toml"))
    model, own = load_model(f"onnx:{exported}"), load_model("zoo/cic")
    assert contract.card.sha256 == model.weights_sha256 == model.card.weights_sha256
    assert "zoo/cic.small[temperature=0.5] (decode=annealed-mean, temperature=0.5)" in str(model.card.notes)
    for name in ("license", "paper", "training_data", "training_hashes", "working_size"):
        assert getattr(model.card, name) == getattr(own.card, name)
    about = ModelProto.FromString(exported.read_bytes())
    assert str(Path(__file__).parents[2]) not in str(about)  # no paths of this machine
    assert not any(node.metadata_props for node in about.graph.node)


@pytest.mark.parametrize("size", [(96, 96), (256, 256), (61, 47)])
def test_the_file_predicts_what_the_network_does(exported: Path, size: tuple[int, int], astronaut: Any) -> None:
    image = torch.from_numpy(astronaut.copy()).permute(2, 0, 1)[None, :, : size[0], : size[1]].contiguous()
    inputs = ColorizerInput(colorbench.color.rgb_to_lab(image)[:, :1].contiguous(), ("a",), (0,))
    with torch.no_grad():
        one, other = (
            load_model(name).colorizer.colorize_batch(inputs).ab
            for name in ("zoo/cic[temperature=0.5]", f"onnx:{exported}")
        )
    assert one is not None and other is not None and float(one.std()) > 1
    assert float((one - other).abs().max()) <= 1e-4


def test_protocols_give_the_same_numbers(exported: Path, crops: Dataset, tmp_path: Path) -> None:
    records = colorbench.run(
        ["zoo/cic[temperature=0.5]", f"onnx:{exported}"],
        ["auc", "fidelity"],
        crops.limit(6),
        parameters={name: {"preprocessing": "squash64"} for name in ("auc", "fidelity")},
        output=tmp_path,
        baselines=False,
        save="none",
    )
    values = {
        (record.model.name[:3], record.protocol.name): {metric.name: metric.value for metric in record.metrics}
        for record in records
    }
    for protocol in ("auc", "fidelity"):
        ours, theirs = values["zoo", protocol], values["onn", protocol]
        assert ours.keys() == theirs.keys() and len(ours) >= 3
        for name, value in ours.items():
            assert theirs[name] == pytest.approx(value, abs=0.01), name


@pytest.mark.parametrize(
    ("name", "message"),
    [("zoo/gray", "zoo/gray cannot be written as an ONNX file"), ("zoo/half-chroma", "cannot be written")],
)
def test_what_is_no_network_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        export_onnx(load_model(name), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript.*pip install '\.\[onnx\]'"):
        export_onnx(load_model("zoo/l2"), tmp_path / "x.onnx")


def test_the_form_of_a_plugin_is_exported_through_its_adapter(tmp_path: Path) -> None:
    from colorbench.models import ExportForm

    class Plugin(torch.nn.Module):
        card = ModelCard(title="a layer", license="MIT", working_size=16)

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 2, 3, padding=1)

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            ab: torch.Tensor = self.layer(lightness)
            return ab

        def export_form(self) -> ExportForm:
            return ExportForm(self, self.colorize, 16, "bicubic-aa", "bilinear")

    written = export_onnx(load_model(Plugin()), tmp_path / "x.onnx")
    assert written.difference < 1e-4 and load_model(f"onnx:{tmp_path}/x.onnx").card.title == "a layer, ONNX"


@pytest.mark.parametrize(
    ("file", "message"), [("net.onnx", "already exists .*net.toml"), ("other.bin", "rite other.onnx")]
)
def test_the_command_writes_no_file_over_another(
    file: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.toml").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["export", "zoo/l2", "-o", str(tmp_path / file)])
    assert ended.value.code == 2 and re.search(message, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["net.toml"]
