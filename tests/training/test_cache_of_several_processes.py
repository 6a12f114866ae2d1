"""Two that build one image cache at the same time: one decodes, the other waits."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from colorbench.data import Dataset, Sample, decode_image
from colorbench.training import build_cache


def test_images_are_decoded_once_and_both_read_the_same(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    begun = threading.Event()

    def slowly(sample: Sample) -> object:
        begun.set()
        time.sleep(0.01)
        decoded.append(sample.id)
        return decode_image(sample)

    monkeypatch.setattr("colorbench.training.image_cache.decode_image", slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(build_cache, [crops], tmp_path, 16)
        assert begun.wait(10)
        second = pool.submit(build_cache, [crops], tmp_path, 16)
        one, two = first.result(), second.result()
    assert sorted(decoded) == [sample.id for sample in crops.samples]
    np.testing.assert_array_equal(one.pixels, two.pixels)
    np.testing.assert_array_equal(one.hashes, two.hashes)
