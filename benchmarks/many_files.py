"""Time and memory of listing large folders: ``uv run python -m benchmarks.many_files [FOLDER]``.

Folders of classes with 1,000, 100,000 and 1,000,000 hard links to small images are made in FOLDER (default: a
temporary one) and opened, each in a process of its own: ``open_dataset``, the digests of a run key, subsets of 1,000
and of nine tenths, and one pass over the samples.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (1_000, 100_000, 1_000_000)
CLASSES = 1_000
MOST_LINKS = 30_000
"""Links to one file; file systems allow 32,000 or 65,000."""

CHILD = """
import resource, sys, time
from pathlib import Path
from colorbench.data import open_dataset
from colorbench.data.dataset_hashes import files_digest, stamps_digest
empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
dataset = open_dataset(Path(sys.argv[1]))
listed = time.perf_counter() - start
peak_listed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
files_digest(dataset.samples, times=False), stamps_digest(dataset)
digests = time.perf_counter() - start
few = dataset.limit(1000)
most = dataset.limit(len(dataset) * 9 // 10)
for samples in (dataset.samples, most.samples):
    for sample in samples:
        sample.path
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mib = [round(value / 1024) for value in (empty, peak_listed, peak)]
print(f"{len(dataset):>9,} files: listed in {listed:.1f} s, digests {digests:.1f} s; "
      f"peak {mib[1]} MiB after listing, {mib[2]} MiB after all, {mib[0]} MiB after imports")
"""


def main(folder: str | None = None) -> None:
    """Print one line for each number of files."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for count in COUNTS:
            root = Path(scratch) / str(count)
            start = time.perf_counter()
            make(root, count)
            print(f"(made {count:,} links in {time.perf_counter() - start:.0f} s)", file=sys.stderr)
            subprocess.run([sys.executable, "-c", CHILD, root], check=True)


def make(root: Path, count: int) -> None:
    """Make ``count`` hard links in class folders, to files with few links each."""
    root.mkdir(parents=True)
    source = ""
    for number in range(count):
        if number % MOST_LINKS == 0:
            source = str(root.parent / f"{root.name}-{number}.jpg")
            Path(source).write_bytes(b"image %d" % number)
        folder = f"{root}/n{number % CLASSES:08d}"
        if number < CLASSES:
            os.mkdir(folder)
        os.link(source, f"{folder}/ILSVRC2012_val_{number:08d}.JPEG")


if __name__ == "__main__":
    main(*sys.argv[1:])
