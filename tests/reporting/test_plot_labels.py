"""Labels beside points cover no other label and no point, however close the points are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from colorbench.reporting import Axis, Mark, plot


def drawn(marks: list[Mark]) -> tuple[list[str], list[np.ndarray], np.ndarray]:
    """The labels that were written, their boxes, and the points, in pixels of the drawn figure."""
    made = plot("near", Axis("x"), Axis("y"), marks=marks, height=3.6, labeled=True)
    canvas = FigureCanvasAgg(made.figure)
    canvas.draw()
    axes = made.figure.axes[0]
    # Of the text alone: an annotation also counts the line that leads to it.
    boxes = [Text.get_window_extent(text, canvas.get_renderer()).extents for text in axes.texts]
    return [text.get_text() for text in axes.texts], boxes, axes.transData.transform([(m.x, m.y) for m in marks])


@pytest.mark.parametrize("spread", [1.0, 0.2, 0.02, 0.0])
@pytest.mark.parametrize("count", [2, 9, 40])
def test_no_label_covers_another_or_a_point(count: int, spread: float) -> None:
    generator = np.random.default_rng(count)
    at = generator.normal(size=(count, 2)) * spread
    marks = [
        Mark(f"lab/model-{i}", x, y, y - 0.3, y + 0.3, color=f"s{i % 8}", x_low=x - 0.2, x_high=x + 0.2)
        for i, (x, y) in enumerate(at.tolist())
    ]
    labels, boxes, points = drawn(marks)
    assert len(labels) == len(set(labels)) >= min(count, 6)
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart
    for box in boxes:
        inside = (points > box[:2]).all(axis=1) & (points < box[2:]).all(axis=1)
        assert not inside.any()
    if count == 2:
        assert len(labels) == 2


def test_the_name_of_each_point_is_shown_on_hover_even_without_a_label() -> None:
    marks = [Mark(f"model-{i}", 1.0, 1.0, note=f"model-{i}: 1, 1") for i in range(60)]
    made = plot("one place", Axis("x"), Axis("y"), marks=marks, labeled=True)
    assert len(made.figure.axes[0].texts) < 60
    assert all(f"<title>model-{i}: 1, 1</title>" in made.svg() for i in range(60))
    assert not made.figure.legends
