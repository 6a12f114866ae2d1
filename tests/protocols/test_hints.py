"""The hints protocol: points, what is revealed, the scores against the number of points, and its control."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import GroundTruth, Prediction, RunConfig, run
from colorbench.evaluation.predict import colorize
from colorbench.metrics import ROUNDING_BOUND, mean_ciede2000
from colorbench.models import ColorizerInput, ColorPrediction, Draws, ModelCard, RevealedColors, Reveals, load_model
from colorbench.models.revealed_colors import revealed_of
from colorbench.models.sampled_and_guided_predictions import Request, Told, in_place
from colorbench.models.sampled_and_guided_predictions import told_of as told_by_parts
from colorbench.reporting.record_plots import record_plots
from colorbench.results import read_rows
from colorbench.verification.recomputed_metrics import curve_findings
from protocols.hints import HintsProtocol, HintsScorer, mean_height
from tests.support.engine import Flat, loaded, write_images
from zoo.baselines import NearestHint

NOTHING = Dataset("nothing", ())


def scorer(**parameters: str) -> HintsScorer:
    return HintsProtocol().resolve(parameters, NOTHING)


def truth_of(n: int = 3, size: tuple[int, int] = (24, 32), content: str = "") -> GroundTruth:
    rgb8 = torch.randint(0, 256, (n, 3, *size), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return GroundTruth(tuple(f"{i}.png" for i in range(n)), rgb8, sha256s=tuple(f"{content}{i}" for i in range(n)))


def told_of(request: Request, truth: GroundTruth, run_seed: int) -> Told:
    return told_by_parts(request, truth.contents, truth.ab, run_seed)


class Oracle:
    """Knows the true colors once a point is revealed; before, it is gray."""

    card = ModelCard(title="an oracle", role="reference")

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        n, _, h, w = inputs.lightness.shape
        return ColorPrediction(ab=torch.zeros(n, 2, h, w))

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        return ColorPrediction(rgb8=inputs.truth)


class Remembers(Flat):
    """Remembers what is revealed."""

    def __init__(self) -> None:
        super().__init__((5.0, 5.0))
        self.revealed: list[RevealedColors] = []

    def colorize_guided(self, inputs: ColorizerInput, revealed: RevealedColors) -> ColorPrediction:
        self.revealed.append(revealed.copied())
        revealed.ab.zero_()  # what a model writes here, the next call must not see
        inputs.lightness.zero_()
        return self.colorize_batch(inputs)


def scored(model: object, truth: GroundTruth, **parameters: str) -> Mapping[str, np.ndarray]:
    one = scorer(**parameters)
    sizes = ((24, 32),) * len(truth.ids)
    return one.score(colorize(loaded(model), truth, sizes, 0, request=one.further)).columns


def test_points_are_drawn_by_the_content_alone_and_are_nested() -> None:
    truth = truth_of()
    told = told_of(Reveals((0, 2, 10)), truth, 0)
    revealed = told.revealed
    assert revealed is not None and told.counts == (2, 10)
    assert revealed.positions.shape == (3, 10, 2)
    flat = revealed.positions[..., 0] * 32 + revealed.positions[..., 1]
    assert all(len(set(points.tolist())) == 10 for points in flat)
    for other in (told_of(Reveals((10,)), truth, 5), told_of(Reveals((3, 10, 20)), truth, 0)):
        assert other.revealed is not None
        assert torch.equal(other.revealed.positions[:, :10], revealed.positions)
    renamed = GroundTruth(("x", "y"), truth.rgb8[[2, 0]], sha256s=("2", "0"))
    again = told_of(Reveals((10,)), renamed, 0).revealed
    assert again is not None and torch.equal(again.positions, revealed.positions[[2, 0]])
    for request, same in ((Reveals((10,), seed=1), truth), (Reveals((10,)), truth_of(content="other "))):
        moved = told_of(request, same, 0).revealed
        assert moved is not None and not torch.equal(moved.positions, revealed.positions)


def test_points_are_uniform() -> None:
    truth = GroundTruth(("a",) * 400, torch.zeros(400, 3, 4, 8, dtype=torch.uint8), sha256s=tuple(map(str, range(400))))
    revealed = told_of(Reveals((4,)), truth, 0).revealed
    assert revealed is not None
    counts = np.bincount((revealed.positions[..., 0] * 8 + revealed.positions[..., 1]).flatten(), minlength=32)
    assert counts.sum() == 1600 and abs(counts - 50).max() < 5 * math.sqrt(50)


@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_an_image_with_fewer_pixels_than_points_reveals_them_all(size: tuple[int, int]) -> None:
    truth = truth_of(2, size)
    revealed = told_of(Reveals((1, 50)), truth, 0).revealed
    assert revealed is not None and revealed.count == size[0] * size[1]
    torch.testing.assert_close(revealed.maps(size)[0], truth.ab)
    assert scored(NearestHint(), truth, counts="0,50", size="1")["ciede2000_at_50"].max() < 0.5


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_color_of_a_point_is_the_mean_of_its_square(size: int) -> None:
    ab = torch.randn(1, 2, 9, 11)
    positions = torch.tensor([[[4, 5], [0, 0], [8, 10], [0, 6]]])
    revealed = revealed_of(ab, positions, size)
    for (row, column), color in zip(positions[0].tolist(), revealed.ab[0], strict=True):
        inside = [
            ab[0, :, y, x]
            for y in range(row - size // 2, row - size // 2 + size)
            for x in range(column - size // 2, column - size // 2 + size)
            if 0 <= y < 9 and 0 <= x < 11
        ]
        torch.testing.assert_close(color, torch.stack(inside).mean(dim=0))
    colors, mask = revealed.maps((9, 11))
    assert int(mask[0, 0, 4, 5]) == 1 and bool((colors[0, :, mask[0, 0] == 0] == 0).all())
    torch.testing.assert_close(colors[0, :, 0, 6], revealed.ab[0, 3])  # the last point is on top


def test_points_keep_their_place_in_another_size() -> None:
    points = RevealedColors(torch.tensor([[[0, 0], [9, 19], [5, 10]]]), torch.zeros(1, 3, 2), 4)
    assert points.resized((10, 20), (10, 20)) is points
    large = points.resized((10, 20), (100, 100))
    assert large.positions.tolist() == [[[5, 2], [95, 97], [55, 52]]] and large.size == 40
    small = points.resized((10, 20), (5, 5))
    assert small.positions.tolist() == [[[0, 0], [4, 4], [2, 2]]] and small.size == 2


def test_a_model_is_told_the_true_colors_and_nothing_else() -> None:
    truth, model = truth_of(), Remembers()
    scored(model, truth, counts="0,1,5", size="1")
    assert [one.count for one in model.revealed] == [1, 5]
    for revealed in model.revealed:
        for image, points in enumerate(revealed.positions):
            expected = truth.ab[image][:, points[:, 0], points[:, 1]].T
            torch.testing.assert_close(revealed.ab[image], expected)
    assert all(inputs.truth is None for inputs in model.seen)


def test_the_protocol_is_exact_for_the_truth() -> None:
    found = scored(Oracle(), truth_of(), counts="0,1,10")
    for count in (1, 10):
        assert found[f"ciede2000_at_{count}"].tolist() == [0.0] * 3
        assert found[f"psnr_at_{count}"].tolist() == [ROUNDING_BOUND] * 3
    assert (found["ciede2000_at_0"] > 5).all()
    truth = truth_of()
    without = scorer().score(Prediction(truth, rgb8=truth.rgb8)).columns
    assert without["ciede2000_area"].tolist() == [0.0] * 3
    assert without["psnr_area"] == pytest.approx(ROUNDING_BOUND)


def test_scores_equal_those_of_each_prediction_and_the_area_is_a_mean_height() -> None:
    truth, one = truth_of(), scorer(counts="0,2,9,30", size="1")
    prediction = colorize(loaded(NearestHint()), truth, ((24, 32),) * 3, 0, request=one.further)
    parts = prediction.requested(one.further)
    assert parts[0] is prediction and len(parts) == 4
    columns = one.score(prediction).columns
    x = np.log1p([0, 2, 9, 30])
    for name in ("psnr", "ciede2000"):
        curve = np.stack([columns[f"{name}_at_{count}"] for count in (0, 2, 9, 30)], axis=1)
        steps = ((curve[:, 1:] + curve[:, :-1]) / 2 * np.diff(x)).sum(axis=1)
        np.testing.assert_allclose(columns[f"{name}_area"], steps / x[-1])
    for count, part in zip((0, 2, 9, 30), parts, strict=True):
        for image in range(3):
            rgb, true = (t[image].permute(1, 2, 0).numpy() for t in (part.rgb8, truth.rgb8))
            expected = peak_signal_noise_ratio(true, rgb, data_range=255)
            assert columns[f"psnr_at_{count}"][image] == pytest.approx(expected)
        difference = mean_ciede2000(rgb_to_lab(part.rgb8), truth.lab)
        np.testing.assert_allclose(columns[f"ciede2000_at_{count}"], difference)


def test_the_mean_height_of_a_constant_is_the_constant() -> None:
    assert mean_height((0, 1, 7), np.full((2, 3), 4.0)).tolist() == pytest.approx([4.0, 4.0])
    assert mean_height((0, 1), np.array([[0.0, 2.0]])).tolist() == [1.0]


SIZES = [((24, 32), 1), ((24, 32), 7), ((40, 17), 60), ((1, 5), 2), ((130, 140), 300)]


@pytest.mark.parametrize(("size", "count"), SIZES)
def test_the_nearest_hint_is_that_of_a_tree(size: tuple[int, int], count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    flat = torch.randperm(size[0] * size[1], generator=generator)[:count]
    positions = torch.stack([flat // size[1], flat % size[1]], dim=1)[None]
    ab = torch.randn(1, count, 2, generator=generator)
    inputs = ColorizerInput(torch.zeros(1, 1, *size), ("a",), (0,))
    found = NearestHint().colorize_guided(inputs, RevealedColors(positions, ab)).ab
    assert found is not None
    pixels = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1).reshape(-1, 2)
    tree = cKDTree(positions[0].numpy())
    distance, index = tree.query(pixels)
    own = found[0].flatten(1).T
    matches = (own == ab[0][torch.from_numpy(index)]).all(dim=1).numpy()
    # Where the two differ, the other point is as near.
    for pixel in np.flatnonzero(~matches):
        chosen = int((ab[0] == own[pixel]).all(dim=1).nonzero()[0])
        assert np.linalg.norm(pixels[pixel] - positions[0, chosen].numpy()) == pytest.approx(distance[pixel])
        ties = np.flatnonzero(np.isclose(np.linalg.norm(positions[0].numpy() - pixels[pixel], axis=1), distance[pixel]))
        assert chosen == ties.min()


def test_without_hints_the_control_is_gray() -> None:
    inputs = ColorizerInput(torch.full((2, 1, 5, 6), 40.0), ("a", "b"), (0, 0))
    empty = RevealedColors(torch.zeros(2, 0, 2, dtype=torch.int64), torch.zeros(2, 0, 2))
    for found in (NearestHint().colorize_batch(inputs), NearestHint().colorize_guided(inputs, empty)):
        assert found.ab is not None and found.ab.shape == (2, 2, 5, 6) and not found.ab.any()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"counts": counts} for counts in ("5", "", "0,0", "5,2", "0,x", "-1,3", "0,1.5", "0,20000", "0,²")),
        *({"size": size} for size in ("0", "x", "1000")),
        {"seed": "-1"},
        {"points": "3"},
    ],
)
def test_wrong_parameters_are_refused_in_one_line(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError) as caught:
        scorer(**wrong)
    assert len(str(caught.value).splitlines()) == 1


def test_equal_counts_are_one_identity_however_they_are_written() -> None:
    assert scorer(counts=" 0, 1,05").identity == scorer(counts="0,1,5").identity
    assert scorer(counts="0,1").identity != scorer(counts="0,2").identity
    names = [metric.name for metric in scorer(counts="0,3,100").metrics]
    assert names == ["ciede2000_area", "psnr_area", *(f"{m}_at_{c}" for c in (0, 100) for m in ("ciede2000", "psnr"))]


def test_a_model_that_takes_no_hints_is_refused_naming_those_that_do(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", 2)
    for model in ("zoo/gray", f"images:{tmp_path / 'images'}"):
        with pytest.raises(UserError) as caught:
            run(RunConfig(models=[model], protocols=["hints"], data=data, output=tmp_path / "runs", device="cpu"))
        line = str(caught.value)
        assert len(line.splitlines()) == 1 and "Guided" in line
        assert "zoo/nearest-hint" in line and "zoo/siggraph17" in line


def test_a_curve_has_a_point_and_an_interval_at_every_number(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images", 32, side=24)
    (record,) = run(
        RunConfig(
            models=["zoo/nearest-hint"],
            protocols=["hints"],
            parameters={"hints": {"preprocessing": "squash24", "counts": "0,1,4,16"}},
            data=data,
            output=tmp_path / "runs",
            device="cpu",
            batch_size=8,
            save="none",
            baselines=False,
        )
    )
    assert [curve.name for curve in record.curves] == ["ciede2000", "psnr"]
    for curve in record.curves:
        assert curve.x == [0, 1, 4, 16]
        assert all(low < y < high for low, y, high in zip(curve.low, curve.y, curve.high, strict=True))
    stated = {metric.name: metric.value for metric in record.metrics}
    assert record.curves[0].y[1] == pytest.approx(stated["ciede2000_at_1"])
    assert record.curves[0].y[3] < record.curves[0].y[0]
    for drawn in record_plots(record, []).values():
        assert len(drawn.figure.axes[0].collections) == 1  # the band
    columns = dict(read_rows(next((tmp_path / "runs").rglob("rows.parquet")))[1])
    summary = scorer(counts="0,1,4,16").summarize(columns, {})
    assert list(curve_findings(record, summary)) == []
    narrower = record.curves[0].model_copy(update={"low": record.curves[0].y})
    forged = record.model_copy(update={"curves": [narrower, record.curves[1]]})
    assert list(curve_findings(forged, summary)) == ["the curve ciede2000 does not follow from the arrays"]


def test_a_request_is_answered_in_its_order() -> None:
    assert in_place(Reveals((0, 1, 5)), "usual", ["one", "five"]) == ("usual", "one", "five")
    assert in_place(Reveals((2, 5)), "usual", ["two", "five"]) == ("two", "five")
    assert in_place(Draws(2), "usual", ["one", "two"]) == ("one", "two")
    assert in_place(Draws(2), "usual", []) == ("usual", "usual")


@pytest.mark.parametrize(("request_", "given"), [(Reveals((0, 1, 5)), 1), (Reveals((1,)), 0), (Draws(3), 2)])
def test_a_prediction_that_is_missing_is_one_line(request_: Request, given: int) -> None:
    # Of an isolated model, whose wrong shapes are dropped before they are counted.
    with pytest.raises(RunError, match=f"the model gave {given} usable predictions beside the usual one"):
        in_place(request_, "usual", ["further"] * given)


def test_the_released_network_takes_hints() -> None:
    model = load_model("zoo/siggraph17.random").colorizer
    lightness: Tensor = torch.rand(1, 1, 40, 56, generator=torch.Generator().manual_seed(0)) * 100
    inputs = ColorizerInput(lightness, ("a",), (0,))
    none = RevealedColors(torch.zeros(1, 0, 2, dtype=torch.int64), torch.zeros(1, 0, 2))
    some = RevealedColors(torch.tensor([[[10, 10], [30, 50]]]), torch.tensor([[[60.0, 10.0], [-50.0, 40.0]]]), 7)
    with torch.no_grad():
        usual = model.colorize_batch(inputs).ab
        without, hinted = (model.colorize_guided(inputs, one).ab for one in (none, some))
    torch.testing.assert_close(without, usual)
    assert hinted.shape == usual.shape and (hinted - usual).abs().max() > 1e-3
