"""The transfer protocols: what is fine-tuned, that a training goes on, and their records."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from colorbench.data import Dataset, open_dataset
from colorbench.errors import UserError
from colorbench.evaluation import DatasetProtocol, record_folder, run
from colorbench.metrics import average_precision
from colorbench.models import load_model
from colorbench.results import Record
from protocols.transfer import TransferClassificationProtocol, TransferSegmentationProtocol
from protocols.transfer.backbone import Backbone
from protocols.transfer.fine_tuning import mirror
from protocols.transfer.segmentation import mean_iou
from tests.support.engine import Flat, loaded
from tests.support.probe import Blocks, request, write_classes
from tests.support.voc import write_devkit

CPU = torch.device("cpu")
FAST = {"epochs": 6, "batch": 8, "dims": 60, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    folder = tmp_path_factory.mktemp("classes")
    return write_classes(folder / "train", 12), write_classes(folder / "test", 12, first=20)


@pytest.fixture(scope="module")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_devkit(tmp_path_factory.mktemp("voc"), count=24))


def classified(train: Dataset, test: Dataset, output: Path, model: Any = None, **changes: Any) -> Record:
    parameters = {**FAST, **changes.pop("parameters", {})}
    given = loaded(Blocks().eval() if model is None else model)
    asked = request(given, "transfer-classification", train, test, output, parameters=parameters, **changes)
    (record,) = run(asked)
    return record


def segmented(data: Dataset, output: Path, **parameters: Any) -> Record:
    chosen = {"epochs": 30, "batch": 4, "hidden": 16, "learning_rate": 0.01, **parameters}
    asked = request(loaded(Blocks().eval()), "transfer-segmentation", data, data, output, parameters=chosen)
    (record,) = run(asked)
    return record


def value(record: Record, name: str) -> float:
    (found,) = [metric.value for metric in record.metrics if metric.name == name]
    assert found is not None
    return found


def names_of(backbone: Backbone) -> set[str]:
    tuned = {id(one) for one in backbone.tuned}
    return {name.rpartition(".")[0] for name, one in backbone.named_parameters() if id(one) in tuned}


def test_both_go_through_the_general_door() -> None:
    assert isinstance(TransferClassificationProtocol(), DatasetProtocol)
    assert isinstance(TransferSegmentationProtocol(), DatasetProtocol)


@pytest.mark.parametrize(
    ("tune", "tuned"),
    [
        ("head", set()),
        ("conv2", {"conv2"}),
        ("conv1", {"conv1", "norm1", "conv2"}),
        ("all", {"conv1", "norm1", "conv2"}),
    ],
)
def test_what_is_tuned_is_found_from_the_block_on(tune: str, tuned: set[str]) -> None:
    backbone = Backbone(loaded(Blocks().eval()), "conv2", tune, 32, CPU)
    assert {name.removeprefix("parts.0.") for name in names_of(backbone)} == tuned
    assert all(one.requires_grad == any(one is other for other in backbone.tuned) for one in backbone.parameters())


def test_of_the_zoo_the_blocks_above_are_tuned_and_the_output_is_not() -> None:
    backbone = Backbone(loaded(load_model("zoo/cic.untrained").colorizer), "auto", "conv6", 32, CPU)
    assert backbone.layer == "conv7"
    found = {name.split(".")[3] for name in names_of(backbone)}
    assert found == {"conv6", "conv7"}


def test_a_block_that_is_not_there() -> None:
    model = loaded(Blocks().eval())
    with pytest.raises(UserError, match="tune cannot be 'conv7'.*conv1, conv2"):
        Backbone(model, "auto", "conv7", 32, CPU)
    with pytest.raises(UserError, match="unknown block 'conv7'"):
        Backbone(model, "conv7", "head", 32, CPU)
    with pytest.raises(UserError, match="needs a model with features"):
        Backbone(loaded(Flat()), "auto", "head", 32, CPU)


def test_mirrors_turn_over_those_chosen() -> None:
    batch = torch.arange(12.0).reshape(2, 1, 2, 3)
    found = mirror(batch, np.array([True, False]))
    assert torch.equal(found[0], batch[0].flip(-1)) and torch.equal(found[1], batch[1])


@pytest.mark.parametrize("tune", ["head", "conv2"])
def test_classification_learns_and_leaves_the_model_as_it_was(
    sets: tuple[Dataset, Dataset], tmp_path: Path, tune: str
) -> None:
    model = Blocks().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = classified(*sets, tmp_path, model, parameters={"tune": tune})
    assert value(record, "top1") > 60  # a third by chance
    assert value(record, "map") > 60
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert record.protocol.parameters["rule"] == "sklearn"
    low, high = next((m.ci_low, m.ci_high) for m in record.metrics if m.name == "map")
    assert low is not None and high is not None and low <= value(record, "map") <= high


def test_the_same_seed_gives_the_same_prediction_and_a_killed_training_goes_on(
    sets: tuple[Dataset, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protocols.transfer import fine_tuning

    forward, calls = Backbone.forward, []

    def killed(self: Backbone, lightness: Tensor) -> Tensor:
        calls.append(len(lightness))  # not in the model: another one's checkpoint would not be gone on with
        if len(calls) > 12:
            raise KeyboardInterrupt
        return forward(self, lightness)

    full = classified(*sets, tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning.Backbone, "forward", killed)
        with pytest.raises(KeyboardInterrupt):
            classified(*sets, tmp_path / "b")
    assert list((tmp_path / "b").rglob("checkpoint.pt"))
    resumed = classified(*sets, tmp_path / "b")
    assert resumed.files == full.files
    assert resumed.metrics == full.metrics


def test_settings_are_part_of_the_identity(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    one = classified(*sets, tmp_path, parameters={"epochs": 1})
    other = classified(*sets, tmp_path, parameters={"epochs": 1, "tune": "all"})
    assert one.protocol.identity_sha256 != other.protocol.identity_sha256


def test_voc_is_scored_by_map_without_what_is_difficult(devkit: Dataset, tmp_path: Path) -> None:
    record = classified(devkit, devkit, tmp_path, parameters={"views": "ten-crop"})
    assert [metric.name for metric in record.metrics] == ["map"]
    chosen = record.protocol.parameters
    assert (chosen["rule"], chosen["train_set"], chosen["test_set"]) == ("voc07", "trainval", "test")
    with np.load(record_folder(tmp_path, record) / "arrays.npz") as arrays:
        scores, labels = arrays["scores"].astype(np.float64), arrays["labels"]
    assert labels.shape == (12, 20) and (labels == -1).any()
    each = []
    for index in range(20):
        counted = labels[:, index] != -1
        if (labels[counted, index] == 1).any():
            each.append(float(average_precision(scores[counted, index], labels[counted, index] == 1, "voc07")))
    assert len(each) == 3  # person, cat, diningtable: of the others only difficult ones
    assert value(record, "map") == pytest.approx(100 * np.mean(each), abs=1e-3)


def test_segmentation_is_one_count_over_the_set(devkit: Dataset, tmp_path: Path) -> None:
    # Of its own training images: 12 teach no more than that it learns at all.
    record = segmented(devkit, tmp_path, test_set="train", crop=1, tune="all", epochs=60)
    assert any("12 test images are also in the training set" in note for note in record.notes)
    with np.load(record_folder(tmp_path, record) / "arrays.npz") as arrays:
        matrices = arrays["confusion"]
    assert matrices.shape == (12, 21, 21)
    void = 20 * 24 - 16 * 20  # the border of each mask
    assert (matrices.sum(axis=(1, 2)) == 40 * 48 - void).all()
    assert value(record, "mean_iou") == pytest.approx(100 * float(mean_iou(matrices.sum(axis=0))))
    nothing_but_background = 100 * (40 * 48 - 20 * 24) / (40 * 48 - void)
    assert value(record, "pixel_accuracy") > nothing_but_background + 5


def test_segmentation_counts_an_image_once(devkit: Dataset, tmp_path: Path) -> None:
    root = write_devkit(tmp_path / "copied", count=24)
    listed = root / "ImageSets" / "Segmentation" / "val.txt"
    copied = listed.read_text().split()[3]
    for i in range(10):
        for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png"), ("Annotations", "xml")):
            shutil.copy(root / folder / f"{copied}.{suffix}", root / folder / f"9{i:05d}.{suffix}")
        listed.write_text(f"{listed.read_text()}9{i:05d}\n")
    one = segmented(devkit, tmp_path / "one", epochs=3)
    other = segmented(open_dataset(root), tmp_path / "other", epochs=3)
    assert (other.metrics, other.dataset.n, other.dataset.fingerprint) == (one.metrics, 12, one.dataset.fingerprint)
    assert len(other.dataset.copies) == 10
    with np.load(record_folder(tmp_path / "other", other) / "arrays.npz") as arrays:
        assert len(arrays["confusion"]) == 12


def test_segmentation_needs_masks(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    asked = request(loaded(Blocks().eval()), "transfer-segmentation", *sets, tmp_path)
    with pytest.raises(UserError, match="masks of a VOC devkit"):
        run(asked)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": 0}, "epochs cannot be '0'"),
        ({"crop": "x"}, "crop cannot be 'x'"),
        ({"test_set": "val"}, "VOC devkit"),
    ],
)
def test_parameters_that_cannot_be(
    sets: tuple[Dataset, Dataset], tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        classified(*sets, tmp_path, parameters=parameters)
