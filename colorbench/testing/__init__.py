"""Conformance checks, fakes and slow reference implementations, for the tests of plugins.

One line checks all that colorbench requires of a colorizer, in seconds on a CPU:

    from colorbench.testing import check_colorizer

    def test_conforms():
        check_colorizer(MyModel()).raise_for_failures()

``check_protocol`` and ``check_dataset`` do the same for the other kinds; ``check`` recognizes the kind, as ``colorbench
check NAME`` does on the command line. ``fake_model``, ``fake_dataset`` and ``make_record`` return small test objects,
and ``oracles`` are float64 reference implementations of metrics.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
