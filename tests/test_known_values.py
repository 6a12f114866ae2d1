"""No number moves without a new version: every protocol gives the values of ``known_values.json``."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from colorbench.evaluation import get_protocol
from colorbench.registry import OWN, registered
from tests import known_values
from tests.known_values import CASES, STORED

TABLE = json.loads(STORED.read_text())
OWN_PROTOCOLS = [plugin.name for plugin in registered("protocols") if plugin.distribution == OWN]
MADE_BY_BUILDING = "human-study"
"""Its presets and parameters describe how a study is built; its numbers come from responses."""
EQUIVALENT = {("linear-probe", "classifier", "auto"), ("transfer-classification", "rule", "auto")}
"""Values that are replaced by another one before anything is computed."""


@pytest.mark.parametrize("protocol", OWN_PROTOCOLS)
def test_numbers_are_those_of_their_version(protocol: str) -> None:
    found = known_values.computed(tuple(case for case in CASES if case.plain == protocol))
    moved = list(known_values.differences(TABLE, found))
    hint = "raise the version of the protocol, then run python tests/known_values.py"
    assert moved == [], "\n".join([*moved, hint])


@pytest.mark.parametrize("protocol", OWN_PROTOCOLS)
def test_every_version_metric_preset_and_choice_has_values(protocol: str) -> None:
    spec = get_protocol(protocol).spec
    entry = TABLE.get(protocol, {}).get(str(spec.version))
    assert entry is not None, f"{protocol} version {spec.version} has no values: run python tests/known_values.py"
    candidate = [case for case in CASES if case.plain == protocol]
    assert {case.name for case in candidate} <= set(entry["cases"])
    valued = {
        name
        for models in entry["cases"].values()
        for metrics in models.values()
        for name, facts in metrics.items()
        if facts["value"] is not None
    }
    assert {metric.name for metric in spec.metrics} <= valued
    if protocol != MADE_BY_BUILDING:
        presets = {f"{protocol}@{name.rpartition('@')[2]}" for name in spec.presets}
        assert presets <= {case.protocol for case in candidate}
    # Each value that a parameter may have, be it by default, by a preset or by a case.
    for parameter, choices in spec.choices.items():
        tried = {
            str({**spec.parameters, **spec.presets.get(case.protocol, {}), **case.parameters}[parameter])
            for case in candidate
        }
        missing = {value for value in choices if (protocol, parameter, value) not in EQUIVALENT} - tried
        assert not missing, f"no case has {parameter}={missing}"


ONE = ("cases", "psnr_infinite=drop", "zoo/ground-truth")


def entry_of(values: dict[str, Any], metric: str) -> dict[str, Any]:
    """What is known of one metric of the only case."""
    (entry,) = values["fidelity"].values()
    for key in (*ONE, metric):
        entry = entry[key]
    return entry


def test_a_number_that_moves_is_named_and_never_overwritten() -> None:
    found = known_values.computed(tuple(case for case in CASES if case.name == ONE[1]))
    (version,) = found["fidelity"]
    changed = copy.deepcopy(found)
    entry_of(changed, "ciede2000")["value"] += 2e-5
    (line,) = known_values.differences(found, changed)
    assert "ciede2000 was" in line and f"fidelity version {version}" in line
    assert known_values.added(found, changed) == found
    entry_of(changed, "ciede2000")["value"] -= 1.5e-5
    assert list(known_values.differences(found, changed)) == []
    # A new version is added beside the old one.
    raised = {"fidelity": {"999": changed["fidelity"][version]}}
    (line,) = known_values.differences(found, raised)
    assert "version 999 has no values" in line
    assert known_values.added(found, raised)["fidelity"].keys() == {version, "999"}
    # So is a new method of an interval; an interval that moves under its old name is named.
    old, new = copy.deepcopy(found), copy.deepcopy(found)
    entry_of(old, "cf_hs")["intervals"] = {"bootstrap": [1.0, 2.0]}
    entry_of(new, "cf_hs")["intervals"] = {"bootstrap": [1.0, 2.1]}
    (line,) = known_values.differences(old, new)
    assert "interval of cf_hs was [1.0, 2.0], is [1.0, 2.1]" in line
    entry_of(new, "cf_hs")["intervals"] = {"better": [1.0, 2.1]}
    (line,) = known_values.differences(old, new)
    assert "no interval of cf_hs by 'better' is stored" in line
    assert entry_of(known_values.added(old, new), "cf_hs")["intervals"].keys() == {"bootstrap", "better"}
