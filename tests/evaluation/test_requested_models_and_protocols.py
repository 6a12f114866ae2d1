"""Datasets of a run have the roles that its protocols need, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

import colorbench
from colorbench.errors import UserError
from colorbench.evaluation.requested_models_and_protocols import check_roles, get_protocol
from colorbench.models import ColorizerInput, ColorPrediction, ModelCard


@pytest.mark.parametrize(
    ("roles", "protocol"), [({"train"}, "auc"), ({"test", "train"}, "auc"), ({"test"}, "linear-probe")]
)
def test_roles_that_do_not_fit_the_protocol_are_refused(roles: set[str], protocol: str) -> None:
    with pytest.raises(UserError, match=protocol):
        check_roles(roles, [get_protocol(protocol)])


def test_roles_that_fit_are_accepted() -> None:
    check_roles({"test"}, [get_protocol("auc")])
    check_roles({"test", "train"}, [get_protocol("linear-probe"), get_protocol("auc")])


def test_training_hashes_that_cannot_be_read_are_told_before_an_image_is_predicted(tmp_path: Path) -> None:
    class Model:
        card = ModelCard(title="without its file", training_hashes=str(tmp_path / "none.npy"))

        def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
            raise AssertionError("predicted before its card was checked")

    with pytest.raises(UserError, match="hashes of the training images cannot be read"):
        colorbench.run(Model(), "auc", data="samples", output=tmp_path / "runs")
    assert not list(tmp_path.rglob("record.json"))
