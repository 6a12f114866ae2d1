"""The built wheel holds everything that the package needs, and works in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
WINGS = ("colorbench", "zoo", "protocols", "leaderboards")


@pytest.fixture(scope="module")
def wheel(build_wheel: Callable[[Path], Path]) -> Path:
    return build_wheel(REPOSITORY)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip install --target FOLDER --no-deps`` leaves: a pure wheel is its own tree."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_every_file_of_the_four_packages_is_in_the_wheel(wheel: Path) -> None:
    """Ignore patterns that are not anchored would drop weights and priors, and only the wheel would tell."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    here = {
        path.relative_to(REPOSITORY).as_posix()
        for wing in WINGS
        for path in (REPOSITORY / wing).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here - inside == set()
    assert {path for path in inside if path.split("/")[0] in WINGS} - here == set()
    assert "colorbench/color/data/shipped_prior.npy" in inside
    assert any(path.startswith("zoo/") and path.endswith(".safetensors") for path in inside)


def test_the_wheel_is_small_enough_to_ship(wheel: Path) -> None:
    assert wheel.stat().st_size < 36 * 2**20  # 15.4 of it are zoo/cic.base


def run_installed(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m colorbench`` from the installed wheel; the checkout is not on the path."""
    # site.addsitedir is not used: PYTHONPATH stands before the editable checkout.
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-m", "colorbench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def test_the_installed_wheel_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    where = "import colorbench, zoo, protocols; print(colorbench.__file__, zoo.__file__, protocols.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.count(str(installed)) == 3, done.stdout + done.stderr


def test_the_installed_wheel_lists_the_zoo(installed: Path, tmp_path: Path) -> None:
    done = run_installed(installed, tmp_path, "list")
    assert done.returncode == 0, done.stderr
    for name in ("zoo/cic", "zoo/gray", "auc", "fidelity", "samples"):
        assert name in done.stdout


def test_the_installed_wheel_measures_the_shipped_model(installed: Path, tmp_path: Path) -> None:
    done = run_installed(installed, tmp_path, "run", "--model", "zoo/cic", "--protocol", "auc", "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/zoo/cic*/**/record.json"))) == 1
