"""The performance suite prints its table; only that it works is tested here, not how fast anything is."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import main


def test_the_table_of_one_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--limit", "2", "--only", "PSNR"])
    lines = capsys.readouterr().out.splitlines()
    assert "GFLOP/s" in lines[0]
    assert lines[1].split()[:2] == ["what", "alternative"]
    rows = [line for line in lines if line.startswith("PSNR")]
    assert [row.split()[4] for row in rows] == ["scikit-image", "torchmetrics"]
    assert all("% memory" in row for row in rows)
