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
from colorbench.plugin_descriptions import stored_details
from colorbench.registry import Plugin, registered
from colorbench.results import read_record, record_text
from tests.snapshots import ROOT, details_as_installed
from tests.support.loaded_modules import loaded_modules

RECORDS = ROOT / "leaderboards" / "reference" / "records"

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
    assert "not in the cache" in about["weights"] and about["download"].startswith("https://")
    assert set(about["tags"]) == {"released", "random"}
    assert "random initialization" in json.loads(invoke("show", "zoo/siggraph17.random", "--json").stdout)["title"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_shown_in_full(name: str) -> None:
    spec = registry.find("protocols", name).load().spec
    about = json.loads(invoke("show", name, "--json").stdout)
    assert set(about["parameters"]) == set(spec.parameters)
    assert set(about["metrics"]) == {metric.name for metric in spec.metrics}
    assert [key for key, facts in about["metrics"].items() if facts.get("primary")] == [spec.headline]
    short, text = (invoke("show", name, *more).stdout for more in ((), ("--explain",)))
    assert short.splitlines()[2].split()[0] == "use" and f"--protocol {name}" in short
    for metric in spec.metrics:
        assert metric.name in text and metric.name in short
        assert metric.explanation.split(" ")[0] in text
    assert len(short) < len(text) and short.splitlines()[-1].startswith("`--explain` shows more: ")


def test_a_preset_shows_its_own_values() -> None:
    about = json.loads(invoke("show", "auc@exact", "--json").stdout)
    assert about["parameters"]["convention"]["value"] == "exact"


def test_every_preset_that_is_listed_is_shown() -> None:
    rows = json.loads(invoke("list", "--json").stdout)["protocols"]
    names = [name for row in rows for name in row["presets"]]
    assert "human-study@cic2016" in names and "linear-probe@released" in names
    for name in names:
        done = invoke("show", name, "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["name"] == name


@pytest.mark.parametrize("name", [name for name in MODELS if tags_of(model_factory(name))])
def test_the_readme_of_the_zoo_names_the_tags_that_the_list_shows(name: str, listed) -> None:
    text = (ROOT / "zoo" / "README.md").read_text(encoding="utf-8")
    tags = [str(row["name"]).partition(".")[2] for row in listed["models"] if row["name"].startswith(f"{name}.")]
    lines = [line for line in text.splitlines() if f"`{name}`" in line or f"`{name}." in line]
    assert tags and lines
    for tag in tags[1:]:  # the default needs no tag
        assert any(f"`{tag}`" in line or f"`{name}.{tag}`" in line for line in lines), tag


def names_of_all() -> list[str]:
    """Every model with every tag, and every protocol with every preset."""
    found = json.loads(invoke("list", "--json").stdout)
    models = [row["name"] for row in found["models"]]
    return [*MODELS, *models, *(name for row in found["protocols"] for name in (row["name"], *row["presets"]))]


def test_details_from_the_file_are_those_of_the_imported_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(name: str) -> list[str]:
        return [invoke("show", name, more).stdout for more in ("--explain", "--json")]

    with details_as_installed():
        names = names_of_all()
        stored = {name: shown(name) for name in names}
        monkeypatch.setattr("colorbench.plugin_descriptions.stored_details", lambda kind, name: None)
        imported = {name: shown(name) for name in names}
    assert len(names) > 50 and all(stored[name][0] for name in names)
    assert stored == imported


def test_details_of_downloaded_weights_are_those_of_the_loaded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    monkeypatch.setattr("colorbench.storage.cache_folders.downloaded_file", lambda address: file)
    assert stored_details("models", "zoo/eccv16") is not None
    file.write_bytes(b"not read here")
    assert stored_details("models", "zoo/eccv16") is None
    assert stored_details("models", "zoo/eccv16.random") is not None


@pytest.mark.parametrize("name", ["zoo/cic", "zoo/cic.kmeans", "zoo/gray", "zoo/siggraph17", "auc", "fidelity@ct2"])
def test_show_imports_neither_torch_nor_the_plugin(name: str, tmp_path: Path) -> None:
    code, loaded, printed = loaded_modules(["show", name], tmp_path)
    assert code == 0 and name in printed
    assert loaded.isdisjoint({"torch", "numba", "zoo.cic", "zoo.released", "protocols.auc", "protocols.fidelity"})


def test_a_model_is_shown_by_its_use_first_and_in_full_on_request() -> None:
    short, text = (invoke("show", "zoo/cic", *more).stdout for more in ((), ("--explain",)))
    headings = [line.split("  ")[0] for line in short.splitlines()[2:] if line[:1].isalpha()]
    assert headings[:3] == ["use", "role", "tags"]
    assert "colorbench run --model zoo/cic --protocol auc" in short
    assert "competitor" not in text and "small (the default): " in short
    assert len(short.splitlines()) < 38 and "weight_decay" not in short and "weight_decay" in text
    assert "`--explain` shows more: " in short and "--explain" not in text


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*/*/auc/*/record.json")), ids=lambda path: path.parts[-4])
def test_the_results_of_a_model_are_those_of_the_shipped_record(path: Path) -> None:
    record = read_record(path.parent)
    (metric,) = (one for one in record.metrics if one.name == "auc_rebalanced_stable")
    about = json.loads(invoke("show", record.model.name, "--json").stdout)
    line = about["results"][record.model.name.partition(".")[2]]["auc"]
    assert line.startswith(f"{metric.name} {metric.value:.2f} %") and "650 images" in line
    assert line in " ".join(invoke("show", record.model.name).stdout.split())


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


def test_a_folder_above_results_shows_or_lists_them(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = (Path(f"runs/zoo/cic.small/{protocol}/samples-1") for protocol in ("auc", "fidelity"))
    one.mkdir(parents=True)
    record = make_record()
    (one / "record.json").write_text(record_text(record))
    for name in ("runs", "runs/zoo/cic.small"):
        assert invoke("show", name).stdout == invoke("show", str(one)).stdout
    other.mkdir(parents=True)
    (other / "record.json").write_text(record_text(record))
    shown = invoke("show", "runs/zoo/cic.small")
    assert shown.exit_code == 0 and "2 results" in shown.stdout
    assert str(one) in shown.stdout and str(other) in shown.stdout
    assert json.loads(invoke("show", "runs", "--json").stdout)["results"] == [str(one), str(other)]
