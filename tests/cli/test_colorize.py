"""``colorbench colorize``: the image's own lightness at full size, the model's colors, and no file lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.color
from PIL import Image
from typer.testing import CliRunner, Result

import colorbench
from colorbench.cli import app
from colorbench.errors import UserError
from colorbench.plugin_descriptions import listed

LEGACY = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "legacy"

MODELS = """
import torch
from colorbench.models.model_card import ModelCard

class Warm:
    card = ModelCard(title="one color everywhere")
    def colorize(self, lightness):
        assert lightness.shape[-2:] == (256, 256)
        return torch.tensor([10.0, 20.0]).view(1, 2, 1, 1).expand(len(lightness), 2, 256, 256)

class Ramp:
    card = ModelCard(title="from green to red", working_size=64)
    def colorize(self, lightness):
        assert lightness.shape[-2:] == (64, 64)
        a = torch.linspace(-31.5, 31.5, 64).expand(1, 1, 64, 64)
        return torch.cat([a, torch.zeros_like(a)], dim=1)

class NaN:
    card = ModelCard(title="nothing")
    def colorize(self, lightness):
        return torch.full((len(lightness), 2, 256, 256), float("nan"))
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return path


def colorize(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["colorize", *map(str, arguments)])


def lab_of(path: Path) -> np.ndarray:
    return skimage.color.rgb2lab(np.asarray(Image.open(path)))


def test_own_lightness_at_full_size_under_the_models_colors(
    models: Path, tmp_path: Path, astronaut: np.ndarray
) -> None:
    source, output = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(astronaut[:, :300]).save(source)
    done = colorize(source, "-m", f"{models}:Warm", "-o", output)
    assert done.exit_code == 0, done.output
    lightness = skimage.color.rgb2lab(astronaut[:, :300])[..., :1]
    warm = np.concatenate([lightness, np.full_like(lightness, 10), np.full_like(lightness, 20)], axis=-1)
    expected = np.round(255 * skimage.color.lab2rgb(warm))
    answered = np.asarray(Image.open(output / "a.png")).astype(int)
    assert answered.shape == (512, 300, 3)
    assert np.abs(answered - expected).max() <= 1


def test_colors_are_stretched_bilinearly_from_the_models_working_size(models: Path, tmp_path: Path) -> None:
    """On mid gray, where every color of the ramp is in gamut, ab must be the ramp at the pixels' centers."""
    source, output = tmp_path / "gray.png", tmp_path / "out"
    Image.new("RGB", (640, 200), (119, 119, 119)).save(source)
    assert colorize(source, "-m", f"{models}:Ramp", "-o", output, "--upsample", "bilinear").exit_code == 0
    a = lab_of(output / "gray.png")[..., 1]
    centers = (np.arange(640) + 0.5) / 10 - 0.5
    expected = np.interp(centers, np.arange(64), np.linspace(-31.5, 31.5, 64))
    # 8 bits round ab by less than 1.
    assert np.abs(a - expected).max() < 1


def test_turned_images_come_out_upright(tmp_path: Path, astronaut: np.ndarray) -> None:
    """Orientation 6: the camera was turned, the file is to be turned clockwise by 90 degrees."""
    source = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut[:, :300]).save(source, exif=exif, quality=95)
    assert colorize(source, "-m", "zoo/gray", "-o", tmp_path / "out").exit_code == 0
    answered = lab_of(tmp_path / "out" / "turned.png")[..., 0]
    upright = skimage.color.rgb2lab(np.rot90(astronaut[:, :300], -1))[..., 0]
    assert answered.shape == (300, 512)
    assert np.abs(answered - upright).mean() < 1.5  # JPEG


REFERENCES = [row["name"] for row in listed("models") if row["role"] == "reference"]


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_is_refused_since_it_copies_the_ground_truth(name: str, images: Path, tmp_path: Path) -> None:
    line = f"{name} takes its colors from the ground truth, which an image to colorize does not have"
    done = colorize(images, "-m", name, "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {line}. Choose a model that predicts colors, such as zoo/cic\n"
    with pytest.raises(UserError, match=line):
        colorbench.colorize(images / "coffee.jpg", name)


def test_folders_keep_their_shape(images: Path, tmp_path: Path) -> None:
    done = colorize(images, "-m", "zoo/gray", "-o", tmp_path / "out")
    assert "colorized 3 of 3 with zoo/gray" in done.stdout
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"astronaut.png", "coffee.png", "animals/chelsea.png"}


def test_images_that_are_there_are_kept(images: Path, tmp_path: Path) -> None:
    kept = tmp_path / "astronaut.png"
    kept.write_text("candidate")
    done = colorize(images / "coffee.jpg", images / "astronaut.png", "-m", "zoo/gray", "-o", tmp_path)
    assert (done.exit_code, kept.read_text()) == (2, "candidate")
    assert done.stderr == (
        f"error: images that already exist, from other settings or images: 1 ({kept}). "
        "Give another --output, or --overwrite to replace them\n"
    )
    assert not (tmp_path / "coffee.png").exists()
    assert colorize(images / "astronaut.png", "-m", "zoo/gray", "-o", tmp_path, "--overwrite").exit_code == 0
    assert Image.open(kept).size == (96, 64)


def test_a_image_is_never_replaced_by_its_result(tmp_path: Path, astronaut: np.ndarray) -> None:
    source = tmp_path / "a.png"
    Image.fromarray(astronaut).save(source)
    done = colorize(source, "-m", "zoo/gray", "-o", tmp_path, "--overwrite")
    assert done.exit_code == 2
    assert "would be overwritten by its result" in done.stderr
    assert np.array_equal(np.asarray(Image.open(source)), astronaut)


def test_two_images_of_one_name_are_refused(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "coffee.webp"
    Image.new("RGB", (8, 8)).save(other)
    done = colorize(images / "coffee.jpg", other, "-m", "zoo/gray", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "would both become" in done.stderr


def test_a_second_run_does_not_take_its_results_for_images(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "coffee.jpg").write_bytes((images / "coffee.jpg").read_bytes())
    for _ in range(2):
        done = colorize(folder, "-m", "zoo/gray", "-o", folder / "colored", "--overwrite")
        assert "colorized 1 of 1" in done.stdout


def test_a_damaged_file_is_left_out_and_the_others_are_done(images: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes((images / "coffee.jpg").read_bytes()[:500])
    done = colorize(damaged, images / "astronaut.png", "-m", "zoo/gray", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "colorized 1 of 2" in done.stdout
    assert done.stderr.splitlines()[-1].startswith(f"error: unreadable images: 1 ({damaged}: ")
    assert (tmp_path / "out" / "astronaut.png").exists()


def test_an_prediction_that_is_no_color_is_an_error(models: Path, images: Path, tmp_path: Path) -> None:
    done = colorize(images / "astronaut.png", "-m", f"{models}:NaN", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "NaN" in done.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("missing", "message"), [("nowhere.jpg", "no such image"), ("", "no images in this")])
def test_images_that_are_not_there(tmp_path: Path, missing: str, message: str) -> None:
    (tmp_path / "in").mkdir()
    done = colorize(tmp_path / "in" / missing, "-m", "zoo/gray", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not LEGACY.is_dir(), reason="needs the black-and-white images beside the repository")
def test_real_black_and_white_images(tmp_path: Path) -> None:
    done = colorize(LEGACY, "-m", "zoo/cic.untrained", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    sources = sorted(path for path in LEGACY.iterdir() if path.suffix == ".jpg")
    assert len(sources) == 12
    for source in sources:
        assert Image.open(tmp_path / f"{source.stem}.png").size == Image.open(source).size
