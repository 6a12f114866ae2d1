"""A GPU gives the numbers of the CPU: each protocol, batch sizes, lack of memory, processes, training, verification.

Skipped where there is no GPU. ``COLORBENCH_TEST_DEVICE=cpu`` runs those that need none of a GPU's own features on the
CPU, to test the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import colorbench
from colorbench.data import Dataset
from colorbench.errors import RunError
from colorbench.evaluation import get_protocol
from colorbench.evaluation.runner import record_folder
from colorbench.models import Classifier, load_classifier, load_model
from tests import known_values
from tests.known_values import CASES, LOOSE, LOOSE_TRAINED
from tests.support.engine import write_images
from tests.support.same_records import assert_same_rows
from tests.support.training import TINY, Silent, make_trainer
from tests.support.training import write_images as write_training_images

DEVICE = os.environ.get("COLORBENCH_TEST_DEVICE", "cuda")
REAL = DEVICE == "cuda"
pytestmark = pytest.mark.skipif(REAL and not torch.cuda.is_available(), reason="there is no GPU")
only_gpu = pytest.mark.skipif(not REAL, reason="needs a GPU's own memory or formats")
RUN = {"baselines": False, "save": "none", "batch_size": 8}
NETWORKS = ("zoo/cic", "zoo/l2", "zoo/lite")
PROTOCOLS = (
    "auc",
    "fidelity",
    "semantic",
    "distribution",
    "linear-probe",
    "hints",
    "diversity",
    "transfer-classification",
)
PROTOCOLS_OF_DROPOUT = ("transfer-segmentation",)
"""Its generator is another one on a GPU, so that a seed gives other numbers there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of ``crops``."""
    return tmp_path_factory.mktemp("crops")


@pytest.fixture(scope="module")
def crops(folder: Path) -> Dataset:
    """Twenty-one crops of 96 pixels."""
    return write_images(folder, 21, side=96)


def rows_of(
    data: Dataset | Path, output: Path, models: Any, protocol: str = "auc", **options: Any
) -> dict[str, pd.DataFrame]:
    """Run models; return the rows of each."""
    records = colorbench.run(list(models), protocol, data, output=output, **{**RUN, **options})
    return {record.model.name: pd.read_parquet(record_folder(output, record) / "rows.parquet") for record in records}


@pytest.mark.parametrize("protocol", [*PROTOCOLS, *PROTOCOLS_OF_DROPOUT])
def test_every_protocol_gives_its_known_values(protocol: str) -> None:
    cases = tuple(case for case in CASES if case.plain == protocol)
    reference = DEVICE if protocol in PROTOCOLS_OF_DROPOUT else "cpu"
    cpu, device = (known_values.computed(cases, device=name) for name in (reference, DEVICE))
    version = str(get_protocol(protocol).spec.version)
    device[protocol][version]["made_with"] = {"device": DEVICE}
    assert list(known_values.differences(cpu, device)) == []
    assert LOOSE.get(protocol, LOOSE_TRAINED) <= LOOSE_TRAINED


@pytest.mark.parametrize("protocol", ["auc", "fidelity"])
def test_rows_of_networks_differ_by_at_most_the_tolerance(protocol: str, crops: Dataset, tmp_path: Path) -> None:
    cpu = rows_of(crops, tmp_path / "cpu", NETWORKS, protocol, device="cpu")
    device = rows_of(crops, tmp_path / "device", NETWORKS, protocol, device=DEVICE)
    for name, expected in cpu.items():
        numbers = expected.select_dtypes("number")
        scale = np.maximum(1.0, numbers.abs().max().to_numpy())
        moved = np.abs(numbers.to_numpy() - device[name][numbers.columns].to_numpy()) / scale
        # A prediction is rounded to 8 bits: where a channel lies between two values, the last digit decides.
        assert np.nanquantile(moved, 0.9) <= 1e-4
        assert np.nanmax(moved) <= 2e-3


def test_the_batch_size_moves_no_score(crops: Dataset, tmp_path: Path) -> None:
    one = rows_of(crops, tmp_path / "one", NETWORKS, device=DEVICE, batch_size=1)
    auto = rows_of(crops, tmp_path / "auto", NETWORKS, device=DEVICE, batch_size="auto")
    for name, expected in one.items():
        for column in expected.select_dtypes("number"):
            np.testing.assert_allclose(auto[name][column], expected[column], rtol=2e-3, atol=2e-3)


@only_gpu
def test_lack_of_gpu_memory_halves_the_batch_and_moves_no_score(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 64, side=256)
    expected = rows_of(images, tmp_path / "small", ["zoo/gray", "zoo/cic"], device=DEVICE, batch_size=4)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 300 * 2**20) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(301 * 2**20, dtype=torch.uint8, device=DEVICE)
        found = rows_of(images, tmp_path / "large", ["zoo/gray", "zoo/cic"], device=DEVICE, batch_size=64)
        auto = rows_of(images, tmp_path / "auto", ["zoo/gray", "zoo/cic"], device=DEVICE, batch_size="auto")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    for name, rows in expected.items():
        for column in rows.select_dtypes("number"):
            np.testing.assert_allclose(found[name][column], rows[column], rtol=2e-3, atol=2e-3)
            np.testing.assert_allclose(auto[name][column], rows[column], rtol=2e-3, atol=2e-3)
    assert free > 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_moves_scores_little(dtype: str, crops: Dataset, tmp_path: Path) -> None:
    whole = rows_of(crops, tmp_path / "whole", ["zoo/cic"], device=DEVICE)["zoo/cic.small"]
    half = rows_of(crops, tmp_path / "half", ["zoo/cic"], device=DEVICE, dtype=dtype)["zoo/cic.small"]
    assert abs(whole["auc_raw"].mean() - half["auc_raw"].mean()) < (2e-3 if whole["auc_raw"].max() <= 1 else 0.2)


def test_a_record_of_a_gpu_holds_on_the_cpu(crops: Dataset, tmp_path: Path) -> None:
    record = colorbench.run("zoo/cic", "auc", crops, output=tmp_path, device=DEVICE, **RUN)
    found = colorbench.verify(record_folder(tmp_path, record), data=crops, rerun=True, device="cpu")
    assert found.holds, found


def test_images_are_colorized_as_on_the_cpu(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8).repeat(4, 0).repeat(4, 1)).save(
        file
    )
    for device in ("cpu", DEVICE):
        _colorbench("colorize", file, "-m", "zoo/cic", "-o", tmp_path / device, "--device", device, cwd=tmp_path)
    cpu, other = (
        np.asarray(Image.open(next((tmp_path / device).rglob("*.png")))).astype(int) for device in ("cpu", DEVICE)
    )
    assert np.abs(cpu - other).max() <= 2


def test_check_passes(tmp_path: Path) -> None:
    done = _colorbench("check", "zoo/cic", "--device", DEVICE, cwd=tmp_path)
    assert "0 failed" in done.stdout or done.returncode == 0


def test_processes_of_a_launch_give_the_rows_of_one(crops: Dataset, folder: Path, tmp_path: Path) -> None:
    expected = rows_of(folder, tmp_path / "one", ["zoo/cic"], device=DEVICE)["zoo/cic.small"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "colorbench"]
    options = ["run", "-m", "zoo/cic", "-p", "auc", "-d", folder, "-o", tmp_path / "two"]
    options += ["--no-baselines", "--save", "none", "-b", "8", "--device", DEVICE]
    _run([*command, *options], tmp_path)
    (file,) = (tmp_path / "two").rglob("rows.parquet")
    assert_same_rows(expected.sort_values("id"), pd.read_parquet(file).sort_values("id"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_training_gives_the_losses_of_the_cpu(dtype: Any, tmp_path: Path) -> None:
    if not REAL and dtype == "float16":
        pytest.skip("training in float16 needs a GPU")
    images = write_training_images(tmp_path / "images")
    losses = []
    for name, device, precision in (("first", "cpu", "float32"), ("second", DEVICE, dtype)):
        listener = Silent()
        trainer = make_trainer(images, tmp_path / name, device=device, dtype=precision)
        state = trainer.run(listener)
        assert all(bool(torch.isfinite(value).all()) for value in state.values())
        losses.append([figures["loss"] for figures in listener.figures])
    tolerance = 2e-3 if dtype == "float32" else 3e-2
    np.testing.assert_allclose(losses[1][:4], losses[0][:4], rtol=tolerance)
    np.testing.assert_allclose(losses[1], losses[0], rtol=10 * tolerance)


def test_a_repeated_and_a_resumed_training_give_the_same_bits(tmp_path: Path) -> None:
    images = write_training_images(tmp_path / "images")
    once, again = (make_trainer(images, tmp_path / name, device=DEVICE).run(Silent()) for name in ("once", "again"))

    class Stop(Silent):
        def advanced(self, step: int, steps: int) -> None:
            if step == 6:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_trainer(images, tmp_path / "resumed", device=DEVICE).run(Stop())
    resumed = make_trainer(images, tmp_path / "resumed", device=DEVICE).run(Silent())
    for other in (again, resumed):
        assert all(torch.equal(once[name], other[name]) for name in once)


@only_gpu
def test_a_training_without_memory_says_what_to_do(tmp_path: Path) -> None:
    images = write_training_images(tmp_path / "images")
    wide = TINY.changed({"width": 1.0, "batch_size": 64})
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 700 * 2**20) / total)
    try:
        with pytest.raises(RunError, match=r"out of memory at step 0 with 64 images of 16 pixels") as caught:
            make_trainer(images, tmp_path / "wide", wide, device=DEVICE).run(Silent())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "--accumulate 2" in str(caught.value.hint)


@only_gpu
def test_a_compiled_training_gives_the_losses_of_an_uncompiled_one(tmp_path: Path) -> None:
    images = write_training_images(tmp_path / "images")
    losses = []
    for compile_ in (False, True):
        listener = Silent()
        make_trainer(images, tmp_path / str(compile_), device=DEVICE, compile=compile_).run(listener)
        losses.append([figures["loss"] for figures in listener.figures])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)


def test_a_classifier_is_right_on_the_device_and_comes_home() -> None:
    model = load_model("zoo/lite")
    shared: Classifier = load_classifier("tf_efficientnet_lite0")
    lightness = torch.rand(1, 1, 64, 64) * 100
    inputs = colorbench.ColorizerInput(lightness, ("a",), (0,))
    expected = model.colorizer.colorize_batch(inputs).ab
    model.colorizer.to(torch.device(DEVICE))
    moved = colorbench.ColorizerInput(lightness.to(DEVICE), ("a",), (0,))
    found = model.colorizer.colorize_batch(moved).ab.cpu()
    model.colorizer.to(torch.device("cpu"))
    assert (found - expected).abs().max() < 0.05
    assert {p.device.type for p in shared.network.parameters()} == {"cpu"}
    torch.testing.assert_close(model.colorizer.colorize_batch(inputs).ab, expected)


def _colorbench(*arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-m", "colorbench", *arguments], cwd)


def _run(command: list[Any], cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done
