"""``colorbench colorize`` for photographs of all kinds: colors along edges, tones, metadata, batches that go on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.color
import skimage.data
import torch
from PIL import ExifTags, Image, ImageCms
from torch.nn.functional import interpolate
from typer.testing import CliRunner, Result

from colorbench.cli import app
from colorbench.data.image_tint import tint_of
from colorbench.evaluation import full_size_colorization
from colorbench.evaluation.full_size_colorization import bilinear_rows, colorize_image
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard
from tests.support.engine import loaded

MODELS = """
import torch
from colorbench.models import ModelCard

class Halves:
    card = ModelCard(title="green left of the middle, red right of it", working_size=32)
    def colorize(self, lightness):
        a = torch.full((len(lightness), 1, 32, 32), -30.0)
        a[..., 16:] = 30
        return torch.cat([a, torch.zeros_like(a)], dim=1)
"""


@pytest.fixture
def halves(tmp_path: Path) -> str:
    (tmp_path / "models.py").write_text(MODELS)
    return f"{tmp_path / 'models.py'}:Halves"


def colorize(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["colorize", *map(str, arguments)])


def lab_of(path: Path) -> np.ndarray:
    return skimage.color.rgb2lab(np.asarray(Image.open(path).convert("RGB")))


def two_grays(width: int, height: int, edge: int) -> Image.Image:
    """Dark left of an edge, light right of it."""
    values = np.full((height, width), 90, np.uint8)
    values[:, edge:] = 170
    return Image.fromarray(values)


@pytest.mark.parametrize(("width", "edge"), [(640, 330), (900, 440)])
def test_colors_end_where_the_lightness_does(halves: str, tmp_path: Path, width: int, edge: int) -> None:
    """The model's own edge is at the middle, a little beside that of the image, and as wide as one of its pixels."""
    two_grays(width, 400, edge).save(tmp_path / "a.png")
    wrong = {}
    for way in ("bilinear", "bilateral"):
        assert colorize(tmp_path / "a.png", "-m", halves, "-o", tmp_path / way, "--upsample", way).exit_code == 0
        a = lab_of(tmp_path / way / "a.png")[..., 1]
        near = slice(edge - width // 20, edge + width // 20)
        wanted = np.where(np.arange(width) < edge, -30, 30)[near]
        wrong[way] = np.abs(a[:, near] - wanted).mean()
    assert wrong["bilateral"] < wrong["bilinear"] / 2
    assert wrong["bilateral"] < 6


def test_texture_does_not_become_color(tmp_path: Path) -> None:
    """Grain of 3 in L under a smooth ramp of colors: the colors stay smooth."""
    rng = np.random.default_rng(0)
    gray = np.clip(128 + rng.normal(0, 7, (300, 400)), 0, 255).astype(np.uint8)
    a = torch.linspace(-30, 30, 32).expand(1, 1, 32, 32)
    model = loaded(_Fixed(torch.cat([a, torch.zeros_like(a)], dim=1)))
    colored = colorize_image(model, np.stack([gray] * 3, axis=-1), id="x")
    found = skimage.color.rgb2lab(colored)[..., 1]
    steps = np.abs(np.diff(found[20:-20, 20:-20], axis=1))
    assert steps.mean() < 1.0


class _Fixed:
    """Gives the same ab to every image."""

    def __init__(self, ab: torch.Tensor) -> None:
        self.ab, self.card = ab, ModelCard(title="fixed", working_size=ab.shape[-1])

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        return ColorPrediction(ab=self.ab.expand(len(inputs.lightness), -1, -1, -1))


def test_a_large_image_is_made_in_bands_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = skimage.data.astronaut()[:300, :211]
    generator = torch.Generator().manual_seed(0)
    model = loaded(_Fixed(torch.randn(1, 2, 16, 16, generator=generator) * 20))
    whole = colorize_image(model, rgb, id="x")
    monkeypatch.setattr(full_size_colorization, "BAND_PIXELS", 3000)
    in_bands = colorize_image(model, rgb, id="x")
    assert np.abs(whole.astype(int) - in_bands).max() <= 1
    assert (whole == in_bands).mean() > 0.999


@pytest.mark.parametrize("size", [(37, 53), (8, 9), (5, 100)])
def test_rows_are_those_of_torchs_bilinear_interpolation(size: tuple[int, int]) -> None:
    maps = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(1))
    wanted = interpolate(maps[None], size, mode="bilinear", align_corners=False)
    for band in (slice(0, size[0]), slice(size[0] // 3, size[0] // 2 + 1)):
        assert (bilinear_rows(maps, size, band) - wanted[0, :, band]).abs().max() < 1e-5


def sepia(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray * 0.95 + 12, gray * 0.85 + 4, gray * 0.65], axis=-1)


def cyanotype(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray * 0.9, 30 + gray * 0.85, 80 + gray * 0.65], axis=-1)


def split_toned(gray: np.ndarray) -> np.ndarray:
    warm, cold = np.array([14, 6, -10]), np.array([-10, 0, 16])
    share = (gray / 255)[..., None]
    return gray[..., None] + share * warm + (1 - share) * cold


def faded(gray: np.ndarray) -> np.ndarray:
    return np.stack([70 + gray * 0.65, 62 + gray * 0.62, 45 + gray * 0.55], axis=-1)


TONES = (sepia, cyanotype, split_toned, faded)


def jpeg(rgb: np.ndarray, quality: int = 85) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def gray_of(name: str) -> np.ndarray:
    return np.asarray(Image.fromarray(getattr(skimage.data, name)()).convert("L")).astype(float)


@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
def test_tones_of_scans_are_known(tone, name: str) -> None:
    assert tint_of(jpeg(tone(gray_of(name)))) == "toned"


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
def test_gray_scans_have_no_tone(name: str) -> None:
    assert tint_of(jpeg(np.stack([gray_of(name)] * 3, axis=-1), 60)) == "none"


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_photographs_in_color_are_not_toned(name: str) -> None:
    assert tint_of(getattr(skimage.data, name)()) == "colored"


def test_a_stamp_does_not_make_a_toned_scan_colored() -> None:
    rgb = jpeg(sepia(gray_of("camera"))).copy()
    rgb[20:120, 20:120] = (180, 20, 30)
    assert tint_of(rgb) == "toned"


def test_a_tone_is_removed_and_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    gray = gray_of("camera")[:200, :200]
    for tone in (sepia, cyanotype):
        Image.fromarray(jpeg(tone(gray))).save(tmp_path / "in" / f"{tone.__name__}.png")
    Image.fromarray(skimage.data.coffee()[:200, :200]).save(tmp_path / "in" / "color.png")
    done = colorize(tmp_path / "in", "-m", "zoo/gray", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    told = [line for line in done.stderr.splitlines() if "was removed" in line]
    assert len(told) == 1
    assert "cyanotype.png and 1 more" in told[0]
    assert [line for line in done.stderr.splitlines() if "only its lightness" in line and "color.png" in line]
    for name in ("sepia", "cyanotype"):
        before, after = (lab_of(tmp_path / folder / f"{name}.png") for folder in ("in", "out"))
        assert np.abs(after[..., 1:]).max() < 1  # the tone is gone
        assert np.abs(after[..., 0] - before[..., 0]).mean() < 0.5  # the lightness is that of the scan


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.ImageDescription] = "Harbour, 1911"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "1911:05:02 00:00:00"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 65535
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


@pytest.mark.parametrize(("suffix", "orientation"), [("jpg", 6), ("png", 3), ("tif", 1), ("webp", 8)])
def test_exif_and_resolution_are_kept(tmp_path: Path, suffix: str, orientation: int) -> None:
    source = tmp_path / f"a.{suffix}"
    Image.fromarray(skimage.data.astronaut()[:90, :60]).save(source, exif=exif_of(orientation), dpi=(600, 600))
    done = colorize(source, "-m", "zoo/gray", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    result = Image.open(tmp_path / "out" / "a.png")
    assert result.size == ((90, 60) if orientation in (6, 8) else (60, 90))
    kept = result.getexif()
    assert kept.get(ExifTags.Base.Orientation, 1) == 1
    assert kept[ExifTags.Base.ImageDescription] == "Harbour, 1911"
    if suffix != "webp":  # which has no resolution
        assert result.info["dpi"] == pytest.approx((600, 600), abs=0.1)
    assert not set(kept) & {256, 257, 258, 259, 273, 279}  # of the file, not of the picture
    if suffix == "tif":  # for which Pillow writes no further tables
        return
    details = kept.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "1911:05:02 00:00:00"
    assert details[ExifTags.Base.ColorSpace] == 1
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


def test_another_color_space_becomes_srgb(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    source = tmp_path / "a.png"
    Image.fromarray(skimage.data.astronaut()[:40, :40]).save(source, icc_profile=profile.tobytes())
    assert colorize(source, "-m", "zoo/gray", "-o", tmp_path / "out").exit_code == 0
    data = (tmp_path / "out" / "a.png").read_bytes()
    assert b"sRGB" in data[:200]
    assert "icc_profile" not in Image.open(tmp_path / "out" / "a.png").info


def test_broken_metadata_loses_no_image(tmp_path: Path) -> None:
    source = tmp_path / "a.jpg"
    Image.fromarray(skimage.data.astronaut()[:40, :40]).save(source, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert colorize(source, "-m", "zoo/gray", "-o", tmp_path / "out").exit_code == 0
    assert Image.open(tmp_path / "out" / "a.png").size == (40, 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "deep/c")):
        Image.fromarray(skimage.data.astronaut()[number : 50 + number, :40]).save(tmp_path / "in" / f"{name}.png")
    return tmp_path / "in"


def test_the_same_command_makes_what_is_missing(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert colorize(folder, "-m", "zoo/constant", "-o", output).exit_code == 0
    (output / "deep" / "c.png").unlink()
    before = {name: (output / name).stat().st_mtime_ns for name in ("a.png", "b.png")}
    done = colorize(folder, "-m", "zoo/constant", "-o", output)
    assert done.exit_code == 0, done.output
    assert "colorized 1 of 3 with zoo/constant; 2 were there already" in done.stdout
    assert (output / "deep" / "c.png").is_file()
    assert before == {name: (output / name).stat().st_mtime_ns for name in before}


@pytest.mark.parametrize(
    "other",
    [
        ("-m", "zoo/gray"),
        ("-m", "zoo/constant", "--upsample", "bilinear"),
        ("-m", "zoo/constant", "--seed", "1"),
        ("-m", "zoo/constant", "--side-by-side"),
    ],
)
def test_results_of_other_settings_are_not_taken_for_finished(
    folder: Path, tmp_path: Path, other: tuple[str, ...]
) -> None:
    output = tmp_path / "out"
    assert colorize(folder, "-m", "zoo/constant", "-o", output).exit_code == 0
    before = (output / "a.png").read_bytes()
    done = colorize(folder, *other, "-o", output)
    assert done.exit_code == 2
    assert "already exist, from other settings or images: 3" in done.stderr
    assert (output / "a.png").read_bytes() == before
    assert colorize(folder, *other, "-o", output, "--overwrite").exit_code == 0
    assert (output / "a.png").read_bytes() != before


def test_another_image_under_the_same_name_is_not_taken_for_finished(folder: Path, tmp_path: Path) -> None:
    assert colorize(folder, "-m", "zoo/gray", "-o", tmp_path / "out").exit_code == 0
    Image.new("RGB", (40, 50), "white").save(folder / "a.png")
    assert colorize(folder, "-m", "zoo/gray", "-o", tmp_path / "out").exit_code == 2


def test_side_by_side(tmp_path: Path) -> None:
    rgb = skimage.data.astronaut()[:60, :100]
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert colorize(tmp_path / "a.png", "-m", "zoo/gray", "-o", tmp_path / "out", "--side-by-side").exit_code == 0
    both = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert both.shape == (60, 202, 3)
    assert np.array_equal(both[:, :100], rgb)
    assert np.abs(skimage.color.rgb2lab(both[:, 102:])[..., 1:]).max() < 1


def test_an_unknown_way_to_enlarge_is_refused(folder: Path, tmp_path: Path) -> None:
    done = colorize(folder, "-m", "zoo/gray", "-o", tmp_path / "out", "--upsample", "cubic")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "choose bilateral or bilinear" in done.stderr.lower()
