"""Average precision and confusion: hand-worked cases, scikit-learn, plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from colorbench.metrics import AveragePrecisionRule, average_precision
from protocols.transfer.segmentation import confusion, intersection_over_union, mean_iou

# Ranked: right, wrong, right, wrong, wrong, right. Precision where recall rises: 1/1, 2/3, 3/6 at 1/3, 2/3, 1.
SCORES = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
POSITIVE = np.array([True, False, True, False, False, True])


@pytest.mark.parametrize(
    ("rule", "by_hand"),
    [
        # Recalls 0 .. 0.3 find 1, 0.4 .. 0.6 find 2/3, 0.7 .. 1 find 1/2.
        ("voc07", (4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11),
        ("voc10", (1 + 2 / 3 + 1 / 2) / 3),
        ("sklearn", (1 + 2 / 3 + 1 / 2) / 3),
    ],
)
def test_hand_worked(rule: AveragePrecisionRule, by_hand: float) -> None:
    assert float(average_precision(SCORES, POSITIVE, rule)) == pytest.approx(by_hand)


def test_the_envelope_lifts_a_dip() -> None:
    # wrong, right, right: precision 1/2 then 2/3; the envelope takes 2/3 for both steps, scikit-learn does not.
    scores, positive = np.array([3.0, 2.0, 1.0]), np.array([False, True, True])
    assert float(average_precision(scores, positive, "voc10")) == pytest.approx(2 / 3)
    assert float(average_precision(scores, positive, "sklearn")) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert float(average_precision(scores, positive, "voc07")) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_stepwise_is_that_of_scikit_learn_ties_and_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 12, 60).astype(float), rng.random(60) < 0.3
    expected = average_precision_score(positive, scores)
    assert float(average_precision(scores, positive, "sklearn")) == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["voc07", "voc10", "sklearn"])
def test_a_weight_is_a_image_more_often(rule: AveragePrecisionRule) -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 9, 30).astype(float), rng.random(30) < 0.4
    weights = rng.integers(0, 3, (4, 30))
    found = average_precision(scores, positive, rule, weights)
    for row, value in zip(weights, found, strict=True):
        repeated = np.repeat(np.arange(30), row)
        assert value == pytest.approx(float(average_precision(scores[repeated], positive[repeated], rule)))


def test_without_a_positive_there_is_none() -> None:
    assert np.isnan(average_precision(SCORES, np.zeros(6, bool), "voc07"))
    with pytest.raises(ValueError, match="NaN"):
        average_precision(np.full(6, np.nan), POSITIVE, "voc07")


def test_confusion_is_that_of_scikit_learn_without_void() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 6, (9, 11)), rng.integers(0, 5, (9, 11))
    truth[truth == 5] = 255
    counted = truth != 255
    expected = sklearn_confusion(truth[counted], prediction[counted], labels=range(5))
    np.testing.assert_array_equal(confusion(truth, prediction, 5), expected)
    with pytest.raises(ValueError, match="true label"):
        confusion(np.full((2, 2), 7), np.zeros((2, 2), int), 5)


def test_iou_is_of_one_count_over_the_set() -> None:
    # 3 classes, the last nowhere: class 0 has 3 of 5, class 1 has 2 of 4.
    one = np.array([[3, 1, 0], [1, 2, 0], [0, 0, 0]])
    assert intersection_over_union(one)[:2].tolist() == pytest.approx([3 / 5, 2 / 4])
    assert np.isnan(intersection_over_union(one)[2])
    assert float(mean_iou(one)) == pytest.approx((3 / 5 + 2 / 4) / 2)
    both = np.stack([one, np.array([[0, 0, 0], [4, 0, 0], [0, 0, 0]])])
    assert float(mean_iou(both.sum(axis=0))) == pytest.approx((3 / 9 + 2 / 8) / 2)
