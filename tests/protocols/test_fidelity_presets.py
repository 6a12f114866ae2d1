"""Presets of published evaluations: what they fix is identity, what they lack is said, and what they need beyond."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from skimage.data import coffee
from torch import Tensor

import colorbench
from colorbench.data import Dataset, get_preprocessing
from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, Prediction, name_with_preset
from protocols.fidelity import METRICS, FidelityProtocol, FidelityScorer
from protocols.fidelity.fidelity_presets import PRESETS
from protocols.fidelity.patch_errors import boundary_error, patch_error_variance
from tests.support.preset_pairs import write_pairs
from tests.support.records import ended

SPEC = FidelityProtocol.spec
NOTHING = Dataset("nothing", ())


def scorer(**parameters: object) -> FidelityScorer:
    return FidelityProtocol().resolve(parameters, NOTHING)


def images(side: int = 48) -> Tensor:
    """(2, 3, side, side) uint8."""
    rgb = np.stack([coffee()[y : y + side, 100 : 100 + side] for y in (60, 140)])
    return torch.from_numpy(rgb).movedim(-1, 1).contiguous()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_whole(name: str) -> None:
    """It resolves offline, names its source by commit, and tells each published figure with its place."""
    source = PRESETS[name].source
    found = scorer(**PRESETS[name].parameters)
    get_preprocessing(found.preprocessing)
    assert SPEC.preset_of(found.parameters) == f"fidelity@{name}"
    assert re.search(r"[\w-]+/[\w-]+ at [0-9a-f]{7}, \S+\.", source.source)
    known = {metric.name for metric in found.metrics} | {f"lpips_{source.add.get('lpips')}"}
    assert set(source.metrics) <= known
    assert all("(" in figure for figure in source.published)
    assert source.add.keys() <= SPEC.parameters.keys()


def test_no_two_presets_share_a_column_and_none_is_the_default() -> None:
    identities = [str(scorer(**preset.parameters).identity) for preset in PRESETS.values()]
    assert len({*identities, str(scorer().identity)}) == len(PRESETS) + 1


def test_the_default_has_the_identity_of_earlier_records() -> None:
    assert not {"truth", "patch"} & scorer().identity.keys()
    assert scorer(truth="converted").identity["truth"] == "converted"
    assert scorer(patch="16").identity["patch"] == "16"


def test_a_preset_is_known_by_its_parameters() -> None:
    chosen = SPEC.resolved(SPEC.preset("ct2"))
    assert SPEC.preset_of(SPEC.resolved({})) is None
    assert SPEC.preset_of({**chosen, "lpips": "vgg"}) == "fidelity@ct2"  # what it asks to add
    assert SPEC.preset_of({**chosen, "lpips": "vgg:weights.pth"}) is None  # which may hold anything
    assert SPEC.preset_of({**chosen, "lpips": "alex"}) is None
    assert SPEC.preset_of({**chosen, "border": "4"}) is None
    assert SPEC.preset_of({**chosen, "more": "1"}) is None
    assert name_with_preset("fidelity", SPEC.version, chosen) == "fidelity@ct2"
    assert name_with_preset("fidelity", SPEC.version - 1, chosen) == "fidelity"
    assert name_with_preset("of-nobody", 1, {}) == "of-nobody"


def test_a_preset_shows_its_source_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    complete, open_ = (
        json.loads(ended(capsys, ["show", f"fidelity@{name}", "--json"]).stdout) for name in ("ct2", "ddcolor")
    )
    assert complete["complete"] == "yes" and "missing" not in complete
    assert open_["complete"].startswith("no") and open_["missing"]
    assert complete["add"] == ["--param fidelity.lpips=vgg"]
    assert any("38.48" in figure for figure in complete["published, not measured"])
    assert complete["sets"]["ssim_range"] == 225


@pytest.mark.parametrize(
    ("parameters", "metric", "title"),
    [
        ({"psnr_infinite": "drop", "border": "4"}, "psnr", "PSNR (without exact matches, border 4)"),
        ({"psnr_infinite": "cap50"}, "psnr", "PSNR (at most 50 dB)"),
        ({"psnr": "pooled", "truth": "converted"}, "psnr", "PSNR, pooled (converted truth)"),
        ({"ssim": "uniform7", "ssim_range": "225.0"}, "ssim", "SSIM (uniform7, range 225)"),
        ({"cf_minimum": "1"}, "delta_cf_abs_of_means", "ΔCF abs of means (above 1)"),
        ({"patch": "16"}, "patch_error_variance", "Patch error variance (patches of 16)"),
        ({"truth": "converted"}, "ciede2000", "Color difference (converted truth)"),
    ],
)
def test_variants_are_named(parameters: dict[str, str], metric: str, title: str) -> None:
    titles = {one.name: one.title for one in scorer(**parameters).metrics}
    assert titles[metric] == title


def test_the_default_metrics_are_those_of_the_spec() -> None:
    assert [one.title for one in scorer().metrics] == [one.title for one in METRICS]


def test_stored_predictions_are_taken_as_they_are_where_floats_are_truncated() -> None:
    truth = GroundTruth(("a", "b"), images())
    stored = Prediction(truth, rgb8=truth.rgb8 // 2)
    for name, column in scorer().score(stored).columns.items():
        np.testing.assert_array_equal(scorer(rounding="truncate-floats").score(stored).columns[name], column)
    with pytest.raises(UserError, match="truncate-floats"):
        scorer(rounding="truncate").score(stored)
    floats = Prediction(truth, ab=truth.ab / 2)
    one, other = (scorer(rounding=r).score(floats).columns["psnr"] for r in ("truncate", "truncate-floats"))
    np.testing.assert_array_equal(one, other)


def test_the_converted_truth_is_scikit_images() -> None:
    """Its own conversion is a perfect prediction of it, and a distance of half a step from the original."""
    rgb8 = images()
    lab = rgb2lab(rgb8.movedim(1, -1).numpy()).astype(np.float32)
    there_and_back = torch.from_numpy((255 * lab2rgb(lab).clip(0, 1)).astype(np.uint8)).movedim(-1, 1).contiguous()
    truth = GroundTruth(("a", "b"), rgb8)
    columns = scorer(truth="converted").score(Prediction(truth, rgb8=there_and_back)).columns
    assert columns["mse"].tolist() == [0, 0]
    assert columns["delta_cf_abs_per_image"].tolist() == [0, 0]
    assert (scorer().score(Prediction(truth, rgb8=there_and_back)).columns["mse"] > 0.1).all()


def test_errors_at_the_boundaries_of_patches() -> None:
    """By hand: one line beside a boundary is wrong by 1 in one channel; then one whole patch is in all three."""
    rgb8 = images(32)
    line = rgb8.clone()
    line[:, 0, 7] ^= 1
    boundary = 2 * 3 * 32 * 2 - (2 * 3) ** 2  # two lines at each of 3 boundaries, both ways; crossings once
    assert boundary_error(line, rgb8, 8).tolist() == pytest.approx([32 / 3 / boundary] * 2)
    # Patches of 16 have no boundary there; it crosses the two columns of one.
    assert boundary_error(line, rgb8, 16).tolist() == pytest.approx([2 / 3 / (2 * 32 * 2 - 4)] * 2)
    patch = rgb8.clone()
    patch[:, :, :8, 8:16] ^= 1
    assert patch_error_variance(patch, rgb8, 8).tolist() == pytest.approx([np.var([1, *[0] * 15], ddof=1)] * 2)
    assert patch_error_variance(rgb8, rgb8, 8).tolist() == [0, 0]


@pytest.mark.parametrize("patch", [5, 32, 64])
def test_images_that_are_no_whole_number_of_patches_have_no_value(patch: int) -> None:
    truth = GroundTruth(("a", "b"), images(32))
    columns = scorer(patch=patch).score(Prediction(truth, ab=truth.ab / 2)).columns
    assert np.isnan(columns["psnr_boundary"]).all() and np.isnan(columns["patch_error_variance"]).all()


@pytest.mark.parametrize("patch", ["-1", "1.5", "x"])
def test_patches_have_a_whole_side(patch: str) -> None:
    with pytest.raises(UserError, match=r"fidelity.patch cannot be .*Give an integer"):
        scorer(patch=patch)


def test_a_model_is_run_by_a_preset_and_its_record_says_so(tmp_path: Path) -> None:
    folder, _ = write_pairs(tmp_path)
    given = {"preprocessing": "cropsquare32-bilinear-aa"}
    small = {**SPEC.preset("ct2"), **given}
    record = colorbench.run(
        "zoo/half-chroma", "fidelity@ct2", folder, parameters=given, output=tmp_path / "runs", limit=3
    )
    assert record.protocol.parameters == SPEC.resolved(small)
    assert {one.name: one.title for one in record.metrics}["ssim"] == "SSIM (uniform7, range 225)"
