"""What many tests share: real images, records to show, and the command line as a user meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Several test processes share the machine: with all cores each they only get in one another's way. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

from colorbench.data import Dataset
from colorbench.results import Record

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
]
REPOSITORY = Path(__file__).parent.parent
RunCommand = Callable[..., subprocess.CompletedProcess[str]]
LONGEST = (
    *("tests/test_code_blocks.py", "tests/test_quality.py", "tests/docs/test_site.py", "tests/test_wheel.py"),
    *("tests/evaluation/test_launches_of_protocols.py", "tests/evaluation/test_retrained.py"),
    *("tests/training/test_resume.py", "tests/docs/test_cluster.py"),
)
"""Files with tests of half a minute and more. They run first: at the end, one of them would leave cores idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of ``LONGEST`` first; all others stay in their order."""
    place = {file: number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3) uint8: a real image that scikit-image carries."""
    import skimage.data

    return skimage.data.astronaut()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three real images, small, in two formats and one folder below."""
    import skimage.data

    folder = tmp_path_factory.mktemp("images")
    (folder / "animals").mkdir()
    for name, file in (("astronaut", "astronaut.png"), ("coffee", "coffee.jpg"), ("chelsea", "animals/chelsea.png")):
        Image.fromarray(getattr(skimage.data, name)()).resize((96, 64)).save(folder / file)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Forty small crops of real images."""
    from tests.support.engine import write_images

    return write_images(tmp_path_factory.mktemp("crops"), 40)


@pytest.fixture
def only_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the check before a pass, for tests that count what a model is asked for."""
    monkeypatch.setattr("colorbench.evaluation.task_records.check_models", lambda *_: {})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium that is installed already, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as engine:
        launched = engine.chromium.launch(executable_path=found, args=BROWSER_FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def build_wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Builds the wheel of a source tree as ``pip wheel`` would, with the backend that is installed: no network."""

    def build(source: Path) -> Path:
        folder = tmp_path_factory.mktemp("wheel")
        program = "import sys, hatchling.build as backend; print(backend.build_wheel(sys.argv[1]))"
        done = subprocess.run(
            [sys.executable, "-c", program, folder], cwd=source, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return folder / done.stdout.split()[-1]

    return build


@pytest.fixture
def colorbench(tmp_path: Path) -> RunCommand:
    """Run ``colorbench ...`` in a process of its own, in an empty folder."""

    def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "elsewhere" if cwd is None else cwd
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", "colorbench", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """A record with two metrics and a curve; ``model``, ``n`` and ``scale`` of the values vary."""
    from colorbench.testing import make_record

    return make_record
