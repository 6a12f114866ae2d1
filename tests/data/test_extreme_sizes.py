"""Images of extreme shape and size: memory is bounded by what is kept, and ordinary images come out as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from colorbench.data import batch_loader, preprocessing
from colorbench.data.batch_loader import load_batches
from colorbench.data.dataset import Sample
from colorbench.data.image_decoding import UnreadableImage, decode_bytes
from colorbench.data.preprocessing import get_preprocessing
from colorbench.data.sources import open_dataset

BOUNDED = """
import resource, sys
import numpy as np
from colorbench.data.preprocessing import get_preprocessing
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for size in ((1, 60_000), (60_000, 1), (2, 8_000_000), (1, 1), (3, 60_000), (60_000, 255), (1, 257)):
    image = np.full((*size, 3), 77, np.uint8)
    for name in ("center256", "center224", "center1024", "squash256"):
        made = get_preprocessing(name).apply(image)
        assert made.shape == (int(name[6:]), int(name[6:]), 3) and (made == 77).all(), (size, name)
"""


def test_memory_is_bounded_by_what_is_kept() -> None:
    # Made whole, 1 x 60000 would be 256 x 15 million pixels: 12 GB.
    done = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("size", [(480, 640), (640, 427), (300, 77), (33, 600), (512, 511), (20, 900)])
@pytest.mark.parametrize("kept", [16, 64, 256])
def test_cropped_before_it_is_resized_is_what_resized_before_it_is_cropped_is(
    size: tuple[int, int], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.asarray(Image.fromarray(skimage.data.coffee()).resize(size[::-1]))
    chosen = get_preprocessing(f"center{kept}")
    height, width = (max(kept, round(side * kept / min(size))) for side in size)
    full = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - kept) // 2, (width - kept) // 2
    usual = full[top : top + kept, left : left + kept]
    # The numbers of ordinary images do not move at all.
    assert np.array_equal(chosen.apply(image), usual)
    monkeypatch.setattr(preprocessing, "_LARGEST_RESIZED", 0)
    apart = np.abs(chosen.apply(image).astype(int) - usual)
    assert apart.max() <= 8 and apart.mean() < 0.2


def test_a_batch_of_images_at_their_own_sizes_is_bounded_in_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(7):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(tmp_path / f"{i}.png")
    samples = open_dataset(tmp_path).samples

    def sizes(chosen: str) -> list[int]:
        return [len(batch.ids) for batch in load_batches(samples, get_preprocessing(chosen), batch_size=5)]

    assert sizes("native") == [5, 2]
    monkeypatch.setattr(batch_loader, "LARGEST_BATCH", 3 * 40 * 30 + 1)
    assert sizes("native") == [3, 3, 1] and sizes("squash64") == [5, 2]
    monkeypatch.setattr(batch_loader, "LARGEST_BATCH", 1)
    assert sizes("native") == [1] * 7


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1)])
@pytest.mark.parametrize("chosen", ["native", "squash16", "center16"])
def test_extreme_shapes_are_loaded(tmp_path: Path, size: tuple[int, int], chosen: str) -> None:
    Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "a.png")
    (batch,) = load_batches([Sample("a.png", tmp_path / "a.png")], get_preprocessing(chosen), batch_size=4)
    assert batch.sizes == (size[::-1],)
    assert batch.rgb8.shape[2:] == (size[::-1] if chosen == "native" else (16, 16))
    assert (batch.rgb8[0, :, 0, 0].numpy() == (200, 10, 10)).all()


def test_a_decompression_bomb_is_left_out_before_it_unpacks(tmp_path: Path) -> None:
    # 20000 x 20000 gray pixels in 50 KB: 1.2 GB as RGB.
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    assert len(content) < 100_000
    with pytest.raises(UnreadableImage, match="too many pixels"):
        decode_bytes(content)
