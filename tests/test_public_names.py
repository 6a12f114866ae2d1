"""Public names are there after ``import colorbench`` alone, and cost nothing until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.snapshots import MODULES, PACKAGES

ROOT = Path(__file__).parent.parent
WINGS = ("zoo", "protocols", "leaderboards", "benchmarks", "examples")
PROGRAM = f"""
import sys, colorbench
for package in {PACKAGES!r}:
    __import__(f"colorbench.{{package}}")
assert not {{"torch", "numpy", "pandas"}} & set(sys.modules), "importing the packages is not free"
assert colorbench.color.ab_bins().shape == (313, 2)
assert issubclass(colorbench.errors.RunError, colorbench.errors.UserError)
for name in {MODULES!r}:
    module = sys.modules[name]
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None and public in dir(module), (name, public)
"""


def test_nothing_else_needs_to_be_imported(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_an_unknown_attribute_is_an_attribute_error(name: str) -> None:
    assert not hasattr(import_module(name), "nothing_of_this_name")


def test_every_package_of_the_library_exports_its_names() -> None:
    folders = {path.parent.name for path in (ROOT / "colorbench").glob("[!_]*/__init__.py")}
    assert folders == set(PACKAGES)


def test_a_function_is_not_hidden_by_the_module_of_its_name() -> None:
    program = """
import colorbench.metrics.auc, colorbench.metrics.psnr
from colorbench.metrics import auc, psnr
assert callable(auc) and callable(psnr)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_a_module_has_too_comes_from_that_module(package: str) -> None:
    # Whoever imports the module would otherwise find it under the name of the function.
    folder = ROOT / "colorbench" / package
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    lines = [
        node for node in ast.walk(ast.parse((folder / "__init__.pyi").read_text())) if isinstance(node, ast.ImportFrom)
    ]
    names = [(alias.name, line.module) for line in lines for alias in line.names if line.module is not None]
    assert [name for name, module in names if name in modules and name != module] == []


def private_imports(source: str) -> list[str]:
    """Modules below a package of colorbench that some source names in an import."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
            if node.module == "colorbench" or node.module.startswith("colorbench."):
                public = set(getattr(import_module(node.module), "__all__", None) or vars(import_module(node.module)))
                if node.module == "colorbench":
                    public |= {"errors", *PACKAGES}
                names += [f"{node.module}..{alias.name}" for alias in node.names if alias.name not in public]
        else:
            continue
        found += [name for name in names if name.startswith("colorbench.") and name.count(".") > 1]
    return found


@pytest.mark.parametrize(
    ("source", "private"),
    [
        ("from colorbench.evaluation import ProtocolSpec", False),
        ("from colorbench import run, metrics", False),
        ("import colorbench.stats", False),
        ("from colorbench.evaluation.image_pass import run_pass", True),
        ("def f():\n    from colorbench.evaluation import engine", True),
        ("import colorbench.evaluation.image_pass as e", True),
        ("from colorbench import _api", True),
    ],
)
def test_private_imports_are_found(source: str, private: bool) -> None:
    assert bool(private_imports(source)) == private


@pytest.mark.parametrize("wing", WINGS)
def test_wings_import_public_names_only(wing: str) -> None:
    files = sorted((ROOT / wing).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): private_imports(path.read_text(encoding="utf-8")) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


INTERNALS = {
    # Parts of `verify --rerun` and of comparisons, where a stub of the user's side would test less.
    "protocols/human_study/test_analysis.py": {"results.saved_image_index"},
    "protocols/test_semantic.py": {"reporting.classifier_agreement"},
    "zoo/test_export.py": {"models.onnx_contract"},
    # What a verb prints as JSON, without a process for each.
    "evaluation/test_reuse.py": {"cli.show"},
    "data/test_folder_walk.py": {"cli.colorized_files"},
    "leaderboards/test_board.py": {"cli..command_group"},
    "cli/test_check.py": {"testing.check_any_kind", "testing.check_report"},
    # Calls of a model as a run makes them, with models that break their promises.
    "evaluation/test_first_image_checks.py": {"models.networks"},
    "cli/test_colorize_old_photographs.py": {"evaluation.full_size_colorization", "data.image_tint"}
    | {"evaluation..full_size_colorization"},
    "models/test_foreign_code.py": {"evaluation.predict"},
    "models/test_prediction_units.py": {"evaluation.predict"},
    "evaluation/test_image_pass.py": {"models.sampled_and_guided_predictions"},
    "protocols/test_diversity.py": {"evaluation.predict", "evaluation..image_pass"},
    "protocols/test_hints.py": {"evaluation.predict", "models.sampled_and_guided_predictions", "models.revealed_colors"}
    | {"reporting.record_plots", "results.rows_parquet", "verification.recomputed_metrics"},
    # Files of a cache, and a child process that runs several protocols.
    "storage/test_cached_json.py": {"data.dataset_hashes"},
    "evaluation/test_launches_of_protocols.py": {"_api.score"},
    # Random input to the readers of every package.
    "fuzzing/test_readers.py": {
        "data.image_decoding",
        "data.input_manifest",
        "data.sources.lists_and_labels",
        "models.onnx_contract",
        "models.weights_files",
        "results.rows_parquet",
        "results.saved_image_index",
        "storage.safe_reading",
    },
    # Stored bytes, keys and hashes.
    "evaluation/test_memory.py": {"results.shard"},
    "evaluation/test_run_again.py": {"results.saved_image_index"},
    "evaluation/test_run_directory.py": {"data.dataset_hashes", "results.run_key", "results.shard"},
    "models/test_fingerprint.py": {"storage.source_code_hashes"},
    "models/test_stored_prediction_checks.py": {"reporting.record_remarks"},
    "training/test_settings.py": {"color.prior"},
    # Support of tests replaces or builds these.
    "support/board.py": {"results.metric_spec"},
    "support/normal.py": {"stats..absolute_difference"},
    "support/training.py": {"training..checkpoint"},
}
"""Tests that import private modules of another package than their own; none is to be added."""


def test_tests_of_other_packages_import_public_names_only() -> None:
    # Tests in tests/PACKAGE are unit tests and may import all of colorbench.PACKAGE; those beside the folders test the
    # whole. Modules beside the packages (errors, registry) are open to all.
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").glob("*/**/*.py")):
        name = path.relative_to(ROOT / "tests").as_posix()
        names = {one.removeprefix("colorbench.") for one in private_imports(path.read_text(encoding="utf-8"))}
        own = f"{path.relative_to(ROOT / 'tests').parts[0]}."
        if others := {one for one in names if not one.startswith((own, "."))} - INTERNALS.get(name, set()):
            found[name] = others
    assert found == {}
    assert {name for name in INTERNALS if not (ROOT / "tests" / name).is_file()} == set()
