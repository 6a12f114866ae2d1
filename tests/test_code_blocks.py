"""Every code block of README.md and docs/ runs, in reading order, as a reader would type it.

Documents that read what others wrote share a folder with them; the parts run side by side.

Commands go through bash, with ``colorbench`` on the PATH and a home folder that holds a few small real images under
the names that the text uses. Those that cannot run here stand in ``NOT_RUN`` with the reason; their options are checked
against the command line's own parser.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer
from PIL import Image

from colorbench.cli import app
from colorbench.models.onnx_contract import parse_contract
from tests.support.command_server import CommandServer
from tests.support.probe import write_classes
from tests.support.study_responses import METHODS, SENTINEL, make_design, make_study_data, write_study
from tests.support.voc import write_devkit

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")))
PROGRAMS = ("colorbench", "uv", "pip", "torchrun")
"""What an indented block of commands begins with; other indented lines are formulas."""
NOT_RUN = {
    "--group test pytest": "this is that command",
    "torchrun --nproc-per-node": "four GPUs, ImageNet, days; tests/docs/test_cluster.py runs a smaller one",
    "colorbench train zoo/cic": "an hour and a half; tests/training/test_training_run.py trains for a few steps",
    "weights=full/cic.safetensors": "weights of a training of days",
    "study build": "fetches jsPsych from the npm registry; see tests/protocols/human_study/test_design.py",
    "study serve": "serves until it is stopped; tests/protocols/human_study/test_server.py serves and answers",
    "tensorboard --logdir": "serves until it is stopped; tests/training/test_tracking.py reads its files",
    "-p linear-probe": "minutes of fitting; tests/protocols/test_linear_probe.py fits small ones",
    "-p transfer-": "trains for 20 epochs; tests/protocols/test_transfer.py trains for fewer",
    "backend=inception": "downloads a network; tests/protocols/test_inception.py loads one that it makes",
    "resnet50": "downloads a classifier",
    "onnx:ddcolor.onnx": "a network that is not here; tests/models/test_onnx_model.py makes one of its form",
    "docker run": "another program",
    "zoo/eccv16,zoo/gray": "downloads a network, on images of ImageNet",
    "zoo/cic.untrained ...": "the same command again, shortened in the text",
}
"""Part of a command -> why it cannot run here."""


PARTS = {
    "runs of the README": (
        *("README.md", "docs/comparison.md", "docs/evaluate-a-folder.md", "docs/human-study-analysis.md"),
        *("docs/leaderboards.md", "docs/verification.md"),
    ),
    "plugins and boards": (
        *("docs/add-a-dataset.md", "docs/add-a-model.md", "docs/add-a-protocol.md", "docs/linear-probe.md"),
        *("docs/metrics.md", "docs/published-evaluations.md", "docs/python.md", "docs/submit-to-a-board.md"),
        *("docs/testing-a-plugin.md", "docs/tutorial.md"),
    ),
}
"""Name -> documents that run in one folder; each of the others is in the last part, "the others"."""


class Block(NamedTuple):
    """A code block of a document."""

    where: str
    """``README.md:13``."""
    language: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    """Fenced blocks, and indented ones that hold commands."""
    lines = (REPOSITORY / document).read_text(encoding="utf-8").splitlines()
    language, started, held = None, 0, []
    for number, line in enumerate([*lines, ""], start=1):
        fence = re.fullmatch(r"\s*```(\w*)\s*", line)
        if language is not None and fence:
            yield Block(f"{document}:{started}", language, "\n".join(held))
            language, held = None, []
        elif fence:
            language, started = fence[1], number + 1
        elif language is not None:
            held.append(line)
        elif line.startswith("    ") and (held or line.split()[0] in PROGRAMS):
            started = started if held else number
            held.append(line[4:])
        elif held:
            yield Block(f"{document}:{started}", "sh", "\n".join(held))
            held = []
    assert language is None, f"{document}: a code block does not end"


def commands(block: Block) -> list[str]:
    """The commands of a shell block, continued lines joined."""
    return [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip() and line.strip()[0] != "#"]


ALL = [block for document in DOCUMENTS for block in blocks(document)]
OTHERS = tuple(document for document in DOCUMENTS if document not in {name for part in PARTS.values() for name in part})


def typed(command: str) -> str:
    """A command without its comment and spaces that do not matter."""
    return " ".join(shlex.split(command, comments=True))


def first_places() -> dict[str, str]:
    """Each command as typed -> the block where it stands first; it runs there only."""
    found: dict[str, str] = {}
    for block in ALL:
        for command in commands(block) if block.language == "sh" else ():
            found.setdefault(typed(command), block.where)
    return found


def why_not(command: str) -> str | None:
    """Why a command is not run here."""
    return next((reason for part, reason in NOT_RUN.items() if part in " ".join(command.split())), None)


def test_every_block_is_of_a_language_that_is_checked() -> None:
    languages = {"sh", "python", "toml", "bash", "bibtex"}
    assert {block.language for block in ALL} <= languages, [block.where for block in ALL]
    assert len(ALL) >= 17
    text = "\n".join(" ".join(line.split()) for block in ALL for line in commands(block))
    assert [part for part in NOT_RUN if part not in text] == [], "these are in no document any more"


@pytest.mark.parametrize("document", [*DOCUMENTS, "zoo/README.md", "examples/plugin/README.md"])
def test_every_command_has_options_that_there_are(document: str) -> None:
    for block in blocks(document):
        for command in commands(block) if block.language == "sh" else ():
            for arguments in colorbench_arguments(command):
                parse(arguments, f"{block.where}: {command}")


def colorbench_arguments(command: str) -> Iterator[list[str]]:
    """What each ``colorbench`` of a command line is given."""
    message = [word for word in shlex.split(command, comments=True) if word != "..."]
    for position, word in enumerate(message):
        if word == "colorbench" and (position == 0 or message[position - 1] != "-m" or "torchrun" in message):
            rest = message[position + 1 :]
            yield rest[: rest.index("&&")] if "&&" in rest else rest


def parse(arguments: list[str], where: str) -> None:
    """Parse a command line as colorbench does, and run nothing."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("colorbench", [], resilient_parsing=True)
    while True:
        verb = command.get_command(context, arguments[0])
        assert verb is not None, f"{where}: no verb {arguments[0]}"
        command, arguments = verb, arguments[1:]
        if not getattr(command, "commands", None):
            break
    try:
        command.make_context("colorbench", list(arguments))
    except Exception as error:  # the parser's own exceptions are of a library that typer changes between releases
        # Shortened commands ("...") leave out what is required.
        if type(error).__name__ != "MissingParameter" or "..." not in where:
            pytest.fail(f"{where}: {type(error).__name__}: {error}")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder with what the text speaks of, and the programs that it calls."""
    home = tmp_path / "home"
    write_classes(home / "crops", 1, side=64)
    for folder in ("images", "predictions", "old"):
        (home / folder).mkdir()
        for path in (home / "crops").rglob("*.png"):
            image = Image.open(path)
            gray = image.convert("L")
            shown = {"images": image, "predictions": Image.blend(image, gray.convert("RGB"), 0.5), "old": gray}
            shown[folder].save(home / folder / f"{path.parent.name}.{'jpg' if folder == 'old' else 'png'}")
    Image.open(home / "old" / "astronaut.jpg").save(home / "scan.tif")
    (home / "ilsvrc_val").mkdir()
    shutil.copytree(home / "images", home / "ilsvrc_val" / "images")
    (home / "ilsvrc_val" / "labels.csv").write_text(
        "file,class_index\nastronaut.png,834\nchelsea.png,281\ncoffee.png,967\n"
    )
    for part in ("train", "val"):
        write_classes(home / "imagewoof" / part, 4, first=0 if part == "train" else 10)
    for year in ("VOC2007", "VOC2012"):
        write_devkit(home / "VOCdevkit", count=6, year=year)
    design = make_design(participants=6, trials=10, sentinels=1, images=12)
    rates = dict(zip((*METHODS, SENTINEL), (0.4, 0.3, 0.2, 0.1), strict=True))
    write_study(home / "STUDY", design, make_study_data(design, rates))
    programs = home / "bin"
    programs.mkdir()
    for name, script in {
        # `uv run [--extra NAME] PROGRAM ...`, in an environment that has everything.
        "uv": 'shift; while [ "${1#--}" != "$1" ]; do shift 2; done; exec "$@"',
        "pip": '[ "$*" = "install uv" ]',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    server = CommandServer(programs / "colorbench", environment_of(home))
    yield home
    server.close()


def environment_of(home: Path) -> dict[str, str]:
    """The environment of a prompt in a home folder."""
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "HF_HUB_OFFLINE": "1",
    }


def run_shell(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """One command as typed at a prompt in the home folder."""
    environment = environment_of(home)
    bash = ["bash", "-euo", "pipefail", "-c", command]
    try:
        return subprocess.run(bash, cwd=home, env=environment, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(bash, 124, "", f"not done in 600 s: {error.stderr!r}")


def defines(source: str, name: str) -> bool:
    """Whether a module has a class or value of a name."""
    tree = ast.parse(source)
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    values = {ast.unparse(target) for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    return name in classes | values


@pytest.mark.parametrize("part", [*PARTS, "the others"])
def test_every_block_runs_in_reading_order(part: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One test of a part, for commands build on those before them.
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.syspath_prepend(home)
    monkeypatch.delitem(sys.modules, "warm", raising=False)
    places, documents = first_places(), PARTS.get(part, OTHERS)
    failures: list[str] = []
    ran = 0
    for block in (block for block in ALL if block.where.split(":")[0] in documents):
        if block.language == "sh":
            for command in commands(block):
                if why_not(command) is not None or places[typed(command)] != block.where:
                    continue
                ran += 1
                done = run_shell(command, home)
                if done.returncode:
                    failures.append(
                        f"{block.where}: {command}\n  exit {done.returncode}: {(done.stderr or done.stdout)[-800:]}"
                    )
        elif block.language == "bibtex":
            assert block.text.count("{") == block.text.count("}"), block.where
        elif block.language == "python":
            if name := re.match(r"# (\w+\.py)\n", block.text):
                (home / name[1]).write_text(block.text)
            try:
                exec(compile(block.text, block.where, "exec", dont_inherit=True), {"__name__": block.where})
            except Exception as error:
                failures.append(f"{block.where}: {type(error).__name__}: {error}")
        elif block.language == "bash":
            assert "#SBATCH" in block.text, f"{block.where}: tests/docs/test_cluster.py runs jobs of Slurm"
        elif name := re.match(r"# (\w+)\.toml\n\[card\]", block.text):
            parse_contract(block.text, name[1])
        else:
            (points,) = tomllib.loads(block.text)["project"]["entry-points"].values()
            for module, _, name in (point.partition(":") for point in points.values()):
                if not defines((home / f"{module}.py").read_text(), name):
                    failures.append(f"{block.where}: {module}.py has no {name}")
    assert failures == [], "\n".join(failures)
    assert ran >= 8
    if "README.md" in documents:
        # What README promises of its first commands.
        assert (home / "board.html").stat().st_size > 10_000
        assert list((home / "runs/zoo/cic.small/auc").glob("*/report.html"))
        assert np.asarray(Image.open(next((home / "colored").iterdir()))).ndim == 3
        # And of the model that it writes.
        text = (REPOSITORY / "README.md").read_text()
        command = "colorbench run --model warm.py:Warm --protocol auc"
        assert f"`{command}`" in text
        done = run_shell(f"{command} --no-baselines --data images -o warm-runs", home)
        assert done.returncode == 0, done.stderr


def test_each_document_is_in_one_part() -> None:
    named = [name for part in PARTS.values() for name in part]
    assert set(named) <= set(DOCUMENTS) and len(named) == len(set(named))
    assert all(list(part) == sorted(part, key=DOCUMENTS.index) for part in PARTS.values()), "reading order"
