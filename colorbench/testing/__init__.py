"""Checks, fakes and references for the tests of a plugin.

One line checks all that colorbench relies on of a colorizer, in a few seconds on a CPU:

    from colorbench.testing import check_colorizer

    def test_conforms():
        check_colorizer(MyModel()).raise_for_failures()

``check_protocol`` and ``check_dataset`` do the same for the other kinds, ``check`` recognizes the kind, and
``colorbench check NAME`` is the same on the command line. ``fake_model``, ``fake_dataset`` and ``make_record`` are
small stand-ins; ``oracles`` are slow float64 references to test a metric against.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of `typing`, which costs more than all of this file
if TYPE_CHECKING:
    from typing import Any

    from colorbench.testing import oracles
    from colorbench.testing.kinds import check
    from colorbench.testing.dataset_checks import check_dataset
    from colorbench.testing.colorizer_checks import check_colorizer
    from colorbench.testing.protocol_checks import check_protocol
    from colorbench.testing.fakes import FakeColorizer, fake_dataset, fake_model, make_record
    from colorbench.testing.report import CheckFinding, CheckReport, ConformanceError

_MODULES = {
    "CheckFinding": "report",
    "CheckReport": "report",
    "ConformanceError": "report",
    "FakeColorizer": "fakes",
    "check": "kinds",
    "check_colorizer": "colorizer_checks",
    "check_dataset": "dataset_checks",
    "check_protocol": "protocol_checks",
    "fake_dataset": "fakes",
    "fake_model": "fakes",
    "make_record": "fakes",
}
"""Public name -> module that has it. No module has a public name, which its import would replace."""
__all__ = [
    "CheckFinding",
    "CheckReport",
    "ConformanceError",
    "FakeColorizer",
    "check",
    "check_colorizer",
    "check_dataset",
    "check_protocol",
    "fake_dataset",
    "fake_model",
    "make_record",
    "oracles",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "oracles":
        return import_module("colorbench.testing.oracles")
    if name in _MODULES:
        return getattr(import_module(f"colorbench.testing.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'colorbench.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
