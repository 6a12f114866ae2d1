"""Figures of the guides that show commands and what they print, as SVG; ``docs/page_images.py`` calls them."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

DOCS = Path(__file__).resolve().parent
WIDTH = 96
"""Columns of the terminal: about the widest that can be read in the column of a page."""
TINTED = """import torch
from colorbench.models import ModelCard


class Tinted(torch.nn.Module):
    card = ModelCard(title="one tint", license="CC0-1.0")

    def __init__(self):
        super().__init__()
        self.tint = torch.nn.Parameter(torch.tensor([[[[{a}]], [[{b}]]]]))

    def colorize(self, lightness):
        return {body}
"""
"""A model in a file, with its weights and its last line to fill in."""


NOT_FOUND = 127
"""Exit code of a shell for a command that does not exist."""


def terminal(name: str, commands: Sequence[str], folder: Path) -> None:
    """Run commands in a folder, and write them with their output."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=WIDTH, file=io.StringIO(), legacy_windows=False)
    for command in commands:
        console.print(Text(f"$ {command}", style="bold #7ee787"))
        environment = {**os.environ, "COLUMNS": str(WIDTH), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode == NOT_FOUND:
            raise RuntimeError(f"{done.stderr.strip()}: put the environment's commands on the PATH")
        for line in (done.stdout + done.stderr).rstrip().splitlines():
            bad = re.search(r"\b(FAILED|failed)\b", line)
            console.print(Text(line.rstrip(), style="bold #ff9492" if bad else ""))
    console.print()  # the last line would be cut off below
    svg = console.export_svg(title="", unique_id=name)
    # No fonts from elsewhere, which a page must not request; the width of each text is in the file.
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg).replace("Fira Code, monospace", "monospace")
    (DOCS / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


def packaged_folder(folder: Path) -> Path:
    """Write five packaged images to ``images``, and return that folder."""
    import skimage.data

    (folder / "images").mkdir(parents=True)
    for name in ("astronaut", "cat", "coffee", "retina", "rocket"):
        image = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
        image.resize((300, 200)).save(folder / "images" / f"{name}.png")
    return folder / "images"


def dataset(_: Any, folder: Path) -> None:
    """Write ``add-a-dataset``: the check of a folder with four faults."""
    images = packaged_folder(folder / "dataset")
    (images / "train").mkdir()
    shutil.copy(images / "rocket.png", images / "train" / "rocket.png")
    Image.open(images / "coffee.png").convert("L").save(images / "cup.png")
    shutil.copy(images / "retina.png", images / "eye.jpg")
    Image.open(images / "cat.png").resize((24, 16)).save(images / "icon.png")
    terminal("add-a-dataset", ["colorbench check images"], images.parent)


def plugin(_: Any, folder: Path) -> None:
    """Write ``testing-a-plugin``: the check of a model that gives normalized ab."""
    (folder / "plugin").mkdir()
    text = TINTED.format(a=0.1, b=0.2, body="(self.tint * lightness / 100).tanh()")
    (folder / "plugin" / "tinted.py").write_text(text)
    terminal("testing-a-plugin", ["colorbench check tinted.py:Tinted"], folder / "plugin")


def reuse(_: Any, folder: Path) -> None:
    """Write ``reuse``: what a changed weight does to a stored result."""
    work = packaged_folder(folder / "reuse").parent
    file = work / "tinted.py"
    file.write_text(TINTED.format(a=5.0, b=10.0, body="self.tint.expand(len(lightness), -1, *lightness.shape[2:])"))
    run = "colorbench run -m tinted.py:Tinted -p auc --data images -o runs"
    subprocess.run(run.split(), cwd=work, check=True, capture_output=True)
    show = "colorbench show runs/tinted.py-Tinted/auc/*/"
    terminal("reuse", [show, "sed -i s/10.0/12.0/ tinted.py", show], work)


def verify(_: Any, folder: Path) -> None:
    """Write ``verification``: a record whose value was raised by hand, beside rows that do not give it."""
    work = packaged_folder(folder / "verify").parent
    run = "colorbench run -m zoo/gray -p auc --data images -o runs --no-baselines"
    subprocess.run(run.split(), cwd=work, check=True, capture_output=True)
    (path,) = work.glob("runs/zoo/gray/auc/*/record.json")
    record = json.loads(path.read_text())
    record["metrics"][0]["value"] += 1.0
    path.write_text(json.dumps(record))
    terminal("verification", ["colorbench verify runs/zoo/gray -p auc"], work)


TERMINALS: Mapping[str, Callable[[Any, Path], None]] = {
    "dataset": dataset,
    "plugin": plugin,
    "reuse": reuse,
    "verify": verify,
}
"""Name of a group -> the function that writes it."""
