"""The linear-probe protocol: its classifiers against plain ones, its record, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression

from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import DatasetProtocol, record_folder, run
from colorbench.models import RandomWeights, load_model
from colorbench.results import Record
from colorbench.verification import verify
from protocols.label_alignment import aligned
from protocols.linear_probe import LinearProbeProtocol
from protocols.linear_probe.linear_classifiers import logistic, moments, rotated, standardized, validation_part
from protocols.linear_probe.probe_metrics import seed_and_image_interval
from tests.support.engine import Flat, loaded
from tests.support.probe import Blocks, request, write_classes

SMALL = {"dims": 60, "strengths": "1,100,10000"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    folder = tmp_path_factory.mktemp("classes")
    return write_classes(folder / "train", 20), write_classes(folder / "test", 12, first=20)


def probed(sets: tuple[Dataset, Dataset], output: Path, model: Any = None, **changes: Any) -> Record:
    parameters = {**SMALL, **changes.pop("parameters", {})}
    given = loaded(Blocks().eval() if model is None else model)
    (record,) = run(request(given, "linear-probe", *sets, output, parameters=parameters, **changes))
    return record


def values(record: Record) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in record.metrics}


def test_it_goes_through_the_general_door() -> None:
    assert isinstance(LinearProbeProtocol(), DatasetProtocol)


def test_standardized_rows_have_mean_0_and_variance_1_over_the_root_of_dims() -> None:
    matrix = np.random.default_rng(0).normal(3, 2, (700, 40)).astype(np.float16)
    matrix[:, 7] = 5
    mean, deviation = moments(matrix)
    wide = matrix.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(deviation, wide.std(axis=0), rtol=1e-4)
    rows = standardized(matrix, mean, deviation).astype(np.float64)
    assert np.abs(rows[:, 7]).max() == 0
    others = np.delete(rows, 7, axis=1)
    np.testing.assert_allclose((others**2).mean(axis=0), 1 / 40, rtol=1e-3)


def test_axes_that_span_the_rows_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(n, 300)).astype(np.float32) / 17 for n in (50, 30))
    labels = rng.integers(0, 3, 50)
    short, short_test = rotated(train, test)
    assert short.shape[1] <= 50
    np.testing.assert_allclose(short @ short.T, train @ train.T, atol=1e-4)
    full, less = (LogisticRegression(C=5, tol=1e-8, max_iter=2000).fit(x, labels) for x in (train, short))
    np.testing.assert_allclose(full.predict_proba(test), less.predict_proba(short_test), atol=2e-3)


def test_features_that_tell_nothing_leave_the_commonest_class() -> None:
    rows = np.full((50, 300), 3.7, dtype=np.float32)
    train = standardized(rows, *moments(rows))
    assert not train.any()
    labels = np.repeat([0, 1], [20, 30])
    short, short_test = rotated(train, train[:10])
    fitted = logistic(short, labels, short_test, strengths=(1, 100), validation=validation_part(labels, 0.2, seed=0))
    assert (fitted.predictions == 1).all()


def test_the_held_part_is_a_share_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 10, 2])
    validation = validation_part(labels, 0.1, seed=0)
    assert [int(validation[labels == label].sum()) for label in range(3)] == [5, 1, 1]
    assert (validation == validation_part(labels, 0.1, seed=0)).all()
    assert (validation != validation_part(labels, 0.1, seed=1)).any()


def test_regularization_is_chosen_on_the_held_part_alone() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    train = rng.normal(size=(200, 30)).astype(np.float32)
    train[:, 0] += 2 * labels
    validation = validation_part(labels, 0.25, seed=0)
    found = logistic(train, labels, train[:5], strengths=(1e-3, 1e-1, 10), validation=validation)
    assert found.tried is not None
    for strength, score in found.tried.items():
        alone = LogisticRegression(C=float(strength), max_iter=300).fit(train[~validation], labels[~validation])
        assert score == pytest.approx(float((alone.predict(train[validation]) == labels[validation]).mean()), abs=0.021)
    assert found.validation_accuracy == max(found.tried.values())
    assert f"{found.strength:g}" == next(
        key for key, score in found.tried.items() if score == found.validation_accuracy
    )


def test_an_interval_over_seeds_that_alone_differ_is_students() -> None:
    # Every image answers as its seed does: nothing but the five seeds is known.
    rates = np.array([40.0, 44.0, 47.0, 51.0, 43.0])
    found = seed_and_image_interval(np.repeat(rates[:, None], 60, axis=1), (0, 100))
    assert found is not None
    low, high = stats.t.interval(0.95, 4, loc=rates.mean(), scale=stats.sem(rates))
    # What both clusters share is taken off once: a share of 4 / (5 x 60) of the variance.
    shrink = (1 - 4 / (5 * 60)) ** 0.5
    assert found.high - found.low == pytest.approx((high - low) * shrink, rel=1e-3)
    assert found.high + found.low == pytest.approx(high + low)


def test_an_untouched_record_verifies(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    outcomes = {check.name: check.outcome for check in verify(record_folder(tmp_path, probed(sets, tmp_path))).checks}
    assert outcomes["rows"] == "holds" and "fails" not in outcomes.values(), outcomes


def test_a_record_of_a_model_with_learned_weights(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    record = probed(sets, tmp_path)
    found = values(record)
    assert list(found) == ["top1", "top1_conv1", "top1_conv2", "top1_pixels"]
    # Crops of three images, 60 numbers of random filters: above chance, a third, and no more is asked.
    assert all(value is not None and value > 45 for value in found.values()), found
    assert found["top1"] in (found["top1_conv1"], found["top1_conv2"])
    assert all(metric.ci_low is not None and metric.ci_low < metric.ci_high for metric in record.metrics)
    assert {(one.metric, one.minus) for one in record.differences} == {
        (name, "pixels") for name in ("top1", "top1_conv1", "top1_conv2")
    }
    (curve,) = record.curves
    assert curve.y == [found["top1_conv1"], found["top1_conv2"]]
    assert curve.beside["pixels"] == [found["top1_pixels"]] * 2
    assert record.dataset.n_evaluated == 36
    with np.load(record_folder(tmp_path, record) / "arrays.npz") as arrays:
        right = arrays["predictions"][:, 0, 1] == arrays["labels"]
    assert 100 * right.mean() == pytest.approx(found["top1_conv2"])


def test_a_second_probe_shows_the_network_nothing(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first = probed(sets, tmp_path)
    model = Blocks().eval()
    other = probed(sets, tmp_path, model, parameters={"validation": 0.25})
    shown = model.seen
    assert shown == 0
    assert other.protocol.identity_sha256 != first.protocol.identity_sha256
    assert record_folder(tmp_path, other) != record_folder(tmp_path, first)


def test_the_same_seed_gives_the_same_prediction(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    one, other = (probed(sets, tmp_path / name) for name in "ab")
    assert values(one) == values(other)
    assert one.files == other.files
    assert probed(sets, tmp_path / "a") == one


def test_what_it_was_trained_on_is_part_of_the_identity(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    train, test = sets
    fewer = replace(train, samples=tuple(sample for sample in train.samples if "001" not in sample.id))
    one, other = probed((train, test), tmp_path), probed((fewer, test), tmp_path)
    assert one.protocol.parameters == other.protocol.parameters
    assert one.protocol.identity_sha256 != other.protocol.identity_sha256


def test_drawn_weights_are_drawn_again(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    record = probed(sets, tmp_path, Blocks(random=True).eval(), parameters={"seeds": 3})
    assert all("two-way" in (m.ci_method or "") for m in record.metrics if m.name != "top1_pixels")
    with np.load(record_folder(tmp_path, record) / "arrays.npz") as arrays:
        right = arrays["predictions"] == arrays["labels"][:, None, None]
    assert right.shape == (36, 3, 2)
    assert values(record)["top1_conv1"] == pytest.approx(100 * right[:, :, 0].mean())


def test_streamed_classifiers_agree_with_those_in_memory(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    in_memory = values(probed(sets, tmp_path))
    streamed = probed(
        sets, tmp_path, parameters={"classifier": "sgd", "steps": 300, "batch": 32, "learning_rate": 0.05}
    )
    for name, value in values(streamed).items():
        assert value == pytest.approx(in_memory[name], abs=12)  # 36 images, another penalty
    assert streamed.protocol.identity["classifier"]["name"] == "sgd"


def test_auto_is_resolved_before_it_is_an_identity(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    record = probed(sets, tmp_path)
    assert record.protocol.parameters["classifier"] == "logistic"


def test_zoo_controls_are_drawn_by_seed() -> None:
    control = load_model("zoo/cic.untrained").colorizer
    assert isinstance(control, RandomWeights)
    lightness = torch.full((1, 1, 32, 32), 40.0)
    maps = []
    for seed in (0, 1, 1):
        drawn: Any = control.redrawn(seed)
        maps.append(drawn.features(lightness)["conv4"].detach())
    own: Any = control
    assert torch.equal(maps[0], own.features(lightness)["conv4"]) and torch.equal(maps[1], maps[2])
    assert not torch.allclose(maps[0], maps[1])
    learned: Any = load_model("zoo/cic").colorizer
    assert learned.redrawn(1) is None


def test_a_model_without_features(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs features, and test/model has none"):
        probed(sets, tmp_path, Flat())


def test_features_that_are_no_numbers(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    model = Blocks().eval()
    model.spoilt = "conv1"
    with pytest.raises(RunError, match="NaN or infinity in layer"):
        probed(sets, tmp_path, model)


def test_a_role_that_is_missing(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    asked = replace(request(loaded(Blocks()), "linear-probe", *sets, tmp_path), roles={})
    with pytest.raises(UserError, match="role 'train'.*--data train=DIR --data test=DIR"):
        run(asked)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"validation": 1}, "between 0 and 1"),
        ({"strengths": "1,x"}, "positive numbers"),
        ({"pooling": "max"}, "cannot be 'max'"),
        ({"layers": "conv9"}, "unknown layer 'conv9'"),
        ({"preprocessing": "native"}, "one size"),
    ],
)
def test_parameters_that_cannot_be(
    sets: tuple[Dataset, Dataset], tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        probed(sets, tmp_path, parameters=parameters)


def named(dataset: Dataset, names: tuple[str, ...] | None, keep: int | None = None) -> Dataset:
    samples = tuple(sample for sample in dataset.samples if keep is None or (sample.label or 0) < keep)
    return replace(dataset, class_names=names, samples=samples)


def test_classes_that_do_not_match(sets: tuple[Dataset, Dataset]) -> None:
    train, test = sets
    with pytest.raises(UserError, match="no class in common"):
        aligned(train, named(test, ("x", "y", "z")))
    with pytest.raises(UserError, match="1 test classes have no training images, first 'coffee'"):
        aligned(named(train, train.class_names, keep=2), test)
    with pytest.raises(UserError, match="at least two are needed"):
        aligned(named(train, train.class_names, keep=1), test)
    with pytest.raises(UserError, match="test images have no classes"):
        aligned(train, named(test, None))


def test_classes_are_numbered_by_name_whatever_the_folders_hold(sets: tuple[Dataset, Dataset]) -> None:
    train, test = sets
    fewer = replace(test, samples=test.samples[12:], class_names=test.class_names)
    swapped = replace(
        fewer,
        class_names=("coffee", "chelsea"),
        samples=tuple(replace(sample, label=2 - (sample.label or 0)) for sample in fewer.samples),
    )
    one, other = aligned(train, swapped)
    assert one.class_names == other.class_names == ("astronaut", "chelsea", "coffee")
    assert all(sample.id.startswith(other.class_names[sample.label or 0]) for sample in other.samples)


def test_python_takes_the_sets_by_role(sets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    import colorbench

    expected = probed(sets, tmp_path / "one")
    folders = {"train": sets[0].samples[0].path.parent.parent, "test": sets[1]}
    chosen = {"preprocessing": "squash32", **SMALL}
    options: dict[str, Any] = {"parameters": chosen, "output": tmp_path / "other", "device": "cpu", "batch_size": 8}
    found = colorbench.run(loaded(Blocks().eval()), "linear-probe", folders, **options)
    assert found.metrics == expected.metrics
    for data, message in (
        ({"train": sets[0]}, "there are no images in the role 'test'"),
        ({**folders, "held": sets[0]}, "take[s]? no images in the role 'held'"),
        (sets[1], "needs images for the role 'train'"),
    ):
        with pytest.raises(UserError, match=message):
            colorbench.run(loaded(Blocks().eval()), "linear-probe", data, **options)
    with pytest.raises(UserError, match="auc takes no images in the role 'train'"):
        colorbench.run("zoo/gray", "auc", folders)
