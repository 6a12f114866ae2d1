"""Time of a ``semantic`` run against its parts: ``uv run python -m benchmarks.semantic FOLDER_OF_IMAGES [LIMIT]``.

The aim: at most 1.5 times the larger of decoding and (colorizer + classifier forward), in one run. CPU time of one
thread is used, which is robust on a busy machine. That of the networks is measured within the run, around every forward
pass of colorizer and classifier (including ground truth and gray), that of decoding around the reading of the same
images.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import colorbench
from colorbench.data import get_preprocessing, load_batches, open_dataset
from colorbench.models import PACKAGED_CLASSIFIER, Classifier, load_classifier, load_model


class Stopwatch:
    """Sum of the CPU time of one thread in wrapped functions."""

    def __init__(self) -> None:
        self.spent, self.calls = 0.0, 0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same function, timed."""

        def timed(*arguments: Any, **keywords: Any) -> Any:
            started = time.thread_time()
            try:
                return work(*arguments, **keywords)
            finally:
                self.spent += time.thread_time() - started
                self.calls += 1

        return timed


def main(folder: str, limit: str | None = None, model_name: str = "zoo/cic.small") -> None:
    """Time one run and its parts."""
    torch.set_num_threads(1)
    dataset = open_dataset(folder)
    dataset = dataset if limit is None else dataset.limit(int(limit))
    started = time.thread_time()
    for _ in load_batches(dataset.samples, get_preprocessing("native"), batch_size=16, workers=0):
        pass
    decoding = time.thread_time() - started

    colorizer, classifier, judging = Stopwatch(), Stopwatch(), Stopwatch()
    model = load_model(model_name)
    load_classifier(PACKAGED_CLASSIFIER)  # libraries are imported before the clock starts
    model.colorizer.colorize_batch = colorizer.around(model.colorizer.colorize_batch)  # type: ignore[method-assign]
    made, logits = Classifier.__init__, Classifier.logits

    def with_stopwatch(self: Classifier, *arguments: Any, **keywords: Any) -> None:
        made(self, *arguments, **keywords)
        self._network.forward = classifier.around(self._network.forward)  # type: ignore[method-assign]

    Classifier.__init__ = with_stopwatch  # type: ignore[method-assign]
    Classifier.logits = judging.around(logits)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as output:
        started = time.process_time()
        colorbench.run(
            model, "semantic", dataset, output=Path(output), baselines=False, save="none", threads=1, workers=1
        )
        full = time.process_time() - started
    networks = colorizer.spent + classifier.spent
    ratio = full / max(decoding, networks)
    parts = {
        "decoding": decoding,
        "colorizer": colorizer.spent,
        f"classifier ({classifier.calls} images)": classifier.spent,
        "resizing and normalizing": judging.spent - classifier.spent,
    }
    parts["all else (Lab, scores, loading weights, record)"] = full - sum(parts.values())
    print(f"{len(dataset)} images, {model.full_name}, CPU time of one run: {full:.1f} s")
    for part, spent in parts.items():
        print(f"  {part}: {spent:.2f} s ({100 * spent / full:.0f} %)")
    verdict = "reached" if ratio <= 1.5 else "MISSED"
    print(f"{ratio:.2f} times the larger of decoding and (colorizer + classifier) (aim at most 1.5, {verdict})")


if __name__ == "__main__":
    main(*sys.argv[1:])
