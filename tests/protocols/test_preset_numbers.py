"""Presets of ``fidelity`` against what their public scripts print on twenty fixed pairs (``preset_numbers.json``)."""

import json
from pathlib import Path

import pytest

import colorbench
from protocols.fidelity.fidelity_presets import PRESETS
from tests.support.preset_pairs import N, write_pairs

STORED = json.loads((Path(__file__).parent / "preset_numbers.json").read_text())
PRINTED = 1e-5
"""The scripts print all digits; those of UniColor and iColoriT compute in float32."""
BY_OPENCV = {"colorformer": 2e-3, "ddcolor": 1e-4}
"""OpenCV resizes 8-bit images with weights of 11 bits: 1 in 9 values is one step off. Of floats, 1 in 50,000 is."""
TRUNCATED = {"ct2-converted": 1e-3}
"""Relative: colors that were sent through Lab in float32 are truncated, so that a CPU's last digit decides a step. With
AVX2 PSNR is 27.933, with AVX-512 27.924."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Folders of images and predictions, by what the predictions are."""
    root = tmp_path_factory.mktemp("pairs")
    return {
        "own sizes": write_pairs(root / "own"),
        "central squares of 256": write_pairs(root / "square", "central"),
        "squashed": write_pairs(root / "squashed", "squashed"),
    }


@pytest.mark.parametrize("preset", STORED["presets"])
def test_the_numbers_are_those_of_the_public_script(preset: str, pairs: dict[str, tuple[Path, Path]]) -> None:
    stored = STORED["presets"][preset]
    images, predictions = pairs[next(kind for kind in pairs if stored["pairs"].startswith(kind))]
    record = colorbench.score(predictions, images, f"fidelity@{preset}")
    assert record.dataset.n_evaluated == N
    found = {metric.name: metric.value for metric in record.metrics}
    for metric, number in stored["numbers"].items():
        assert found[metric] == pytest.approx(
            number, abs=BY_OPENCV.get(preset, PRINTED), rel=TRUNCATED.get(preset, 0)
        ), metric


def test_every_metric_that_a_source_computes_is_held_to_it() -> None:
    """Those that need weights are tested beside LPIPS."""
    for name, preset in PRESETS.items():
        held = {metric for metric in preset.source.metrics if not metric.startswith("lpips")}
        if name == "bigcolor":
            continue  # its repository has no code for its metrics
        assert held == STORED["presets"][name]["numbers"].keys(), name
