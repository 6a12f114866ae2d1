"""The diversity protocol: its scores against loops, who wins, and how the engine asks for samples."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import GroundTruth, RunConfig, image_pass, run
from colorbench.evaluation.predict import colorize
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard, load_model
from colorbench.results import read_rows
from colorbench.testing import fake_model
from protocols.diversity import DiversityProtocol, DiversityScorer
from tests.metrics.test_energy import slow_energy
from tests.support.engine import Flat, Noise, TruthTeller, loaded, write_images

NOTHING = Dataset("nothing", ())


def scorer(**parameters: str) -> DiversityScorer:
    return DiversityProtocol().resolve(parameters, NOTHING)


def truth_of(n: int = 3, size: tuple[int, int] = (32, 48)) -> GroundTruth:
    """Smooth random colors."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * 255
    rgb8 = torch.nn.functional.interpolate(coarse, size, mode="bilinear").to(torch.uint8)
    return GroundTruth(tuple(f"{i}.png" for i in range(n)), rgb8, sha256s=tuple(f"hash {i}" for i in range(n)))


class Around:
    """A reference that draws around the truth: its own error, plus noise that is coherent or not."""

    card = ModelCard(title="drawn around the truth", role="reference", stochastic=True)

    def __init__(self, sigma: float, *, error: float = 15.0, coherent: bool = True) -> None:
        self.sigma, self.error, self.coherent = sigma, error, coherent

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        assert inputs.truth is not None
        ab, found = rgb_to_lab(inputs.truth)[:, 1:], []
        for own, id, seed in zip(ab, inputs.ids, inputs.seeds, strict=True):
            error = torch.randn(2, 1, 1, generator=torch.Generator().manual_seed(sum(map(ord, id))))
            shape = (2, 1, 1) if self.coherent else own.shape
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
            found.append(own + self.error * error + self.sigma * noise)
        return ColorPrediction(ab=torch.stack(found))


def scored(model: Any, truth: GroundTruth, **parameters: str) -> Mapping[str, np.ndarray]:
    one = scorer(**parameters)
    sizes = (tuple(truth.rgb8.shape[2:]),) * len(truth.ids)
    return one.score(colorize(loaded(model), truth, sizes, 0, request=one.further)).columns  # type: ignore[arg-type]


def test_scores_equal_loops_over_the_samples() -> None:
    truth, one = truth_of(2), scorer(samples="4", best="2")
    prediction = colorize(loaded(Noise()), truth, ((32, 48),) * 2, 0, request=one.further)
    draws = prediction.requested(one.further)
    assert len({id(draw) for draw in draws}) == 4 and not torch.equal(draws[0].rgb8, draws[1].rgb8)
    scores = one.score(prediction)
    for image in range(2):
        labs = [rgb_to_lab(draw.rgb8[image : image + 1])[0].double() for draw in draws]
        true = truth.lab[image].double()
        cells = [lab[1:].reshape(2, 16, 2, 16, 3).mean(dim=(2, 4)).flatten().numpy() for lab in [*labs, true]]
        joint = slow_energy(np.array(cells[:4]), cells[4]) / 16
        assert scores.columns["energy"][image] == pytest.approx(joint)
        pixels = np.stack([lab[1:].flatten(1).T.numpy() for lab in labs]), true[1:].flatten(1).T.numpy()
        per_pixel = [slow_energy(pixels[0][:, place], pixels[1][place]) for place in range(0, 32 * 48, 7)]
        assert scores.columns["energy_pixel"][image] == pytest.approx(np.mean(per_pixel), rel=0.05)
        hwc = [lab.permute(1, 2, 0).numpy() for lab in [*labs, true]]
        distances = [deltaE_ciede2000(one, hwc[4]).mean() for one in hwc[:4]]
        np.testing.assert_allclose(scores.arrays["sample_ciede2000"][image], distances, rtol=1e-4)
        assert scores.columns["ciede2000"][image] == pytest.approx(np.mean(distances), rel=1e-4)
        best = np.mean([min(pair) for pair in combinations(distances, 2)])
        assert scores.columns["ciede2000_best"][image] == pytest.approx(best, rel=1e-4)
        spread = [deltaE_ciede2000(hwc[i], hwc[(i + 1) % 4]).mean() for i in range(4)]
        assert scores.columns["spread"][image] == pytest.approx(np.mean(spread), rel=1e-4)


def test_the_spread_of_two_samples_is_their_difference() -> None:
    found = scored(Noise(), truth_of(1), samples="2", best="1")
    assert found["spread"][0] > 5


def test_a_deterministic_model_scores_the_distance_of_its_prediction() -> None:
    found = scored(Flat((10.0, -20.0)), truth_of())
    assert found["spread"].tolist() == [0.0] * 3
    np.testing.assert_array_equal(found["energy"], found["energy_prediction"])
    np.testing.assert_allclose(found["ciede2000"], found["ciede2000_best"])
    summary = scorer().summarize(found, {"sample_ciede2000": np.ones((3, 8))})
    assert summary.notes == ("all samples of an image are equal: the energy score is the distance of one prediction",)


def test_the_truth_has_zero_everywhere() -> None:
    found = scored(TruthTeller(), truth_of())
    for name in ("energy", "energy_pixel", "energy_prediction", "ciede2000", "ciede2000_best", "spread"):
        assert found[name].tolist() == [0.0] * 3, name


def test_spread_pays_only_where_it_is_true_and_noise_does_not() -> None:
    truth = truth_of(60, (16, 16))
    right = scored(Around(15.0), truth)["energy"].mean()
    others = {
        "no spread": Around(0.0),
        "doubled spread": Around(45.0),
        "noise": Around(15.0, coherent=False),
        "much noise": Around(45.0, coherent=False),
    }
    scores = {name: scored(model, truth) for name, model in others.items()}
    assert all(right < one["energy"].mean() for one in scores.values()), {
        n: s["energy"].mean() for n, s in scores.items()
    }
    # What fools the other two: noise has the larger spread, and garish samples do not lose as much in the best of k.
    assert scores["much noise"]["spread"].mean() > scored(Around(15.0), truth)["spread"].mean()


def test_best_of_k_gets_better_with_k_and_the_energy_score_does_not() -> None:
    truth, model = truth_of(40, (16, 16)), Around(15.0)
    few, many = scored(model, truth, samples="4", best="2"), scored(model, truth, samples="16", best="16")
    assert many["ciede2000_best"].mean() < few["ciede2000_best"].mean() - 0.5
    assert abs(many["energy"].mean() - few["energy"].mean()) < 0.5


@pytest.mark.parametrize(
    "wrong", [{"samples": "1"}, {"samples": "65"}, {"samples": "x"}, {"best": "0"}, {"best": "9"}, {"k": "3"}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError) as caught:
        scorer(**wrong)
    assert len(str(caught.value).splitlines()) == 1


def test_the_number_of_samples_and_k_are_identity() -> None:
    identities = [str(scorer(**one).identity) for one in ({}, {"samples": "9"}, {"best": "4"})]
    assert len(set(identities)) == 3


def config(data: Dataset, folder: Path, model: Any, **changes: Any) -> RunConfig:
    values = {
        "models": [model],
        "protocols": ["diversity"],
        "parameters": {"diversity": {"preprocessing": "squash24", "samples": "3", "best": "2"}},
        "data": data,
        "output": folder,
        "device": "cpu",
        "workers": 0,
        "save": "none",
        "baselines": False,
    }
    return RunConfig(**{**values, **changes})


def rows(folder: Path) -> dict[str, np.ndarray]:
    (path,) = folder.rglob("rows.parquet")
    return dict(read_rows(path)[1])


@pytest.mark.parametrize("model", ["zoo/cic", "zoo/random"])
def test_rows_do_not_depend_on_the_batch_and_follow_from_the_seed(model: str, tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", 5)
    for name, changes in {"a": {"batch_size": 5}, "b": {"batch_size": 2}, "c": {"seed": 1}}.items():
        run(config(data, tmp_path / name, model, **changes))
    first, other, seeded = (rows(tmp_path / name) for name in "abc")
    for column, values in first.items():
        np.testing.assert_allclose(other[column], values, rtol=0, atol=1e-5, err_msg=column)
    assert not np.allclose(seeded["energy"], first["energy"], atol=1e-3)


def test_a_run_that_breaks_while_it_draws_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_images(tmp_path / "images", 70)  # a shard of 64 and one of 6
    draw, calls = image_pass.predict_further, []

    def breaks(*arguments: Any) -> None:  # not within the model, whose code decides what is resumed
        calls.append(1)
        if len(calls) == 5:
            raise RunError("broken")
        draw(*arguments)

    run(config(data, tmp_path / "whole", loaded(Noise()), batch_size=16))
    monkeypatch.setattr(image_pass, "predict_further", breaks)
    for _ in range(2):
        with pytest.raises(RunError, match="broken") if not calls else contextlib.nullcontext():
            run(config(data, tmp_path / "parts", loaded(Noise()), batch_size=16))
    assert len(calls) == 6  # four batches of the first shard once, and the one of the second twice
    expected = rows(tmp_path / "whole")
    for column, values in rows(tmp_path / "parts").items():
        np.testing.assert_allclose(expected[column], values, atol=1e-5, err_msg=column)


class Short(Flat):
    def sample(self, inputs: ColorizerInput, seeds: Sequence[tuple[int, ...]]) -> list[ColorPrediction]:
        return [self.colorize_batch(inputs)] * (len(seeds) - 1)


class Infinite(Flat):
    def sample(self, inputs: ColorizerInput, seeds: Sequence[tuple[int, ...]]) -> list[ColorPrediction]:
        good = self.colorize_batch(inputs)
        assert good.ab is not None
        return [good, *[ColorPrediction(ab=good.ab / 0)] * (len(seeds) - 1)]


@pytest.mark.parametrize(("model", "what"), [(Short(), "gave 2 predictions for 3 seeds"), (Infinite(), "NaN or inf")])
def test_wrong_samples_are_one_line_that_names_the_model(model: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=what) as caught:
        run(config(write_images(tmp_path / "images", 2), tmp_path / "runs", loaded(model)))
    assert "test/model" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_folders_of_predictions_are_refused_in_one_line(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", 2)
    for sample in data.samples:
        path = (tmp_path / "predictions" / sample.id).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(sample.path).save(path)
    with pytest.raises(UserError, match="needs several colorizations of each image") as caught:
        run(config(data, tmp_path / "runs", f"images:{tmp_path / 'predictions'}"))
    assert len(str(caught.value).splitlines()) == 1


def test_another_protocol_beside_it_sees_the_usual_prediction(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", 3)
    model = load_model(fake_model())
    parameters = {
        "diversity": {"preprocessing": "squash24"},
        "fidelity": {"preprocessing": "squash24"},
        "hints": {"preprocessing": "squash24", "counts": "0,2"},
    }
    together = run(config(data, tmp_path / "both", model, protocols=list(parameters), parameters=parameters))
    (alone,) = run(
        config(data, tmp_path / "one", model, protocols=["fidelity"], parameters={"fidelity": parameters["fidelity"]})
    )
    by_protocol = {record.protocol.name: record for record in together}
    assert [m.value for m in by_protocol["fidelity"].metrics] == [m.value for m in alone.metrics]
    hints = {metric.name: metric.value for metric in by_protocol["hints"].metrics}
    usual = next(metric.value for metric in alone.metrics if metric.name == "ciede2000")
    assert hints["ciede2000_at_0"] == pytest.approx(usual, abs=1e-6)
