"""``import colorbench``: what it takes, what it returns, and how it fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import colorbench
from colorbench import errors
from colorbench._api.errors_and_logging import rename_flags
from colorbench.data import Dataset
from colorbench.models import ModelCard
from protocols.auc import AucProtocol
from tests.support.engine import Flat, write_images

SMALL: dict[str, Any] = {"baselines": False, "save": "none", "threads": 1, "workers": 0, "parameters": {}}
SMALL["parameters"] = {"preprocessing": "squash32"}
TWO: dict[str, Any] = {**SMALL, "parameters": dict.fromkeys(("auc", "fidelity"), SMALL["parameters"])}


class Warm:
    """README's own example."""

    card = ModelCard(title="one warm color everywhere")

    def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
        return lightness.new_tensor([10.0, 20.0]).view(1, 2, 1, 1).expand(len(lightness), 2, *lightness.shape[-2:])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_images(tmp_path_factory.mktemp("crops"), 5)


@pytest.fixture
def folder(images: Dataset) -> Path:
    return images.samples[0].path.parent.parent


@pytest.mark.parametrize(
    "model",
    [Warm, Warm(), "zoo/gray", Flat((5.0, 5.0)), torch.nn.Sequential, "zoo/cic[decode=mode]"],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_one_model_gives_one_record(model: Any, images: Dataset, tmp_path: Path) -> None:
    if model is torch.nn.Sequential:
        model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1))
        model.card = ModelCard(title="a network")
    record = colorbench.run(model, "auc", images, output=tmp_path, **SMALL)
    assert isinstance(record, colorbench.Record)
    assert (record.protocol.name, record.dataset.n) == ("auc", 5)
    again = colorbench.run(colorbench.load_model(model), "auc", images, output=tmp_path, **SMALL)
    assert again.metrics == record.metrics


def test_lists_give_lists(images: Dataset, tmp_path: Path) -> None:
    run: Callable[..., Any] = colorbench.run
    small = {**SMALL, "parameters": {"auc": SMALL["parameters"], "fidelity": SMALL["parameters"]}, "output": tmp_path}
    models, protocols = [Warm, "zoo/gray"], ["auc", "fidelity"]
    found = run(models, protocols, images, **small)
    assert [(one.model.name.partition(":")[2] or one.model.name, one.protocol.name) for one in found] == [
        ("Warm", "auc"), ("Warm", "fidelity"), ("zoo/gray", "auc"), ("zoo/gray", "fidelity")
    ]  # fmt: skip
    one_list = {**SMALL, "output": tmp_path}
    assert [one.model.name for one in run(["zoo/gray"], "auc", images, **one_list)] == ["zoo/gray"]
    assert [one.protocol.name for one in run("zoo/gray", ("auc",), images, **one_list)] == ["auc"]
    # Baselines are evaluated beside, and not returned.
    beside = run(["zoo/half-chroma"], "auc", images, **{**one_list, "baselines": True})
    assert [one.model.name for one in beside] == ["zoo/half-chroma"] and beside[0].differences


def test_a_protocol_is_a_name_an_object_or_a_class(images: Dataset, tmp_path: Path) -> None:
    records = [
        colorbench.run("zoo/gray", protocol, images, output=tmp_path / str(i), **SMALL)
        for i, protocol in enumerate(("auc", AucProtocol, AucProtocol(), "auc@cic2016"))
    ]
    assert records[0].metrics == records[1].metrics == records[2].metrics
    assert {record.protocol.name for record in records} == {"auc"}


class Halves:
    """A dataset protocol that only looks at its roles."""

    spec = colorbench.ProtocolSpec(name="halves", version=1, title="counts", metrics=(), parameters={}, headline="")
    roles = ("train", "test")
    joint = True

    def __init__(self) -> None:
        self.given: list[dict[str, int]] = []

    def evaluate(self, context: Any) -> Path:
        self.given.append({role: len(one) for role, one in context.data.items()})
        return Path("nowhere")


def test_datasets_are_given_by_role_in_either_way(images: Dataset, folder: Path, tmp_path: Path) -> None:
    halves, train = Halves(), folder / "a"
    ways: list[tuple[Any, Any]] = [
        ({"train": train, "test": str(folder)}, None),
        (images, {"train": str(train)}),
        (None, {"train": train, "test": images}),
    ]
    for data, roles in ways:
        colorbench.run(["zoo/gray"], [halves], data, roles=roles, output=tmp_path, baselines=False, threads=1)
    assert halves.given == [{"train": 3, "test": 5}] * 3


@pytest.mark.parametrize("kind", [str, Path, os.fspath], ids=["text", "Path", "fspath"])
def test_data_is_a_path_of_any_kind(kind: Callable[[Path], Any], folder: Path, tmp_path: Path) -> None:
    assert colorbench.run("zoo/gray", "auc", kind(folder), output=str(tmp_path), **SMALL).dataset.n == 5


WRONG: dict[str, Callable[[Dataset, Path], Any]] = {
    "batch_size": lambda data, out: colorbench.run("zoo/gray", "auc", data, batch_size=0, output=out),
    "limit": lambda data, out: colorbench.run("zoo/gray", "auc", data, limit=0, output=out),
    "workers": lambda data, out: colorbench.run("zoo/gray", "auc", data, workers=-1, output=out),
    "save": lambda data, out: colorbench.run("zoo/gray", "auc", data, save="all", output=out),  # type: ignore[call-overload]
    "models": lambda data, out: colorbench.run([], "auc", data, output=out),
    "protocols": lambda data, out: colorbench.run("zoo/gray", [], data, output=out),
    "data": lambda data, out: colorbench.run("zoo/gray", "auc", Dataset("none", ()), output=out),
    "device": lambda data, out: colorbench.run("zoo/gray", "auc", data, device="cuda:77", output=out),
    "train": lambda data, out: colorbench.run("zoo/cic", "linear-probe", data, output=out),
    "role": lambda data, out: colorbench.run("zoo/gray", "auc", {"test": data}, roles={"test": data}, output=out),
    "test": lambda data, out: colorbench.run("zoo/gray", "auc", {"train": data}, output=out),
    "parameter": lambda data, out: colorbench.run(
        "zoo/gray", ["auc", "fidelity"], data, parameters={"prior": 1}, output=out
    ),
    "zoo/gray": lambda data, out: colorbench.run("zoo/gry", "auc", data, output=out),
    "human-study": lambda data, out: colorbench.run("zoo/gray", "human-study", data, output=out),
    "not a protocol": lambda data, out: colorbench.run("zoo/gray", Warm, data, output=out),
    "int is not a protocol": lambda data, out: colorbench.run("zoo/gray", 3, data, output=out),  # type: ignore[call-overload]
    "data cannot be a int": lambda data, out: colorbench.run("zoo/gray", "auc", 3, output=out),  # type: ignore[call-overload]
    "data cannot be a list": lambda data, out: colorbench.predict("zoo/gray", [data]),  # type: ignore[arg-type]
    "card": lambda data, out: colorbench.run(3, "auc", data, output=out),
    "squash0": lambda data, out: colorbench.predict("zoo/gray", data, preprocessing="squash0").__next__(),
    "uint8": lambda data, out: colorbench.colorize(np.zeros((4, 4)), "zoo/gray"),
    "(0, 3)": lambda data, out: colorbench.colorize(np.zeros((0, 3), np.uint8), "zoo/gray"),
    "there": lambda data, out: colorbench.colorize(out / "nothing.png", "zoo/gray"),
    "at least two records": lambda data, out: colorbench.compare(),
    "record": lambda data, out: colorbench.read_record(out),
    "no such": lambda data, out: colorbench.verify(out / "nowhere"),
    "no folder": lambda data, out: colorbench.open_dataset(out / "nowhere"),
    "packaged": lambda data, out: colorbench.open_dataset(labels="labels.csv"),
    "twice": lambda data, out: colorbench.load_model("zoo/cic[decode=mode]", "mean"),
}
"""What the error names -> the call."""


@pytest.mark.parametrize("named", WRONG)
def test_an_error_names_what_python_calls_it(named: str, images: Dataset, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    with pytest.raises(colorbench.ColorbenchError) as error:
        WRONG[named](images, output)
    line = str(error.value)
    assert "--" not in line and "\n" not in line
    if named not in ("there", "packaged", "data", "no such"):
        assert named in line
    assert not output.exists() or not list(output.rglob("*.json"))


class Diverged(Warm):
    """A network whose training has diverged."""

    def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
        return super().colorize(lightness) * 1e6


def test_a_model_that_fails_is_one_error_with_the_other_records(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(colorbench.ColorbenchError, match="farther than 10000 from gray") as error:
        colorbench.run([Diverged(), Warm()], "auc", folder, baselines=False, save="none", output=tmp_path / "runs")
    assert "--" not in str(error.value)
    assert [record.model.name for record in error.value.records] == ["tests.test_api:Warm"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [one for one in vars(errors).values() if isinstance(one, type)])
def test_flags_in_an_error_of_any_kind_become_arguments(kind: type) -> None:
    if not issubclass(kind, errors.UserError):
        return
    wrapped = errors.UserError("use --batch-size", where="here", hint="give --model")
    made = ("a model", wrapped) if kind is errors.ModelFailed else (wrapped.what,)
    error = kind(*made, **({} if len(made) == 2 else {"where": "here", "hint": wrapped.hint}))
    rename_flags(error)
    assert str(error) == "use batch_size (here). Give models"


@pytest.mark.parametrize("kind", [one for one in vars(errors).values() if isinstance(one, type)])
@pytest.mark.parametrize(
    ("what", "hint", "line"),
    [
        ("no folder", "check the path", "no folder (x). Check the path"),
        ("no onnx", "pip install onnx", "no onnx (x). pip install onnx"),
        ("no folder", None, "no folder (x)"),
    ],
)
def test_a_hint_is_a_sentence_in_an_error_of_any_kind(kind: type, what: str, hint: str | None, line: str) -> None:
    if not issubclass(kind, errors.ColorbenchError) or kind is errors.ModelFailed:
        return
    assert str(kind(what, where="x", hint=hint)) == line
    assert str(errors.ModelFailed("a model", kind(what, where="x", hint=hint))) == line


def test_predictions_need_no_protocol(images: Dataset, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = list(colorbench.predict(Warm, images, preprocessing="squash32", batch_size=2, workers=0))
    assert [one.ids for one in found] == [tuple(s.id for s in images.samples[i : i + 2]) for i in (0, 2, 4)]
    for one in found:
        n = len(one.ids)
        assert one.rgb8.shape == (n, 3, 32, 32) and one.rgb8.dtype == torch.uint8
        assert one.ab.shape == (n, 2, 32, 32) and one.truth.rgb8.shape == one.rgb8.shape
    assert [len(one.ids) for one in colorbench.predict("zoo/gray", folder, limit=3)] == [3]
    assert {tuple(one.rgb8.shape[2:]) for one in colorbench.predict("zoo/gray", images, preprocessing="native")} == {
        (38, 48)
    }


def test_predictions_are_those_that_a_run_scores(images: Dataset, tmp_path: Path) -> None:
    options = {**SMALL, "save": "predictions", "output": tmp_path}
    record = colorbench.run("zoo/cic", "auc", images, **options)
    saved = sorted(tmp_path.rglob("predictions/**/*.png"))
    assert len(saved) == 5 and record.dataset.n == 5
    alone = [one for batch in colorbench.predict("zoo/cic", images, preprocessing="squash32") for one in batch.rgb8]
    for path, prediction in zip(saved, alone, strict=True):
        with Image.open(path) as image:
            apart = np.abs(np.asarray(image).astype(int) - prediction.permute(1, 2, 0).numpy().astype(int))
        assert apart.max() <= 1


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "some"
    write_images(folder, 2)
    (folder / "a" / "broken.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, logger="colorbench"):
        assert [len(one.ids) for one in colorbench.predict("zoo/gray", folder)] == [2]
    assert "a/broken.png" in caplog.text


def test_a_model_is_given_back_as_it_was(images: Dataset) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Dropout())
    network.card = ModelCard(title="a network")
    network.train()
    batches = colorbench.predict(network, images, preprocessing="squash32", batch_size=2)
    next(batches)
    assert not network.training and torch.is_grad_enabled()  # between two batches the caller's own code runs
    batches.close()  # type: ignore[attr-defined]
    assert network.training


def test_one_image_is_colorized_at_its_size(folder: Path) -> None:
    path = sorted(folder.rglob("*.jpg"))[0]
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    forms: list[Any] = [path, str(path), image, np.asarray(image)]
    found = [colorbench.colorize(one, Warm) for one in forms]
    assert all(isinstance(one, Image.Image) and one.size == image.size for one in found)
    assert all(np.array_equal(np.asarray(one), np.asarray(found[0])) for one in found)
    gray = np.asarray(image.convert("L"))
    assert np.asarray(colorbench.colorize(gray, Warm)).shape == (*gray.shape, 3)
    with_alpha = Image.new("LA", (7, 5), (120, 255))
    assert colorbench.colorize(with_alpha, "zoo/gray").getpixel((3, 3)) == (120, 120, 120)


def test_records_are_compared_and_verified(images: Dataset, tmp_path: Path) -> None:
    options = {**SMALL, "output": tmp_path}
    one, other = colorbench.run(["zoo/gray", "zoo/half-chroma"], "auc", images, **options)
    found = colorbench.compare(one, other, output=tmp_path)
    assert isinstance(found, colorbench.Comparison) and [side.model for side in found.sides] == [
        "zoo/gray",
        "zoo/half-chroma",
    ]
    assert colorbench.compare(tmp_path / "zoo/gray", str(tmp_path / "zoo/half-chroma")).tests == found.tests
    checked = colorbench.verify(one, data=images, output=tmp_path)
    assert checked.holds and {check.name: check.outcome for check in checked.checks}["key"] == "holds"
    (stored,) = tmp_path.glob("zoo/gray/auc/*/record.json")
    assert colorbench.read_record(stored) == colorbench.read_record(stored.parent) == one
    stored.write_text(stored.read_text().replace(f'"value": {one.metrics[0].value}', '"value": 1.5', 1))
    assert not colorbench.verify(tmp_path / "zoo/gray").holds


def test_results_are_tables_and_have_a_short_text(images: Dataset, tmp_path: Path) -> None:
    records = colorbench.run([Flat, "zoo/gray"], ["auc", "fidelity"], images, output=tmp_path, **TWO)
    table = records.to_dataframe()
    assert isinstance(records, colorbench.Records)
    assert list(table.columns) == list(colorbench.Record.COLUMNS)
    assert len(table) == sum(len(record.metrics) for record in records)
    wide = table[table.protocol == "auc"].pivot_table(index="model", columns="metric", values="value")
    assert wide.loc["zoo/gray", "auc_raw"] == next(m.value for m in records[2].metrics if m.name == "auc_raw")
    verified = colorbench.verify(records[0], output=tmp_path)
    compared = colorbench.compare(records[0], records[2], output=tmp_path)
    assert len(verified.to_dataframe()) == len(verified.checks)
    assert list(compared.to_dataframe().metric) == [test.metric for test in compared.tests]
    for result in (records, records[0], verified, compared):
        assert "\n" not in repr(result) and len(repr(result)) < 300 and str(result) == repr(result)
        assert "<table" in result._repr_html_() and "<Record" not in result._repr_html_()
        assert "None" not in result._repr_html_() and "nan" not in result._repr_html_().lower()
    few = f"smoke test on {records[0].dataset.n_evaluated} images: scores are not meaningful"
    assert few in repr(records[0]) and few in records[0]._repr_html_() and few in records._repr_html_()
    assert repr(records) == f"<4 records of 2 models under 2 protocols; {few}>"
    assert repr(colorbench.Records(records[:1])) == f"<1 record of 1 model under 1 protocol; {few}>"


def test_rows_of_a_table_are_told_apart_with_the_names_of_board_csv(make_record) -> None:
    from leaderboards.table_export import CSV_COLUMNS

    record = make_record()
    table = record.to_dataframe().set_index("metric")
    model = record.model.model_copy(update={"weights_sha256": "0123456789abcdef" * 4})
    changed = record.model_copy(update={"model": model})
    assert set(changed.to_dataframe().weights) == {"01234567"}
    assert set(CSV_COLUMNS) >= {"effective_n", "minus_gray", "minus_constant"} <= set(table.columns)
    for name, values in table.iterrows():
        assert values.effective_n == record[name].effective_n and values.key == record.key
        for column, minus in (("minus_gray", "zoo/gray"), ("minus_constant", "zoo/constant")):
            found = [one.value for one in record.differences if (one.metric, one.minus) == (name, minus)]
            assert [values[column]] == found if found else np.isnan(values[column])


def test_a_metric_of_a_record_by_name(make_record) -> None:
    record = make_record()
    assert record["auc_raw"] is next(one for one in record.metrics if one.name == "auc_raw")
    with pytest.raises(
        colorbench.errors.UserError, match=r"no metric 'auc_row'. Did you mean auc_raw\? It has auc_raw, "
    ):
        record["auc_row"]
    with pytest.raises(colorbench.errors.UserError, match="no metric 'x'. It has auc_raw, "):
        record["x"]


def test_results_are_found_by_model_protocol_and_dataset(images: Dataset, folder: Path, tmp_path: Path) -> None:
    for data in (images, folder):
        colorbench.run([Flat, "zoo/gray"], ["auc", "fidelity"], data, output=tmp_path, **TWO)
    found = colorbench.compare(Flat, "zoo/gray", protocol="auc", data=images, output=tmp_path)
    assert (found.protocol, found.dataset) == ("auc", images.name)
    assert colorbench.compare(["zoo/gray", Flat()], protocol="auc", data=folder, output=tmp_path).dataset == folder.name
    assert colorbench.verify("zoo/gray", protocol="fidelity", data=folder, output=tmp_path).protocol == "fidelity"
    with pytest.raises(
        colorbench.errors.UserError, match="no record of the dataset elsewhere found.*It has records of"
    ):
        colorbench.compare(Flat, "zoo/gray", protocol="auc", data=tmp_path / "elsewhere", output=tmp_path)
