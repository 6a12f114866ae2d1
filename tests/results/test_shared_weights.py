"""A model that contains the network which judges it: found by hash or name, and said wherever its scores are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from colorbench.data import Dataset
from colorbench.models import ModelCard, PretrainedPart, save_weights
from colorbench.registry import registered
from colorbench.results import find_shared_weights, load_run, read_record
from colorbench.results.record_comparison import compare
from leaderboards.board_building import build
from leaderboards.record_collection import collect
from protocols.distribution.inception import Inception
from protocols.fidelity.lpips import Lpips
from tests.support.engine import write_images
from tests.support.records import edit_record, ended, measure

HASH = "5793" * 16

MODEL = """
import torch
from colorbench.models import ModelCard, PretrainedPart

class Warm:
    card = ModelCard(title="one color", pretrained=(PretrainedPart({part}),))
    def colorize(self, lightness):
        return torch.tensor([10.0, 20.0]).view(1, 2, 1, 1).expand(len(lightness), 2, *lightness.shape[-2:])
"""


def card(**part: Any) -> ModelCard:
    return ModelCard(title="a model", pretrained=(PretrainedPart(**part),))


def judged_by(name: str, sha256: str = "0" * 64) -> dict[str, Any]:
    return {"crop": "none", "classifiers": [{"name": "other", "weights_sha256": "1" * 64}, network(name, sha256)]}


def network(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "weights_sha256": sha256, "preprocessing": {"size": [224, 224]}}


@pytest.mark.parametrize(
    ("part", "judge", "found_by"),
    [
        ({"name": "my encoder", "weights_sha256": HASH.upper()}, ("tf_efficientnet_lite0", HASH), "weights"),
        ({"name": "tf_efficientnet_lite0", "weights_sha256": "2" * 64}, ("tf_efficientnet_lite0", HASH), "name"),
        ({"name": "resnet50", "weights_sha256": "2" * 64}, ("resnet50.a1_in1k", HASH), None),
        ({"name": "resnet50"}, ("resnet50.a1_in1k", HASH), "name"),
        ({"name": "timm/ResNet50.a1_in1k"}, ("resnet50.a1_in1k", HASH), "name"),
        ({"name": "resnet50.tv_in1k"}, ("resnet50.a1_in1k", HASH), None),
        ({"name": "resnet50"}, ("resnet50:mine", HASH), None),
        ({"name": "tf_efficientnet_lite1"}, ("tf_efficientnet_lite0", HASH), None),
    ],
)
def test_weights_are_known_by_hash_and_names_by_their_tags(
    part: dict[str, str], judge: tuple[str, str], found_by: str | None
) -> None:
    found = find_shared_weights(card(**part), "semantic", judged_by(*judge))
    assert [one.found_by for one in found] == ([] if found_by is None else [found_by])


@pytest.mark.parametrize(
    "identity",
    [
        {"scorer": {"inner": [{"net": {"weights_sha256": HASH}}]}},  # a stranger's protocol
        {"classifiers": [network("x", HASH), network("y", "1" * 64)]},
    ],
)
def test_networks_are_found_wherever_they_are_in_an_identity(identity: dict[str, Any]) -> None:
    (found,) = find_shared_weights(card(name="mine", weights_sha256=HASH), "p", identity)
    assert found.parameter == f"p.{next(iter(identity))}"


def test_trunks_and_inception_are_known_by_the_names_of_torchvision() -> None:
    trunk = Lpips("vgg", torch.nn.Identity(), HASH, "-1..1").identity
    assert find_shared_weights(card(name="vgg16"), "fidelity", {"lpips": trunk})
    assert not find_shared_weights(card(name="alexnet"), "fidelity", {"lpips": trunk})
    inception = Inception("inception-torchvision", torch.nn.Identity(), HASH, "pool", "bilinear", "own").identity
    assert find_shared_weights(card(name="inception_v3"), "distribution", {"backend": inception})


def test_a_models_own_weights_file_may_be_the_judge() -> None:
    own = ModelCard(title="a classifier with a color head", weights_sha256=HASH)
    assert [one.found_by for one in find_shared_weights(own, "semantic", judged_by("x", HASH))] == ["weights"]


def test_all_protocols_that_judge_features_name_pretrained_parts() -> None:
    specs = [plugin.load().spec for plugin in registered("protocols")]
    judging = [spec for spec in specs if "HasFeatures" in spec.needs]
    assert {spec.name for spec in judging} >= {"linear-probe", "transfer-classification", "transfer-segmentation"}
    for spec in judging:
        (found,) = find_shared_weights(card(name="resnet18"), spec.name, {}, needs=spec.needs)
        assert found.found_by == "features"
        assert not find_shared_weights(ModelCard(title="from scratch"), spec.name, {}, needs=spec.needs)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small classifier with random weights, as protocols take it."""
    path = tmp_path_factory.mktemp("judge") / "judge.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(timm.create_model("test_resnet").state_dict(), path)
    return f"test_resnet:{path}"


def sha256_of(judge: str) -> str:
    from colorbench.storage import file_sha256

    return file_sha256(Path(judge.partition(":")[2]))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_images(tmp_path_factory.mktemp("images"), 3)


@pytest.mark.parametrize(("protocol", "parameter"), [("semantic", "classifiers"), ("distribution", "backend")])
def test_record_table_page_board_and_comparison_say_so(
    protocol: str, parameter: str, judge: str, images: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = f'name="an encoder", weights_sha256="{sha256_of(judge)}"'
    (tmp_path / "mine.py").write_text(MODEL.format(part=part))
    model = f"{tmp_path / 'mine.py'}:Warm"
    asked = ["run", "-m", model, "-m", "zoo/gray", "-p", protocol, "--data", tmp_path / "images"]
    write_images(tmp_path / "images", 3)
    small = f"{protocol}.preprocessing=squash32"
    asked += ["--param", "semantic.labels=ignore"] if protocol == "semantic" else []
    asked += ["--param", f"{protocol}.{parameter}={judge}", "--param", small, "-o", tmp_path / "runs"]
    shown = " ".join(ended(capsys, asked).stdout.split())
    folders = {read_record(path.parent).model.name: path.parent for path in (tmp_path / "runs").rglob("record.json")}
    folder = next(path for name, path in folders.items() if "Warm" in name)
    record = read_record(folder)
    (found,) = record.shared_weights
    assert (found.part, found.found_by, found.parameter) == ("an encoder", "weights", f"{protocol}.{parameter}")
    assert {"tf_efficientnet_lite1", "tf_efficientnet_lite2"} <= set(found.alternatives)
    assert not read_record(folders["zoo/gray"]).shared_weights

    said = "the model contains an encoder, and the same weights score it here"
    assert shown.count(said) == 1
    assert f"--param {protocol}.{parameter}=tf_efficientnet_lite0" in shown
    assert (folder / "report.html").read_text().count(said) == 1
    compared = compare([load_run(folder), load_run(folders["zoo/gray"])])
    assert sum(said in remark for remark in compared.remarks) == 1
    board = build(collect([tmp_path / "runs"]))[0]
    badges = {row.name: [badge.word for badge in row.badges] for row in board.rows}
    assert [words.count("shares weights") for name, words in sorted(badges.items()) if "Warm" in name] == [1]
    assert "shares weights" not in badges["zoo/gray"]


def test_a_record_that_leaves_it_out_is_not_verified(
    judge: str, images: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(MODEL.format(part=f'name="e", weights_sha256="{sha256_of(judge)}"'))
    model = f"{tmp_path / 'mine.py'}:Warm"
    (folder,) = measure(
        tmp_path / "runs", images, [model], protocol="semantic", parameters={"classifiers": judge}
    ).values()
    first = ended(capsys, ["verify", folder]).stdout
    assert re.search("^identity +ok", first, re.MULTILINE), first
    edit_record(folder, lambda values: values.update(shared_weights=[]))
    done = ended(capsys, ["verify", folder])
    assert done.returncode == 1
    assert "does not say that the model contains e" in " ".join(done.stdout.split())


def test_one_network_is_named_once() -> None:
    parts = (PretrainedPart(name="net.tag"), PretrainedPart(name="net", weights_sha256=HASH))
    found = find_shared_weights(ModelCard(title="m", pretrained=parts), "semantic", judged_by("net", HASH))
    assert [one.found_by for one in found] == ["weights"]
