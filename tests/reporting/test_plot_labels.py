"""Labels beside points cover no other label and no point, however close the points are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from colorbench.reporting import Axis, Level, Mark, plot
from colorbench.reporting.plot_labels import Box


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


@pytest.mark.parametrize(
    ("end", "crossed"),
    [((4.0, 4.0), True), ((4.0, 0.0), False), ((1.0, 1.0), False), ((2.5, 2.5), True), ((0.0, 9.0), False)],
)
def test_a_line_through_a_box_is_recognized(end: tuple[float, float], crossed: bool) -> None:
    box = Box(2.0, 2.0, 3.0, 3.0)
    assert box.is_crossed((0.0, 0.0), end) == box.is_crossed(end, (0.0, 0.0)) == crossed


def test_a_label_covers_no_level_and_no_line_to_another_label() -> None:
    marks = [Mark(f"lab/model-{i}", 1.0 + 0.001 * i, 10.0 - 0.02 * i, 9.0, 11.0, color=f"s{i}") for i in range(4)]
    made = plot("near", Axis("x", 0, 3), Axis("y", 8, 12), marks=marks, levels=[Level("", 10.2)], labeled=True)
    canvas = FigureCanvasAgg(made.figure)
    canvas.draw()
    axes = made.figure.axes[0]
    boxes = [Text.get_window_extent(text, canvas.get_renderer()).extents for text in axes.texts]
    assert len(boxes) == 4
    level = axes.transData.transform((1.0, 10.2))[1]
    assert not any(bottom < level < top for _, bottom, _, top in boxes)
    for text, own in zip(axes.texts, boxes, strict=True):
        if text.arrow_patch is None:
            continue
        start, end = axes.transData.transform(text.xy), ((own[0] + own[2]) / 2, (own[1] + own[3]) / 2)
        for share in np.linspace(0, 1, 50):
            x, y = start + share * (np.array(end) - start)
            others = [box for box in boxes if box is not own]
            assert not any(left < x < right and bottom < y < top for left, bottom, right, top in others)


def test_the_name_of_each_point_is_shown_on_hover_even_without_a_label() -> None:
    marks = [Mark(f"model-{i}", 1.0, 1.0, note=f"model-{i}: 1, 1") for i in range(60)]
    made = plot("one place", Axis("x"), Axis("y"), marks=marks, labeled=True)
    assert len(made.figure.axes[0].texts) < 60
    assert all(f"<title>model-{i}: 1, 1</title>" in made.svg() for i in range(60))
    assert not made.figure.legends
