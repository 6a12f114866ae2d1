"""Options of a model in its name, decodings of models that are loaded, and models that are objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

import colorbench
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.models import display_name, hashed_part
from colorbench.models.colorizer_interfaces import HasFeatures, PredictsDistribution, RandomWeights
from colorbench.models.model_card import ModelCard
from colorbench.models.model_loading import load_model
from colorbench.models.model_names import ModelName, expand_names, name_of_weights, parse_name, split_names
from colorbench.models.weights_files import load_weights, save_weights
from tests.support.engine import DistanceProtocol, with_protocol
from zoo.cic.colorizer import SHIPPED

CIC = "zoo/cic.untrained"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zoo/cic", ModelName("zoo/cic")),
        ("zoo/cic[decode=mode]", ModelName("zoo/cic", "mode")),
        ("zoo/cic.small[ temperature = 0.5 , decode=mean ]", ModelName("zoo/cic.small", "mean", 0.5)),
        ("zoo/cic[weights=a/b,c[1].safetensors]", ModelName("zoo/cic", weights=Path("a/b,c[1].safetensors"))),
        ("zoo/cic[weights=a,b.safetensors,decode=mode]", ModelName("zoo/cic", "mode", None, Path("a,b.safetensors"))),
        ("images:made[1]", ModelName("images:made[1]")),
    ],
)
def test_options_stand_in_brackets(text: str, expected: ModelName) -> None:
    assert parse_name(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zoo/cic[decod=mode]", "unknown model option 'decod'.*Choose decode, temperature, weights"),
        ("zoo/cic[decode=mode,decode=mean]", "given twice"),
        ("zoo/cic[decode=]", "has no value"),
        ("zoo/cic[temperature=warm]", "must be a number, not 'warm'"),
        ("zoo/cic[temperature=nan]", "must be a number"),
        ("zoo/cic[weights=none.safetensors]", "no such weights file"),
        ("zoo/cic[decode=median]", "unknown decoding"),
        ("zoo/gray[decode=mode]", "predicts no distribution"),
    ],
)
def test_a_wrong_option_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_model(text)


def test_a_folder_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "made[t=1]").mkdir()
    assert parse_name(f"images:{tmp_path}/made[t=1]").name.endswith("made[t=1]")


def test_a_list_is_split_outside_of_brackets() -> None:
    name = "zoo/cic[decode=mean,temperature=1]"
    assert split_names(f"{name}, zoo/l2,") == [name, "zoo/l2"]


def test_a_chosen_decoding_is_part_of_the_name() -> None:
    assert load_model(f"{CIC}[decode=annealed-mean]").full_name == CIC, "the usual one"
    mode = load_model(f"{CIC}[decode=mode]")
    assert (mode.full_name, mode.decoding) == (f"{CIC}[decode=mode]", {"decode": "mode"})
    assert load_model(mode.full_name).full_name == mode.full_name
    assert load_model(CIC, "mode").full_name == mode.full_name
    with pytest.raises(UserError, match="decode is given twice: mode and mean"):
        load_model(f"{CIC}[decode=mode]", decode="mean")


def test_a_loaded_model_is_decoded_as_asked_and_stays_what_it_is() -> None:
    usual = load_model(CIC)
    warm = load_model(usual, temperature=0.5)
    assert warm.full_name == f"{CIC}[temperature=0.5]"
    assert (usual.full_name, usual.decoding["temperature"]) == (CIC, 0.38)
    assert load_model(warm, temperature=0.38).full_name == CIC, "and back"
    assert load_model(usual) is usual
    with pytest.raises(UserError, match="predicts no distribution"):
        load_model(load_model("zoo/gray"), decode="mode")
    with pytest.raises(UserError, match="does not take a weights file"):
        load_model(usual, weights=Path("x.safetensors"))


def test_a_decoding_for_several_models_is_refused(crops: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"decode=mode is ambiguous for 2 models.*zoo/cic\[decode=mode\]"):
        colorbench.run([CIC, "zoo/l2"], "auc", crops, decode="mode", output=tmp_path)


def test_a_run_obeys_the_decoding_of_a_loaded_model(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    loaded = load_model(CIC)
    found: Any = colorbench.run(
        [loaded, f"{CIC}[decode=mode]"], "distance", crops.limit(2), output=tmp_path, baselines=False, save="none"
    )
    again: Any = colorbench.run(
        loaded, "distance", crops.limit(2), decode="mode", output=tmp_path, baselines=False, save="none"
    )
    assert [one.model.decoding["decode"] for one in found] == ["annealed-mean", "mode"]
    assert found[1] == again != found[0]


class Features:
    """The short form with all capabilities."""

    card = ModelCard(title="short form, and more")

    def __init__(self, method: str = "mean") -> None:
        self.decoding = {"decode": method}

    def colorize(self, lightness: Tensor) -> Tensor:
        return lightness.repeat(1, 2, 1, 1) - 50

    def features(self, lightness: Tensor) -> dict[str, Tensor]:
        return {"conv1": lightness}

    def distribution(self, lightness: Tensor) -> Tensor:
        return lightness.expand(-1, 313, -1, -1)

    def with_decoding(self, method: str | None, temperature: float | None) -> Features:
        return Features(method or "mean")

    def redrawn(self, seed: int) -> Features | None:
        return Features() if seed else None


def test_the_short_form_keeps_its_capabilities() -> None:
    colorizer: Any = load_model(Features()).colorizer
    assert isinstance(colorizer, HasFeatures) and isinstance(colorizer, PredictsDistribution)
    assert isinstance(colorizer, RandomWeights) and colorizer.redrawn(0) is None
    assert callable(colorizer.redrawn(1).colorize_batch)
    assert load_model(Features(), decode="mode").decoding == {"decode": "mode"}
    bare = load_model(Plain()).colorizer
    assert not any(isinstance(bare, kind) for kind in (HasFeatures, PredictsDistribution, RandomWeights))


class Plain:
    card = ModelCard(title="plain")

    def colorize(self, lightness: Tensor) -> Tensor:
        return lightness.repeat(1, 2, 1, 1) - 50


class Net(nn.Module):
    """A network with a card and no more."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.card = ModelCard(title="a network")
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        nn.init.constant_(self.conv.weight, value / 100)

    def forward(self, lightness: Tensor) -> Tensor:
        return self.conv(lightness)


def test_objects_classes_and_networks_are_models(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    options: dict[str, Any] = {"output": tmp_path, "baselines": False, "save": "none"}
    nets = [Net(1.0), Net(2.0)]
    records = colorbench.run([Plain, Plain(), *nets, nets[0]], "distance", crops.limit(2), **options)
    names = [record.model.name for record in records]
    assert names == [f"{__name__}:{one}" for one in ("Plain", "Plain#2", "Net", "Net#2")]
    values = [record.metrics[0].value for record in records]
    assert values[0] == values[1] and values[2] != values[3]
    assert nets[0].training, "as it was"
    one = colorbench.run(nets[1], "distance", crops.limit(2), **{**options, "output": tmp_path / "alone"})
    assert one.metrics[0].value == values[3]


@pytest.mark.parametrize("model", [3, None, object(), nn.Conv2d(1, 2, 1), lambda lightness: lightness, dict])
def test_what_is_no_model_is_one_line(model: Any) -> None:
    with pytest.raises(UserError, match="has no card|cannot be made"):
        load_model(model)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("trained/long.safetensors", "long"),
        ("trained/cic.safetensors", "trained"),
        ("exp-7/best.pth", "exp-7-best"),
        ("exp-7/Model.pt", "exp-7-Model"),
        ("home/alice/best.pth", "best"),
        ("home/alice/cic.pth", "cic"),
        ("/cic.pth", "cic"),
    ],
)
def test_a_weights_file_is_named_by_what_distinguishes_it(tmp_path: Path, file: str, name: str) -> None:
    for model in ("zoo/cic", "zoo/cic.small", "cic"):
        assert name_of_weights(tmp_path / file, model) == name


@pytest.mark.parametrize("how", ["script", "module", "prompt", "imported"])
def test_a_model_object_is_named_by_its_script_or_module(tmp_path: Path, how: str) -> None:
    text = (
        "from colorbench.models import ModelCard, load_model\n"
        "class Warm:\n    card = ModelCard(title='warm')\n"
        "    def colorize(self, lightness):\n        return lightness.repeat(1, 2, 1, 1)\n"
        "if __name__ == '__main__':\n    print(load_model(Warm()).full_name)\n"
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "evaluate.py").write_text(text)
    imported = "from package.evaluate import Warm, load_model\nprint(load_model(Warm).full_name)"
    arguments, name = {
        "script": (["package/evaluate.py"], "evaluate:Warm"),
        "module": (["-m", "package.evaluate"], "package.evaluate:Warm"),
        "prompt": (["-c", text], "interactive:Warm"),
        "imported": (["-c", imported], "package.evaluate:Warm"),
    }[how]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"{name}\n", done.stderr


def test_weights_of_one_stem_are_two_models(tmp_path: Path) -> None:
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    state = load_weights(SHIPPED)
    key = next(iter(state))
    for part, change in (("a", 0), ("b", 1)):
        (tmp_path / part).mkdir()
        save_weights({**state, key: state[key] + change}, tmp_path / part / "w.safetensors")
        (tmp_path / part / "w.json").write_text(json.dumps({**card, "weights_sha256": None}))
    one, two = (load_model(f"zoo/cic[weights={tmp_path}/{part}/w.safetensors]") for part in ("a", "b"))
    assert one.full_name == two.full_name == "zoo/cic@w"
    assert one.weights_sha256 != two.weights_sha256, "and with it the key"


def test_a_list_may_mix_registered_names_and_paths(tmp_path: Path) -> None:
    assert list(expand_names(["m.py:A,zoo/cic[decode=mode,temperature=1],images:out/"])) == [
        *("m.py:A", "zoo/cic[decode=mode,temperature=1]", "images:out/")
    ]
    assert list(expand_names(["zoo/gray,m.py:A"])) == ["zoo/gray", "m.py:A"]
    folder = tmp_path / "a,b" / "c"
    assert list(expand_names([f"images:{folder}"]))[1:] == ["b/c"], "no such folder: read as two"
    folder.mkdir(parents=True)
    assert list(expand_names([f"images:{folder}"])) == [f"images:{folder}"]


def test_names_by_list_and_pattern() -> None:
    assert expand_names(["zoo/cic[decode=mode,temperature=1],zoo/gray", "images:a,b", "m.py:A"]) == dict.fromkeys(
        ["zoo/cic[decode=mode,temperature=1]", "zoo/gray", "images:a,b", "m.py:A"], False
    )
    found = expand_names(["zoo/l2", "zoo/l2*[decode=mode]"])
    assert found == {"zoo/l2": False, "zoo/l2[decode=mode]": True, "zoo/l2-ft[decode=mode]": True}
    with pytest.raises(UserError, match="no model matches 'zoo/x"):
        expand_names(["zoo/x*"])


@pytest.mark.parametrize(
    ("name", "others", "shown"),
    [
        ("zoo/cic", ["zoo/cic"], "zoo/cic"),
        ("images:preds", [], "predictions in preds"),
        ("images:runs/preds", ["images:runs/preds", "images:other"], "predictions in preds"),
        ("images:runs/preds", ["images:other/preds"], "predictions in runs/preds"),
        ("images:preds", ["images:other/preds"], "predictions in preds"),
    ],
)
def test_a_folder_of_predictions_is_shown_in_words(name: str, others: list[str], shown: str) -> None:
    assert display_name(name, others) == shown
    assert hashed_part(name) == ("weights" if name.startswith("zoo") else "files")
