"""``colorbench list`` and ``colorbench show``: everything installed, in full, the broken with its reason."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from colorbench import registry
from colorbench.cli import app
from colorbench.models import ModelCard, load_model, model_factory, tags_of
from colorbench.registry import Plugin, registered
from colorbench.results import record_text

MODELS = [plugin.name for plugin in registered("models")]
PROTOCOLS = [plugin.name for plugin in registered("protocols")]


def card_of(name: str) -> ModelCard:
    """The card of a model; that of its class, where its weights would have to be downloaded."""
    card = getattr(model_factory(name), "card", None)
    return card if isinstance(card, ModelCard) else load_model(name).card


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def listed() -> dict[str, list[dict[str, object]]]:
    return json.loads(invoke("list", "--json").stdout)


def test_every_model_is_listed_with_its_role_and_tags(listed) -> None:
    rows = {row["name"]: row for row in listed["models"]}
    assert {"zoo/gray", "zoo/constant", "zoo/ground-truth", "zoo/cic.small", "zoo/cic.untrained"} <= set(rows)
    for model in MODELS:
        names = [f"{model}.{tag}" for tag in tags_of(model_factory(model))] or [model]
        for name in names:
            assert rows[name]["role"] == card_of(name).role
    assert rows["zoo/cic.small"]["default_of"] == "zoo/cic"


def test_models_stand_before_baselines_and_these_before_references(listed) -> None:
    order = [row["role"] for row in listed["models"]]
    assert list(dict.fromkeys(order)) == ["competitor", "baseline", "reference"]
    assert order == sorted(order, key=["competitor", "baseline", "reference"].index)


def test_protocols_are_listed_with_version_and_presets(listed) -> None:
    rows = {row["name"]: row for row in listed["protocols"]}
    assert set(rows) == set(PROTOCOLS)
    assert "auc@cic2016" in rows["auc"]["presets"]
    assert rows["fidelity"]["version"] == 2


def test_the_list_reads_well_when_piped() -> None:
    text = invoke("list").stdout
    assert "zoo/cic.small" in text
    assert "the default" in text
    assert "samples" in text
    assert max(map(len, text.splitlines())) <= 110
    assert "\x1b" not in text


def test_a_broken_plugin_is_listed_with_its_error_and_breaks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.registered
    broken = [
        Plugin(kind, f"other/{kind}", "other", "1.0", EntryPoint("x", f"no_such_{kind}:X", f"colorbench.{kind}"))
        for kind in ("models", "protocols", "datasets")
    ]
    monkeypatch.setattr(
        registry, "registered", lambda kind: (*real(kind), *(plugin for plugin in broken if plugin.kind == kind))
    )
    found = json.loads(invoke("list", "--json").stdout)
    for kind in ("models", "protocols", "datasets"):
        (row,) = (row for row in found[kind] if row["name"] == f"other/{kind}")
        assert f"No module named 'no_such_{kind}'" in row["error"]
    assert "zoo/gray" in {row["name"] for row in found["models"]}
    text = " ".join(invoke("list").stdout.split())
    assert "other/models broken other/models cannot be imported: ModuleNotFoundError" in text


@pytest.mark.parametrize("name", MODELS)
def test_a_models_card_is_shown_in_full(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    card = card_of(name)
    about = json.loads(invoke("show", name, "--json").stdout)
    assert about["name"].startswith(name)
    for field, value in card.model_dump(exclude_defaults=True, mode="json").items():
        assert about[field.replace("_", " ")] == value
    text = invoke("show", name).stdout
    assert about["name"] in text
    assert card.title in text
    assert "{'" not in text, "facts are text, not Python"


def test_show_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("colorbench.models.weights_download.fetch", None)
    about = json.loads(invoke("show", "zoo/eccv16", "--json").stdout)
    assert "not in the cache" in about["weights"] and "https://" in about["weights"]
    assert set(about["tags"]) == {"released", "random"}
    assert "random initialization" in json.loads(invoke("show", "zoo/siggraph17.random", "--json").stdout)["title"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_shown_in_full(name: str) -> None:
    spec = registry.find("protocols", name).load().spec
    about = json.loads(invoke("show", name, "--json").stdout)
    assert set(about["parameters"]) == set(spec.parameters)
    assert set(about["metrics"]) == {metric.name for metric in spec.metrics}
    assert [key for key, message in about["metrics"].items() if "Primary metric" in message] == [spec.headline]
    text = invoke("show", name).stdout
    for metric in spec.metrics:
        assert metric.name in text


def test_a_preset_shows_its_own_values() -> None:
    about = json.loads(invoke("show", "auc@exact", "--json").stdout)
    assert about["parameters"]["convention"].startswith("exact")


def test_every_preset_that_is_listed_is_shown() -> None:
    rows = json.loads(invoke("list", "--json").stdout)["protocols"]
    names = [name for row in rows for name in row["presets"]]
    assert "human-study@cic2016" in names and "linear-probe@released" in names
    for name in names:
        done = invoke("show", name, "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["name"] == name


def test_the_samples_are_named() -> None:
    assert "astronaut.png" in invoke("show", "samples").stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aucc", "Did you mean auc?"),
        ("gray", "Did you mean zoo/gray?"),
        ("zoo/garay", "Did you mean zoo/gray?"),
        ("zoo/cic.large", "zoo/cic has no tag 'large'. It has small"),
        ("auc@nonsense", "protocol auc has no preset 'nonsense'. Known: auc@cic2016"),
        ("human-study@x", "protocol human-study has no preset 'x'. Known: human-study@cic2016"),
        ("auc@", "protocol auc has no preset ''"),
        ("semantic@x", "protocol semantic has no preset 'x'. It has none"),
        ("fidelity@ct", "protocol fidelity has no preset 'ct'. Did you mean `fidelity@ct2`?"),
        ("fidelity@DDcolour", "protocol fidelity has no preset 'DDcolour'. Did you mean `fidelity@ddcolor`?"),
        ("ctest10", "Did you mean ctest10k?"),
        ("qqqq", "`colorbench list` shows all"),
    ],
)
def test_an_unknown_name_is_one_line_with_a_suggestion(name: str, message: str) -> None:
    done = invoke("show", name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_record_shows_its_numbers_as_tables_do(make_record: Any, tmp_path: Path) -> None:
    record = make_record()
    metrics = [
        record.metrics[0].model_copy(update={"value": 86.4026862250434, "unit": "%", "ci_low": 84.98, "ci_high": 87.6}),
        record.metrics[1].model_copy(update={"value": None, "ci_low": None, "ci_high": None}),
    ]
    (tmp_path / "record.json").write_text(record_text(record.model_copy(update={"metrics": metrics})))
    shown = invoke("show", str(tmp_path)).stdout
    assert f"{metrics[0].name}: 86.40 % [84.98, 87.60]" in shown
    assert f"{metrics[1].name}: –" in shown and "None" not in shown
