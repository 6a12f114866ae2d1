"""The model keeps all that colorbench relies on."""

from warm import Warm

from colorbench.testing import check_colorizer


def test_conforms() -> None:
    """Every check passes, or is skipped with a reason."""
    check_colorizer(Warm).raise_for_failures()
