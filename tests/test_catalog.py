"""What packages say of their plugins in ``colorbench.json``: it spares importing them, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from colorbench import description_files, plugin_descriptions
from colorbench.cli.show import describe
from colorbench.errors import UserError
from colorbench.evaluation import get_protocol
from colorbench.registry import Plugin, registered


def test_the_list_imports_neither_torch_nor_a_plugin_that_ships(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom colorbench.cli import app\n"
        "done = CliRunner().invoke(app, ['list', '--json'])\nassert done.exit_code == 0, done.output\n"
        "import colorbench\nassert 'zoo/cic.small' in colorbench.list_models('zoo/*')\n"
        "assert 'auc' in colorbench.list_protocols() and colorbench.list_datasets()[0] == 'samples'\n"
        "assert colorbench.list_models('*.untrained') == ['zoo/cic.untrained', 'zoo/l2.untrained']\n"
        "print([name for name in ('torch', 'numba', 'zoo.cic', 'protocols.auc') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("kind", ["models", "protocols"])
def test_every_plugin_that_ships_is_in_a_file(kind: Any) -> None:
    for plugin in registered(kind):
        if plugin.distribution == "colorbench":
            assert description_files.stored_description(plugin) is not None, plugin.name


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a package's plugins, with a file of this content."""

    def rows(content: str) -> list[dict[str, Any]]:
        folder = tmp_path / "some_colors"
        folder.mkdir()
        (folder / "__init__.py").write_text(
            "from colorbench.models import ModelCard\n\n\nclass Warm:\n    card = ModelCard(title='as imported')\n"
        )
        (folder / description_files.FILE).write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "some_colors", raising=False)
        plugin = Plugin("models", "some/warm", "some", "1", EntryPoint("warm", "some_colors:Warm", "colorbench.models"))
        monkeypatch.setattr("colorbench.registry.registered", lambda kind: (plugin,))
        return plugin_descriptions.listed("models")

    return rows


def test_a_strangers_file_is_read(package: Callable[[str], list[dict[str, Any]]]) -> None:
    about = {"title": "warm", "role": "competitor", "tags": {"large": "the large one", "small": "the small one"}}
    assert package(json.dumps({"models": {"warm": about}})) == [
        {"name": "some/warm.large", "role": "competitor", "title": "the large one", "default_of": "some/warm"},
        {"name": "some/warm.small", "role": "competitor", "title": "the small one"},
    ]
    assert "some_colors" not in sys.modules


@pytest.mark.parametrize("details", [{"": {"name": "some/warm"}}, {"": 3}, {}, {"small": {"name": "a", "title": "b"}}])
def test_details_that_are_incomplete_are_as_none(
    details: dict[str, Any], package: Callable[[str], list[dict[str, Any]]]
) -> None:
    rows = package(json.dumps({"models": {"warm": {"title": "warm", "role": "competitor", "details": details}}}))
    assert rows == [{"name": "some/warm", "role": "competitor", "title": "warm"}]
    assert plugin_descriptions.stored_details("models", "some/warm") is None


def test_details_of_a_stranger_are_read_with_the_version_of_the_package(
    package: Callable[[str], list[dict[str, Any]]],
) -> None:
    details = {"": {"name": "some/warm", "title": "warm", "package": "some"}}
    package(json.dumps({"models": {"warm": {"title": "warm", "details": details, "results": {"": {"auc": "70"}}}}}))
    assert plugin_descriptions.stored_details("models", "some/warm") == {**details[""], "package": "some 1"}
    assert plugin_descriptions.results_of("some/warm") == {"": {"auc": "70"}}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"models": 3}', '{"models": {"warm": 3}}', '{"models": {"other": {}}}',
     '{"models": {"warm": {"title": 3}}}', '{"models": {"warm": {"title": "x", "tags": ["a"]}}}',
     '{"models": {"warm": {"role": "competitor"}}}'],
)  # fmt: skip
def test_a_file_that_says_nothing_is_as_none(content: str, package: Callable[[str], list[dict[str, Any]]]) -> None:
    assert package(content) == [{"name": "some/warm", "role": "competitor", "title": "as imported"}]


@pytest.mark.parametrize(
    ("metric", "protocols"),
    [
        ("psnr", ["fidelity"]),
        ("SSIM", ["fidelity"]),
        ("lpips", ["fidelity"]),
        ("colorfulness", ["fidelity"]),
        ("fid", ["distribution"]),
        ("kid", ["distribution"]),
        ("spread", ["diversity"]),
        ("top1", ["linear-probe", "semantic", "transfer-classification"]),
        ("fooling-rate", ["human-study"]),
    ],
)
def test_the_name_of_a_metric_leads_to_its_protocol(metric: str, protocols: list[str]) -> None:
    with pytest.raises(UserError) as error:
        get_protocol(metric)
    assert error.value.hint is not None and f"{', '.join(protocols)} measure" in error.value.hint
    with pytest.raises(UserError, match=f"colorbench show {protocols[0]}"):
        describe(metric)


def test_another_name_leads_to_no_protocol() -> None:
    assert all(description_files.metric_hint(name) is None for name in ("", "of", "nonsense", "zoo/cic"))
