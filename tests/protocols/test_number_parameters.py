"""Parameters that are numbers, in every protocol: other text gets one line, whatever its characters or length."""

from __future__ import annotations

from typing import Any

import pytest

from colorbench.data import Dataset
from colorbench.errors import UserError
from protocols.diversity import DiversityProtocol
from protocols.fidelity import FidelityProtocol
from protocols.hints import HintsProtocol
from protocols.linear_probe.protocol import LinearProbeProtocol, resolve
from protocols.number_parameters import integer_parameter, number_parameter
from protocols.transfer import TransferClassificationProtocol
from protocols.transfer.fine_tuning import numbers
from protocols.transfer.transfer_training import LIMITS

NOTHING = Dataset("nothing", ())
NO_INTEGER = ("", "x", "1.5", "-1", "²", "٣", "1e3", "+1", "1 1", "9" * 5000)
NO_NUMBER = ("", "x", "nan", "inf", "-1", "1e999", "9" * 5000)


def tuning(given: dict[str, str]) -> dict[str, float]:
    parameters = {name: str(value) for name, value in TransferClassificationProtocol.spec.parameters.items()}
    return numbers({**parameters, **given}, TransferClassificationProtocol.spec.name, LIMITS)


def resolved(protocol: Any, **given: str) -> Any:
    if isinstance(protocol, LinearProbeProtocol):  # it has no scorer
        return resolve(protocol.spec, given, NOTHING)
    return protocol.resolve(given, NOTHING)


@pytest.mark.parametrize("text", NO_INTEGER)
@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (DiversityProtocol(), "samples"),
        (DiversityProtocol(), "best"),
        (HintsProtocol(), "counts"),
        (HintsProtocol(), "size"),
        (HintsProtocol(), "seed"),
        (FidelityProtocol(), "border"),
        (FidelityProtocol(), "patch"),
        (LinearProbeProtocol(), "dims"),
        (LinearProbeProtocol(), "seeds"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.spec.name,
)
def test_other_text_is_no_integer(protocol: Any, name: str, text: str) -> None:
    with pytest.raises(UserError, match=f"{protocol.spec.name}.{name} cannot be ") as caught:
        resolved(protocol, **{name: f"0,{text},5" if name == "counts" else text})
    assert len(str(caught.value).splitlines()) == 1
    assert "integer" in (caught.value.hint or "")


@pytest.mark.parametrize("text", NO_NUMBER)
def test_other_text_is_no_number(text: str) -> None:
    with pytest.raises(UserError, match="fidelity.cf_minimum cannot be "):
        resolved(FidelityProtocol(), cf_minimum=text)
    with pytest.raises(UserError, match="linear-probe.weight_decay cannot be "):
        resolved(LinearProbeProtocol(), weight_decay=text)
    with pytest.raises(UserError, match="of 1e-08 to 10"):
        tuning({"learning_rate": text})


def test_numbers_within_the_limits_are_taken() -> None:
    assert integer_parameter("p", "n", "08", 1, 8) == 8
    assert integer_parameter("p", "n", "9" * 18, 0) == 10**18 - 1
    assert number_parameter("p", "n", "-2.5") == -2.5
    assert number_parameter("p", "n", "1e-3", 0, 1) == 1e-3
    with pytest.raises(UserError) as caught:
        integer_parameter("p", "n", "9", 1, 8)
    assert "of 1 to 8" in str(caught.value)


def test_equal_numbers_are_one_identity() -> None:
    plain, padded = (resolved(DiversityProtocol(), samples=text).identity for text in ("8", "08"))
    assert plain == padded
