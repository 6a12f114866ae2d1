"""Values of a record for tests, as plain data for ``make_record``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def record_values(model: str, n: int, scale: float, title: str, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values of a fake record, which ``Record`` accepts; arguments as ``make_record``."""
    metric = {
        "unit": "%",
        "higher_is_better": True,
        "ci_method": "bootstrap, 95 %",
        "n": n,
        "form": "ratio",
        "comparable": True,
    }
    stable = {"name": "auc_rebalanced_stable", "title": "AuC, rebalanced", "value": 68.123 * scale, "effective_n": 37.0}
    raw = {"name": "auc_raw", "title": "AuC", "value": 90.456 * scale, "effective_n": float(n)}
    return {
        "key": "0" * 16,
        "model": {
            "name": model,
            "package": "colorbench",
            "package_version": "0.1.0",
            "weights_sha256": None,
            "decoding": {"decode": "mean"},
            "card": {"title": title},
        },
        "protocol": {
            "name": "auc",
            "version": 1,
            "parameters": {"prior": "images"},
            "identity": {"prior": "images"},
            "identity_sha256": "1" * 64,
        },
        "dataset": {
            "name": "holiday",
            "n": n,
            "n_evaluated": n,
            "n_gray": 0,
            "gray_policy": "keep",
            "skipped": [],
            "fingerprint": "2" * 64,
            "preprocessing": "squash256",
            "overlap": None,
            "limit": None,
            "redistributable": False,
            **dataset,
        },
        "metrics": [
            {**metric, **raw, "ci_low": 89.5 * scale, "ci_high": 91.5 * scale},
            {**metric, **stable, "ci_low": None, "ci_high": None, "warning": "interval too short"},
        ],
        "differences": []
        if model == "zoo/gray"
        else [
            {
                "metric": "auc_raw",
                "minus": "zoo/gray",
                "value": 1.25,
                "ci_low": 0.75,
                "ci_high": 1.75,
                "ci_method": "paired bootstrap, 95 %",
                "n": n,
            }
        ],
        "curves": [
            {
                "name": "cumulative",
                "title": "Pixels within a color error",
                "x_label": "error",
                "y_label": "share of pixels",
                "x": [0.0, 75.0, 150.0],
                "y": [0.0, 0.8 * scale, 1.0],
            }
        ],
        # As written by the engine.
        "notes": [f"smoke test on {n} images: scores are not meaningful"] if n < 30 else [],
        "execution": {
            "seed": 0,
            "device": "cpu",
            "dtype": "float32",
            "threads": 1,
            "batch_size": 8,
            "workers": 0,
            "processes": 1,
            "deterministic": True,
            "seconds": 2.0,
            "images_per_second": 50.0,
            "stage_seconds": {"decode": 1.0},
        },
        "provenance": {
            "colorbench_version": "0.1.0",
            "git_commit": None,
            "git_dirty": None,
            "packages": {},
            "python": "3.11.0",
            "platform": "Linux",
            "command": ["colorbench", "run"],
            "time": "2026-01-02T03:04:05Z",
        },
        "files": {"rows": "3" * 64, "arrays": {}, "saved_images": {}},
    }
