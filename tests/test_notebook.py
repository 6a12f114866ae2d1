"""The notebook of ``examples`` runs, and its cells show what they say."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "evaluate.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run all cells, in an empty folder; per cell of code, its last output as HTML, image or text."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    shown = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = [out.get("data", {"text/plain": out.get("text", "")}) for out in cell.outputs]
            shown.append(next((str(one.get(kind)) for one in data for kind in KINDS if kind in one), ""))
    return shown


KINDS = ("text/html", "image/png", "text/plain")


def test_every_cell_runs_and_results_are_tables(outputs: list[str]) -> None:
    tables = [text for text in outputs if "<table" in text]
    assert len(tables) == 4
    assert "auc_rebalanced_stable" in tables[1]
    assert any(text.startswith("iVBOR") for text in outputs)


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
