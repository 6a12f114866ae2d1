"""The registry: what is installed is listed without being imported, and one broken plugin breaks no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from colorbench import registry
from colorbench.errors import UserError
from colorbench.models import load_model

Install = Callable[..., Path]
OWN_MODELS = {
    "zoo/cic",
    "zoo/gray",
    "zoo/mean-color",
    "zoo/constant",
    "zoo/random",
    "zoo/ground-truth",
    "zoo/ground-truth-jpeg95",
    "zoo/half-chroma",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package for this test: what an installer leaves is a module and the metadata beside it."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution: str, lines: str, *, group: str = "models", **modules: str) -> Path:
        metadata = tmp_path / f"{distribution.replace('-', '_')}-1.5.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        (metadata / "entry_points.txt").write_text(f"[colorbench.{group}]\n{lines}\n")
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        return tmp_path

    return put


WARM = """
import torch
from colorbench.models.model_card import ModelCard

class Warm:
    card = ModelCard(title="warm")
    def colorize(self, lightness):
        return torch.full_like(lightness, 10.0).repeat(1, 2, 1, 1)
"""


def names(kind: registry.Kind) -> list[str]:
    return [plugin.name for plugin in registry.registered(kind)]


def test_our_own_models_and_protocols_come_by_the_same_door() -> None:
    assert set(names("models")) >= OWN_MODELS
    assert set(names("protocols")) >= {"auc", "fidelity"}


def test_listing_imports_neither_torch_nor_a_plugin(install: Install, tmp_path: Path) -> None:
    install("costly", "model = costly_module:Model", costly_module="raise SystemExit('imported')")
    program = (
        "import sys; from colorbench.registry import registered\n"
        "print([plugin.name for plugin in registered('models')])\n"
        "print([name for name in ('torch', 'numpy', 'zoo', 'costly_module') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    listed, imported = done.stdout.splitlines()
    assert "costly/model" in listed and "zoo/cic" in listed
    assert imported == "[]"


def test_the_prefix_is_the_name_of_the_package_normalized(install: Install) -> None:
    install("My_Colors", "warm = my_colors:Warm", my_colors=WARM)
    loaded = load_model("my-colors/warm")
    assert (loaded.full_name, loaded.package, loaded.package_version) == ("my-colors/warm", "my-colors", "1.5")


def test_an_editable_install_is_another_model_after_every_edit(install: Install, tmp_path: Path) -> None:
    folder = install("my-colors", "warm = my_colors:Warm", my_colors=WARM)
    about = folder / "my_colors-1.5.dist-info" / "direct_url.json"

    def version() -> str | None:
        return load_model("my-colors/warm").package_version

    about.write_text('{"url": "file:///x", "dir_info": {}}')
    assert version() == "1.5"
    about.write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    first = version()
    assert first is not None and first.startswith("1.5+sha256.")
    (tmp_path / "my_colors.py").write_text(WARM.replace("10.0", "11.0"))
    assert version() != first


def test_protocols_of_others_have_a_prefix_and_their_commands_none(install: Install) -> None:
    install("theirs", "auc = theirs_auc:Auc", group="protocols")
    install("tools", "paint = tools_paint:paint", group="commands")
    assert {"auc", "theirs/auc"} <= set(names("protocols"))
    assert "paint" in names("commands")
    assert registry.find("protocols", "auc").distribution == "colorbench"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library' (line 1 of broken.py)"),
        ("x = 1\nx.y", "AttributeError: 'int' object has no attribute 'y' (line 2 of broken.py)"),
        ("def f(:", "SyntaxError"),
        ("import sys\nsys.exit('bye')", "SystemExit: bye"),
        ("", "AttributeError: module 'broken' has no attribute 'Model'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_and_breaks_no_other(
    install: Install, module: str, message: str
) -> None:
    install("bad-package", "model = broken:Model", broken=module)
    install("good-package", "model = working:Warm", working=WARM)
    problem = registry.find("models", "bad-package/model").error()
    assert problem is not None
    assert message in problem
    assert "package bad-package" in problem
    with pytest.raises(UserError, match="bad-package/model cannot be imported"):
        load_model("bad-package/model")
    assert {"bad-package/model", "good-package/model", "zoo/gray"} <= set(names("models"))
    assert load_model("good-package/model").card.title == "warm"


def test_a_module_that_is_not_there_is_told_without_a_line_of_the_import_system(install: Install) -> None:
    install("bad-package", "model = module_that_is_not_there:Model")
    problem = str(registry.find("models", "bad-package/model").error())
    assert "No module named 'module_that_is_not_there'" in problem
    assert "(line" not in problem


@pytest.mark.parametrize("name", ["a.b", "a/b"])
def test_an_entry_point_with_slash_or_dot_is_shown_as_broken(install: Install, name: str) -> None:
    install("odd", f"{name} = odd_module:Warm", odd_module=WARM)
    (plugin,) = (one for one in registry.registered("models") if one.distribution == "odd")
    assert "must not contain a slash, dot, colon or space" in str(plugin.error())


def test_two_packages_that_claim_one_name_are_both_named(install: Install) -> None:
    # A stranger's package called "zoo" gets our own prefix.
    install("zoo", "gray = their_gray:Warm", their_gray=WARM)
    with pytest.raises(UserError, match=r"zoo/gray is claimed by colorbench .* and by zoo 1\.5: uninstall one"):
        load_model("zoo/gray")
    assert load_model("zoo/constant").package == "colorbench"


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("zoo/garay", "zoo/gray"),
        ("zoo/cci", "zoo/cic"),
        ("zo/half-chroma", "zoo/half-chroma"),
        ("x/Constant", "zoo/constant"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(unknown: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"no model '{unknown}'. Did you mean {meant}?"):
        registry.find("models", unknown)


def test_a_name_like_no_other_is_sent_to_the_list() -> None:
    with pytest.raises(UserError, match="`colorbench list` shows all"):
        registry.find("protocols", "qqqqqqqq")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("zoo/cic.small", ("zoo/cic", "small")),
        ("zoo/cic", ("zoo/cic", None)),
        ("a.b/c", ("a.b/c", None)),
        ("Warm.big", ("Warm", "big")),
    ],
)
def test_a_tag_stands_behind_the_last_part(name: str, parts: tuple[str, str | None]) -> None:
    assert registry.split_tag(name) == parts


SHADOWED = (
    "from colorbench.registry import find\n"
    "from colorbench.errors import UserError\n"
    "try:\n    find({kind!r}, {name!r}).load()\n    print('loaded')\n"
    "except UserError as error:\n    print(error)\n"
)


def in_folder(folder: Path, kind: str, name: str) -> str:
    """What happens when a plugin is loaded by a process that looks into ``folder`` first, as ``python -m`` does."""
    program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{SHADOWED.format(kind=kind, name=name)}"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "name", "package"), [("models", "zoo/gray", "zoo"), ("protocols", "auc", "protocols")]
)
def test_a_folder_of_the_users_that_hides_ours_is_named(tmp_path: Path, kind: str, name: str, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    prediction = in_folder(tmp_path, kind, name)
    assert f"{package} shadows colorbench's own package '{package}' ({tmp_path.resolve() / package})" in prediction
    assert "Rename it, or start colorbench from another folder" in prediction


def test_a_file_of_the_users_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").touch()
    assert f"zoo.py shadows colorbench's own package 'zoo' ({tmp_path.resolve() / 'zoo.py'})" in in_folder(
        tmp_path, "models", "zoo/gray"
    )


def test_a_folder_of_that_name_without_code_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()  # images of a zoo, say
    program = "from colorbench.registry import _refuse_shadow; _refuse_shadow('zoo'); print('not in the way')"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "not in the way\n", done.stderr


@pytest.mark.parametrize("kind", ["models", "protocols", "datasets", "commands"])
def test_every_entry_point_of_ours_can_be_loaded(kind: registry.Kind) -> None:
    ours = [plugin for plugin in registry.registered(kind) if plugin.distribution == registry.OWN]
    declared = [
        p for p in entry_points(group=f"colorbench.{kind}") if p.dist is not None and p.dist.name == registry.OWN
    ]
    assert len(ours) == len(declared)
    assert {plugin.name: plugin.error() for plugin in ours} == {plugin.name: None for plugin in ours}
