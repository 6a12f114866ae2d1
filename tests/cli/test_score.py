"""``colorbench score``: two folders of images to a table, and one line for everything that does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import skimage.metrics
from PIL import Image
from typer.testing import CliRunner, Result

import colorbench
from colorbench.cli import app
from colorbench.errors import UserError

N = 6


def score(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def metrics(done: Result) -> dict[str, float]:
    assert done.exit_code == 0, done.output
    return {metric["name"]: metric["value"] for metric in json.loads(done.stdout)[0]["metrics"]}


def duller(image: Image.Image) -> Image.Image:
    return Image.blend(image, image.convert("L").convert("RGB"), 0.5)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six crops of real images, 64 x 64."""
    folder = tmp_path_factory.mktemp("truth")
    sources = (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())
    for number in range(N):
        corner = 60 * (number // 3) + 40
        crop = sources[number % 3][corner : corner + 128, corner : corner + 128]
        Image.fromarray(crop).resize((64, 64)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def predictions(truth: Path, tmp_path: Path) -> Path:
    """Half the color of each."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for path in truth.iterdir():
        duller(Image.open(path)).save(folder / path.name)
    return folder


SMALL = ("--param", "preprocessing=squash64", "--json")


def test_the_numbers_are_those_of_scikit_image_and_of_run(truth: Path, predictions: Path, tmp_path: Path) -> None:
    found = metrics(score(predictions, truth, "--param", "preprocessing=native", "--json"))
    pairs = [
        [np.asarray(Image.open(folder / path.name)) for folder in (truth, predictions)] for path in truth.iterdir()
    ]
    psnr = np.mean([skimage.metrics.peak_signal_noise_ratio(*pair) for pair in pairs])
    assert found["psnr"] == pytest.approx(psnr, abs=1e-6)
    record = colorbench.run(
        f"images:{predictions}", "fidelity", truth, parameters={"preprocessing": "native"}, output=tmp_path / "runs",
        baselines=False, save="none",
    )  # fmt: skip
    assert found == {metric.name: metric.value for metric in record.metrics}


def test_the_truth_itself_is_perfect_and_nothing_is_left_behind(
    truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = metrics(score(truth, truth, *SMALL))
    assert found["ciede2000"] == 0 and found["ssim"] == pytest.approx(1, abs=1e-6)
    assert list(tmp_path.iterdir()) == []
    text = score(truth, truth, "--param", "preprocessing=squash64").stdout
    assert "ciede2000" in text and "result:" not in text
    assert "6 of 6 predictions are identical to their ground-truth images" in text


def test_results_are_kept_where_a_folder_is_given(truth: Path, predictions: Path, tmp_path: Path) -> None:
    done = score(predictions, truth, "-p", "auc", "-p", "fidelity", "-o", tmp_path / "kept",
                 "--param", "auc.preprocessing=squash64", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [record["protocol"]["name"] for record in json.loads(done.stdout)] == ["auc", "fidelity"]
    assert len(list((tmp_path / "kept").rglob("record.json"))) == 2
    assert len(list((tmp_path / "kept").rglob("rows.parquet"))) == 2


def missing(folder: Path) -> None:
    (folder / "2.png").unlink()


def renamed(folder: Path) -> None:
    (folder / "2.png").rename(folder / "two.png")


def cropped(folder: Path) -> None:
    Image.open(folder / "4.png").crop((0, 0, 64, 40)).save(folder / "4.png")


def doubled(folder: Path) -> None:
    shutil.copy(folder / "1.png", folder / "1.jpg")


def damaged(folder: Path) -> None:
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (missing, "1 of 6 images have no prediction: 2.png"),
        (renamed, "1 of 6 images have no prediction: 2.png"),
        (cropped, "1 of 6 predictions have a different aspect ratio than their image, first 4.png: 64x40"),
        (doubled, "match several predictions"),
        (damaged, "3.png"),
        (emptied, "no images in this folder"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(truth: Path, predictions: Path, change: Any, message: str) -> None:
    change(predictions)
    done = score(predictions, truth, *SMALL)
    assert done.exit_code in (1, 2) and done.stdout == ""
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error")]) == 1


def larger(folder: Path) -> None:
    for path in folder.iterdir():
        Image.open(path).resize((128, 128)).save(path)


def as_jpeg(folder: Path) -> None:
    for path in list(folder.iterdir()):
        Image.open(path).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()


def shuffled(folder: Path) -> None:
    paths = sorted(folder.iterdir())
    images = [Image.open(path).copy() for path in paths]
    for path, image in zip(paths, [*images[1:], images[0]], strict=True):
        image.save(path)


def extra(folder: Path) -> None:
    Image.new("RGB", (64, 64)).save(folder / "zzz.png")
    (folder / "notes.txt").write_text("trained for a week")


@pytest.mark.parametrize(
    ("change", "message", "moved"),
    [
        (larger, "6 of 6 predictions were resized to another size", True),
        (as_jpeg, "6 of 6 predictions are stored lossily (JPEG", True),
        (shuffled, "files are shuffled or shifted by one", True),
        (extra, "predictions without an image in the dataset: 1, the first: zzz.png", False),
    ],
)
def test_what_can_be_scored_is_scored_and_said(
    truth: Path, predictions: Path, change: Any, message: str, moved: bool
) -> None:
    before = metrics(score(predictions, truth, *SMALL))
    change(predictions)
    done = score(predictions, truth, "--param", "preprocessing=squash64")
    assert message in " ".join(done.output.split())
    assert (metrics(score(predictions, truth, *SMALL)) != before) is moved


def test_a_prediction_may_have_another_suffix(truth: Path, predictions: Path) -> None:
    before = metrics(score(predictions, truth, *SMALL))
    for path in list(predictions.iterdir()):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    assert metrics(score(predictions, truth, *SMALL)) == before


def test_a_protocol_that_asks_a_model_is_refused(truth: Path, predictions: Path) -> None:
    done = score(predictions, truth, "-p", "linear-probe")
    assert done.exit_code == 2 and "error" in done.stderr


def test_from_python(truth: Path, predictions: Path) -> None:
    record = colorbench.score(predictions, truth, parameters={"preprocessing": "squash64"})
    assert record.dataset.n_evaluated == N
    both = colorbench.score(str(predictions), truth, ["fidelity"], parameters={"preprocessing": "squash64"})
    assert [one.metrics for one in both] == [record.metrics]
    with pytest.raises(UserError, match="no such folder of images"):
        colorbench.score(predictions / "none", truth)
