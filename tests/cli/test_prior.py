"""``colorbench prior``: counts held against numpy and scikit-image, and a file that the protocols read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.color
from PIL import Image
from typer.testing import CliRunner, Result

from colorbench.cli import app
from colorbench.color import ab_bins, load_prior


def prior(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["prior", *map(str, arguments)])


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A folder with one image, small enough for an oracle that looks at every bin."""
    folder = tmp_path_factory.mktemp("one")
    Image.fromarray(astronaut).save(folder / "astronaut.png")
    return folder


def test_hard_counts_are_shares_of_nearest_bins(one: Path, tmp_path: Path) -> None:
    done = prior("--data", one, "-o", tmp_path / "p.npy", "--hard", "--preprocessing", "squash64")
    assert done.exit_code == 0, done.output
    pixels = np.asarray(Image.open(one / "astronaut.png").resize((64, 64), Image.Resampling.BICUBIC))
    ab = skimage.color.rgb2lab(pixels)[..., 1:].reshape(-1, 1, 2)
    nearest = np.argmin(((ab - ab_bins().double().numpy()) ** 2).sum(-1), axis=1)
    expected = np.bincount(nearest, minlength=313) / 64**2
    counted = load_prior(tmp_path / "p.npy")
    # A pixel half way between two bins may fall to either.
    assert np.abs(counted.probabilities - expected).max() <= 2 / 64**2
    assert (counted.kind, counted.images) == ("hard", 1)


def test_soft_is_the_default_and_smoother_than_hard(one: Path, tmp_path: Path) -> None:
    for name, flags in (("soft", ()), ("hard", ("--hard",)), ("smoothed", ("--hard", "--smooth"))):
        assert prior("--data", one, "-o", tmp_path / f"{name}.npy", *flags).exit_code == 0
    soft, hard, smoothed = (load_prior(tmp_path / f"{name}.npy") for name in ("soft", "hard", "smoothed"))
    assert [p.kind for p in (soft, hard, smoothed)] == ["soft", "hard", "smoothed"]
    assert soft.entropy > hard.entropy
    # Smoothing hard counts and counting softly are two ways to nearly the same prior.
    distance = np.abs(soft.probabilities - smoothed.probabilities).sum()
    assert distance < 0.5 * np.abs(soft.probabilities - hard.probabilities).sum()


def test_smoothing_twice_is_refused(one: Path, tmp_path: Path) -> None:
    done = prior("--data", one, "-o", tmp_path / "p.npy", "--smooth")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Add --hard" in done.stderr
    assert not (tmp_path / "p.npy").exists()


def test_a_file_that_is_there_is_kept(one: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.npy"
    path.write_text("candidate")
    assert prior("--data", one, "-o", path).exit_code == 2
    assert path.read_text() == "candidate"
    assert prior("--data", one, "-o", path, "--overwrite").exit_code == 0
    assert load_prior(path).images == 1


def test_the_commonest_bins_are_shown(one: Path, tmp_path: Path) -> None:
    text = prior("--data", one, "-o", tmp_path / "p.npy").stdout
    counted = load_prior(tmp_path / "p.npy").probabilities
    best = int(counted.argmax())
    a, b = ab_bins()[best].int().tolist()
    first = text.splitlines()[2]
    assert first.split() == [f"({a},", f"{b})", f"{100 * counted[best]:.2f}", "%"]


def test_json_is_alone_on_standard_output(one: Path, tmp_path: Path) -> None:
    done = prior("--data", one, "-o", tmp_path / "p.npy", "--json")
    assert json.loads(done.stdout)["sha256"] == load_prior(tmp_path / "p.npy").sha256
    assert "entropy" in done.stderr


def test_damaged_images_are_counted_as_left_out(one: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    (folder / "good.png").write_bytes((one / "astronaut.png").read_bytes())
    (folder / "bad.jpg").write_bytes(b"no image")
    done = prior("--data", folder, "-o", tmp_path / "p.npy")
    assert "left out 1, the first being bad.jpg" in done.stdout
    (folder / "good.png").unlink()
    done = prior("--data", folder, "-o", tmp_path / "q.npy")
    assert done.exit_code == 2
    assert "none of the images could be read (the first: bad.jpg" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "nowhere", "-o", "p.npy"], "nowhere"),
        (["--data", "samples", "-o", "p.txt"], "write --output p.npy"),
        (["--data", "samples", "-o", "p.npy", "--preprocessing", "round"], "unknown preprocessing 'round'"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = prior(*flags)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message.lower() in done.stderr.lower()
    assert done.stderr.count("\n") == 1
