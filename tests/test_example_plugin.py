"""``examples/plugin`` is what it says: a model in 15 lines that is found, shown and measured once it is installed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(build_wheel: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed as ``pip install --target`` would: its own build backend makes a wheel, which is unpacked."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(build_wheel(EXAMPLE)) as wheel:
        wheel.extractall(site)
    return site


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """Standard output of ``colorbench ...`` where the example is installed."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "colorbench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_model_is_15_lines_of_code_at_most() -> None:
    lines = (EXAMPLE / "warm.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 15
    ast.parse("\n".join(lines))


def test_one_line_names_it() -> None:
    text = (EXAMPLE / "pyproject.toml").read_text()
    table = text.partition('[project.entry-points."colorbench.models"]\n')[2].partition("\n\n")[0]
    assert table == 'warm = "warm:Warm"'


def test_it_is_listed_with_its_title(installed: Path, tmp_path: Path) -> None:
    models = {row["name"]: row for row in json.loads(run(installed, tmp_path, "list", "--json"))["models"]}
    assert models["warm-colors/warm"]["title"] == "one warm color everywhere"
    assert "error" not in models["warm-colors/warm"]
    assert "zoo/gray" in models


def test_it_is_measured_like_any_other(installed: Path, tmp_path: Path) -> None:
    stated = run(
        installed, tmp_path, "run", "-m", "warm-colors/warm", "-p", "auc", "--limit", "2", "--save", "none", "--json"
    )
    record = json.loads(stated)[0]
    assert record["model"]["name"] == "warm-colors/warm"
    assert (record["model"]["package"], record["model"]["package_version"]) == ("warm-colors", "0.1.0")
    metrics = {metric["name"]: metric["value"] for metric in record["metrics"]}
    assert 50 < metrics["auc_raw"] < 100


def test_its_own_test_passes_and_fails_with_the_model(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_warm.py").write_text((EXAMPLE / "test_warm.py").read_text())
    alone = ["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "test_warm.py"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def tested() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", *alone]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    done = tested()
    assert done.returncode == 0, done.stdout
    (tmp_path / "warm.py").write_text((EXAMPLE / "warm.py").read_text().replace("10.0", "float('nan')"))
    done = tested()
    assert done.returncode == 1
    assert "shape: failed" in done.stdout
    assert "NaN or infinity in ab" in done.stdout


def test_it_conforms_by_its_name(installed: Path, tmp_path: Path) -> None:
    report = json.loads(run(installed, tmp_path, "check", "warm-colors/warm", "--json"))
    outcomes = {finding["name"]: finding["outcome"] for finding in report["findings"]}
    assert "failed" not in outcomes.values()
    assert outcomes["isolated"] == "passed"
