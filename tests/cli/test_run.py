"""``colorbench run`` from the command line to the table, the record and the page; every mistake is one line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from colorbench.cli import app
from colorbench.cli.run import by_role, parameters
from colorbench.errors import UserError
from colorbench.results import Record
from tests.support.loaded_modules import loaded_modules


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A run of two protocols with baselines, and its output."""
    output = tmp_path_factory.mktemp("runs")
    done = run("-m", "zoo/cic.untrained", "-p", "auc,fidelity", "-d", images, "-o", output, "--explain")
    assert done.exit_code == 0, done.output
    return done, output


def test_it_begins_by_saying_that_three_images_measure_nothing(finished) -> None:
    first = finished[0].stdout.splitlines()[0]
    assert first == "smoke test on 3 images: scores are not meaningful"


def test_gray_constant_and_truth_stand_beside_the_model(finished) -> None:
    lines = finished[0].stdout.splitlines()
    head = next(line for line in lines if "constant" in line)
    assert head.split() == ["cic.untrained", "Δ", "vs.", "gray", "gray", "constant", "truth"]
    assert next(line for line in lines if line.startswith("auc_raw")).split()[-1] == "100.00"


def test_every_metric_is_explained(finished) -> None:
    text = finished[0].stdout
    for metric in ("auc_raw", "auc_rebalanced_stable", "ciede2000", "psnr", "cf_hs"):
        # Once in the table, once where it is explained.
        assert sum(line.split(" ")[0] == metric for line in text.splitlines()) == 2


def test_records_and_pages_lie_where_it_says(finished) -> None:
    text, output = finished[0].stdout, finished[1]
    for protocol in ("auc", "fidelity"):
        (path,) = output.glob(f"zoo/cic.untrained/{protocol}/images*/record.json")
        assert f"result: {path}" in text.splitlines()
        assert f"report: {path.parent / 'report.html'}" in text.splitlines()
        record = Record.model_validate_json(path.read_text())
        assert record.dataset.n_evaluated == 3
        page = (path.parent / "report.html").read_text()
        # Three images, each as gray, answer and truth.
        assert page.count("data:image/webp;base64,") == 9
        assert "<th>gray</th><th>constant</th><th>truth</th>" in page


def test_the_same_command_shows_the_finished_run(finished, images: Path) -> None:
    output = finished[1]
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    again = run("-m", "zoo/cic.untrained", "-p", "auc", "-p", "fidelity", "-d", images, "-o", output, "--explain")
    assert again.stdout == finished[0].stdout
    assert "reused from" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == before


def test_several_models_are_one_table(finished, images: Path) -> None:
    flags = ("-p", "auc", "-d", images, "-o", finished[1])
    done = run("-m", "zoo/cic.untrained,zoo/half-chroma", *flags)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    rows = [line.split()[0] for line in lines if line.startswith("zoo/")]
    assert sorted(rows) == sorted(
        ["zoo/cic.untrained", "zoo/half-chroma", "zoo/gray", "zoo/constant", "zoo/ground-truth"]
    )
    assert rows[0] == "zoo/cic.untrained", "references and baselines stand below"
    assert sum("smoke test on 3 images" in line for line in lines) == 1
    assert sum(line.startswith("report: ") for line in lines) == 2
    verbose = run("-m", "zoo/cic.untrained,zoo/half-chroma", *flags, "--verbose")
    assert "zoo/half-chroma · auc v1" in verbose.stdout


def test_several_protocols_end_in_one_table(finished, images: Path) -> None:
    flags = ("-d", images, "-o", finished[1], "-q")
    done = run("-m", "zoo/cic.untrained,zoo/half-chroma", "-p", "auc,fidelity", *flags)
    assert done.exit_code == 0, done.output
    before, _, closing = done.stdout.partition("summary · primary metrics")
    assert before.count("auc v1") == before.count("fidelity v2") == 1
    head, names, *rows = closing.splitlines()[2:]
    assert head.split() == ["auc", "fidelity"]
    assert names.split() == ["auc_rebalanced_stable", "ciede2000"]
    models = [row.split() for row in rows if row.startswith("zoo/")]
    assert len(models) == 5 and all(len(row) == 3 for row in models)
    # A remark of both protocols is printed once, at the end; and the command that repeats the run after it.
    remarks = [line for line in done.stdout.splitlines() if line.startswith(" ! ")]
    assert len(remarks) == len(set(remarks)) and all(remark in closing for remark in remarks)
    assert done.stdout.rstrip().splitlines()[-1].startswith("repeat: colorbench run --config ")
    markdown = run("-m", "zoo/cic.untrained", "-p", "auc,fidelity", *flags, "--format", "markdown").stdout
    table = markdown.partition("**summary** · primary metrics · images")[2].splitlines()
    assert [cell.strip() for cell in table[2].strip("|").split("|")] == [
        "model",
        "auc auc_rebalanced_stable % ↑",
        "fidelity ciede2000 ΔE00 ↓",
    ]


def test_the_table_in_markdown(finished, images: Path) -> None:
    done = run("-m", "zoo/cic.untrained", "-p", "auc", "-d", images, "-o", finished[1], "--format", "markdown", "-q")
    assert done.stderr == ""
    assert done.stdout.startswith(f"**auc** v1 · 3 images of {images.name} · squash256\n\n|")
    head, line, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert cells[:2] == ["model", "auc_rebalanced_stable % ↑"]
    assert set(line) <= set("|:-")
    assert {row.strip("|").split("|")[0].strip() for row in rows} == {
        "zoo/cic.untrained",
        "zoo/gray",
        "zoo/constant",
        "zoo/ground-truth",
    }
    assert run("-m", "zoo/gray", "-p", "auc", "-d", images, "--format", "html").exit_code == 2


def test_a_pattern_leaves_out_models_whose_weights_are_not_here(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    flags = ("-p", "auc", "-d", images, "-o", tmp_path, "--limit", 2, "--no-baselines", "--offline")
    done = run("-m", "zoo/eccv*", "-m", "zoo/gray", *flags)
    assert done.exit_code == 0, done.output
    assert "zoo/eccv16 is left out" in done.stderr
    assert run("-m", "zoo/eccv16", *flags).exit_code == 2
    assert "has its weights here" in run("-m", "zoo/eccv*", *flags).stderr
    assert "HF_HUB_OFFLINE" not in os.environ, "the switch belongs to its command"


def records_of(done: Result) -> list[Record]:
    """The records that ``--json`` printed: always a list."""
    return [Record.model_validate(one) for one in json.loads(done.stdout)]


def test_json_is_the_records_alone(finished, images: Path) -> None:
    one = run("-m", "zoo/cic.untrained", "-p", "auc", "-d", images, "-o", finished[1], "--json")
    (record,) = records_of(one)
    assert (record.model.name, record.protocol.name) == ("zoo/cic.untrained", "auc")
    assert "auc_raw" in one.stderr
    flags = ("-p", "auc", "-p", "fidelity", "-d", images, "-o", finished[1], "--json")
    several = run("-m", "zoo/gray", "-m", "zoo/cic.untrained", *flags)
    made = [(record.model.name, record.protocol.name) for record in records_of(several)]
    assert made == [(m, p) for m in ("zoo/gray", "zoo/cic.untrained") for p in ("auc", "fidelity")]


def test_without_baselines_nothing_else_is_measured(images: Path, tmp_path: Path) -> None:
    done = run("-m", "zoo/half-chroma", "-p", "auc", "-d", images, "-o", tmp_path, "--no-baselines", "--limit", 2)
    assert done.exit_code == 0, done.output
    records = list(tmp_path.rglob("record.json"))
    assert [path.parts[-4] for path in records] == ["half-chroma"]
    assert Record.model_validate_json(records[0].read_text()).dataset.limit == 2


def test_parameters_reach_the_protocol(images: Path, tmp_path: Path) -> None:
    flags = ("-d", images, "-o", tmp_path, "--no-baselines", "--json", "--param", "convention=exact")
    (record,) = records_of(run("-m", "zoo/gray", "-p", "auc", *flags))
    assert record.protocol.parameters["convention"] == "exact"
    preset = run("-m", "zoo/gray", "-p", "auc@exact", "-d", images, "-o", tmp_path, "--no-baselines", "--json")
    assert records_of(preset)[0].protocol.identity_sha256 == record.protocol.identity_sha256


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["-m", "zoo/garay", "-p", "auc"], 2, "Did you mean zoo/gray?"),
        (["-m", "cic", "-p", "auc"], 2, "zoo/cic"),
        (["-m", "zoo/gray", "-p", "acu"], 2, "Did you mean auc?"),
        (["-m", "zoo/gray", "-p", "auc@cic2017"], 2, "no preset 'cic2017'"),
        (["-m", "zoo/gray", "-p", "auc", "-d", "nowhere"], 2, "nowhere"),
        (["-m", "zoo/gray", "-p", "auc", "-d", "empty"], 2, "empty"),
        (["-m", "zoo/gray", "-p", "auc", "-d", "empty", "-d", "samples"], 2, "--data is given twice"),
        (["-m", "zoo/gray", "-p", "auc", "--param", "step"], 2, "--param wants key=value"),
        (["-m", "zoo/gray", "-p", "auc", "--param", "convention=round"], 2, "convention"),
        (["-m", "zoo/gray", "-p", "auc", "--param", "prior=none.npy"], 2, "no prior 'none.npy'"),
        (["-m", "zoo/gray", "-p", "auc", "-p", "fidelity", "--param", "prior=x"], 2, "--param auc.prior=..."),
        (["-m", "zoo/gray", "-p", "auc", "--gray", "burn"], 2, "--gray cannot be 'burn'"),
        (["-m", "zoo/gray", "-p", "auc", "--save", "all"], 2, "--save cannot be 'all'"),
        (["-m", "zoo/gray", "-p", "auc", "--decode", "mode"], 2, "predicts no distribution"),
        (["-m", "zoo/gray", "-p", "auc", "--weights", "x.safetensors"], 2, "weights"),
        (["-m", "zoo/gray", "-p", "auc", "--device", "abacus"], 2, "unknown device 'abacus'"),
        (["-m", "zoo/gray", "-p", "auc", "--dtype", "float8"], 2, "unknown dtype 'float8'"),
        (["-m", "zoo/gray", "-p", "auc", "-d", "broken"], 2, "none of the images could be evaluated"),
        (["-m", "images:empty", "-p", "auc"], 2, "empty"),
        (["-m", "models.py:NaN", "-p", "auc", "-d", "one"], 1, "NaN"),
        (["-m", "models.py:Wrong", "-p", "auc", "-d", "one"], 1, "(1, 2, 256, 256)"),
        (["-m", "models.py:Absent", "-p", "auc", "-d", "one"], 2, "no class 'Absent'"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path, flags: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "broken", "one"):
        (tmp_path / folder).mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no image")
    (tmp_path / "one" / "a.jpg").write_bytes((images / "coffee.jpg").read_bytes())
    (tmp_path / "models.py").write_text(
        "import torch\n"
        "from colorbench.models.model_card import ModelCard\n"
        "class NaN:\n"
        "    card = ModelCard(title='nothing')\n"
        "    def colorize(self, lightness):\n"
        "        return lightness.new_full((len(lightness), 2, *lightness.shape[-2:]), float('nan'))\n"
        "class Wrong(NaN):\n"
        "    def colorize(self, lightness):\n"
        "        return lightness\n"
    )
    done = run(*flags, "--no-baselines")
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


def test_an_output_that_is_a_file_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("candidate")
    done = run("-m", "zoo/gray", "-p", "auc", "-d", images, "-o", tmp_path / "runs")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert str(tmp_path / "runs") in done.stderr


def test_control_c_says_that_work_is_kept_and_how_to_go_on(tmp_path: Path) -> None:
    """The interrupt comes after the first shard; what that holds is not made again."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(240):
        Image.new("RGB", (16, 16), (i, 100, 50)).save(folder / f"{i:03d}.png")
    (tmp_path / "slow.py").write_text(
        "import pathlib, time, torch\n"
        "from colorbench.models.model_card import ModelCard\n"
        "class Slow:\n"
        "    card = ModelCard(title='slow')\n"
        "    def colorize(self, lightness):\n"
        "        if list(pathlib.Path('runs').rglob('*.npz')) and not pathlib.Path('go').exists():\n"
        "            time.sleep(3)\n"  # the shard is written after its first file
        "            pathlib.Path('ready').touch()\n"
        "            time.sleep(60)\n"
        "        pathlib.Path('calls').open('a').write(f'{len(lightness)} ')\n"
        "        return torch.zeros(len(lightness), 2, *lightness.shape[-2:])\n"
    )
    command = [sys.executable, "-m", "colorbench", "run", "-m", "slow.py:Slow", "-p", "auc", "-d", "images"]
    command += ["--no-baselines", "--save", "none", "--param", "preprocessing=squash16"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore interrupts and hand that on; a person's command does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    said = r"interrupted: (64|128|192) of 240 images are kept; run the same command to go on"
    kept = re.fullmatch(said, message.splitlines()[-1])  # others may have been predicted before the first was written
    assert kept is not None, message
    assert "Traceback" not in message
    (tmp_path / "go").touch()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    went_on = re.search(r"^continues at (64|128|192) of 240 images$", done.stderr, re.MULTILINE)
    assert went_on is not None and int(went_on[1]) >= int(kept[1])  # a shard may have been written meanwhile
    assert "report: " in done.stdout and "with images" not in done.stdout  # none were asked for
    checked = 2 * 4  # images that each of the two runs tries the model with before its pass
    # What was predicted ahead of the shards that are written is made again; the first shard is not.
    assert sum(map(int, (tmp_path / "calls").read_text().split())) <= 2 * 240 - 64 + checked


@pytest.mark.parametrize(
    ("data", "expected"),
    [([], None), (["photos"], "photos"), (["test=photos"], "photos"), (["a=b"], "a=b")],
)
def test_data_by_role(data: list[str], expected: str | None) -> None:
    assert by_role(data).get("test") == expected


def test_a_folder_whose_name_looks_like_a_role_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test=1").mkdir()
    assert by_role(["test=1"]) == {"test": "test=1"}


@pytest.mark.parametrize("data", [["a", "b"], ["test=a", "b"]])
def test_two_datasets_of_one_role_are_refused(data: list[str]) -> None:
    with pytest.raises(UserError):
        by_role(data)


def test_parameters_find_their_protocol() -> None:
    assert parameters(["auc.prior=x.npy", "fidelity.a=1"], ["auc", "fidelity"]) == {
        "auc": {"prior": "x.npy"},
        "fidelity": {"a": 1},
    }
    assert parameters(["prior=x.npy"], ["auc"]) == {"auc": {"prior": "x.npy"}}
    assert parameters(["auc.ab=float"], ["auc@exact"]) == {"auc": {"ab": "float"}}
    with pytest.raises(UserError, match="fidelity"):
        parameters(["fidelity.a=1"], ["auc"])


def test_a_run_imports_no_pandas(images: Path, tmp_path: Path) -> None:
    # It takes half a second of CPU time; only tables for people who ask for them need it.
    command = ["run", "-m", "zoo/gray", "-p", "auc", "-d", images, "-o", tmp_path]
    code, loaded, printed = loaded_modules(command, tmp_path)
    assert not code and "pandas" not in loaded, printed


def test_a_comparison_imports_no_torch(finished, tmp_path: Path) -> None:
    command = ["compare", "zoo/cic.untrained", "zoo/gray", "-p", "auc", "--results", finished[1]]
    _, loaded, printed = loaded_modules(command, tmp_path)
    # Three images are too few for a test, but the records were read and the metric of the protocol was found.
    assert "torch" not in loaded, printed


@pytest.mark.parametrize("name", ["mine.py:Chroma", "./folder/mine.py:Chroma", "none.py:X", "mine.py", "auc,mine.py:X"])
@pytest.mark.parametrize("verb", ["run -m zoo/gray -p", "score images images -p"])
def test_a_protocol_in_a_file_is_refused_with_the_way_to_use_it(
    verb: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    (tmp_path / "mine.py").write_text("class Chroma:\n    pass\n")
    if verb.startswith("score"):
        name = name.rpartition(",")[2]
    done = CliRunner().invoke(app, [*verb.split(), name])
    assert (done.exit_code, done.stdout) == (2, "")
    wanted = name.rpartition(",")[2]
    hint = "Evaluate a protocol in a file from Python, or register it: docs/add-a-protocol.md"
    assert done.stderr == f"error: no protocol {wanted!r}. {hint}\n"
