"""Datasets of a run have the roles that its protocols need, and no others."""

from __future__ import annotations

import pytest

from colorbench.errors import UserError
from colorbench.evaluation.requested_models_and_protocols import check_roles, get_protocol


@pytest.mark.parametrize(
    ("roles", "protocol"), [({"train"}, "auc"), ({"test", "train"}, "auc"), ({"test"}, "linear-probe")]
)
def test_roles_that_do_not_fit_the_protocol_are_refused(roles: set[str], protocol: str) -> None:
    with pytest.raises(UserError, match=protocol):
        check_roles(roles, [get_protocol(protocol)])


def test_roles_that_fit_are_accepted() -> None:
    check_roles({"test"}, [get_protocol("auc")])
    check_roles({"test", "train"}, [get_protocol("linear-probe"), get_protocol("auc")])
