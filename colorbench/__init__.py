"""colorbench: evaluation, benchmarking and a reference model zoo for automatic image colorizers.

    import colorbench
    record = colorbench.run("zoo/cic", "auc", "my-images/")

Importing the package imports no torch; what is used is loaded on first use.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of `typing`, which costs more than all of this file
if TYPE_CHECKING:
    from typing import Any

    from colorbench import color, errors, metrics
    from colorbench._api import run
    from colorbench.models.loading import load_model

__all__ = ["__version__", "color", "errors", "load_model", "metrics", "run"]
_PACKAGES = ("color", "errors", "metrics")
"""Parts that need no import of their own: ``colorbench.color.ab_bins()``."""


def __getattr__(name: str) -> Any:
    if name in ("run", "load_model"):
        from colorbench import _api

        return getattr(_api, name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("colorbench")
        except PackageNotFoundError:  # a checkout on the path that was never installed
            return "unknown"
    if name in _PACKAGES:
        from importlib import import_module

        return import_module(f"colorbench.{name}")
    raise AttributeError(f"module 'colorbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
