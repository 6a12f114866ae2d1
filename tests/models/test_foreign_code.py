"""A stranger's code that ends the program, prints, or puts what no record can hold on its card: one line each."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from colorbench.errors import RunError, UserError
from colorbench.models.model_card import ModelCard
from colorbench.models.model_loading import load_model
from colorbench.results import Record, record_text

HEAD = """
import argparse, atexit, ctypes, os, subprocess, sys
import torch
from colorbench.models.model_card import ModelCard
"""
MODEL = """
class Model:
    card = ModelCard(title="x")
    def colorize(self, lightness):
        return lightness.repeat(1, 2, 1, 1) * 0
"""


@pytest.fixture
def write(tmp_path: Path):
    def file(text: str) -> str:
        (tmp_path / "model.py").write_text(HEAD + text)
        return f"{tmp_path}/model.py:Model"

    return file


ENDS = {
    "import": "sys.exit()" + MODEL,
    "import with a message": "sys.exit('no checkpoint here')" + MODEL,
    "constructor": MODEL + "    def __init__(self): sys.exit(0)\n",
    "exit of the site module": MODEL + "    def __init__(self): exit()\n",
    "options": MODEL + "    def __init__(self): argparse.ArgumentParser(prog='research').parse_args()\n",
    "options at import": "p = argparse.ArgumentParser(); p.add_argument('--n', required=True); p.parse_args()" + MODEL,
    "in the middle": MODEL.replace("return", "sys.exit(0) #"),
    "a base exception": MODEL.replace("return", "raise type('Halt', (BaseException,), {})('halt') #"),
    "the card": MODEL.replace('card = ModelCard(title="x")', "card = property(lambda self: sys.exit())"),
    "to": MODEL + "    def to(self, device): sys.exit(3)\n",
}


@pytest.mark.parametrize("case", ENDS)
def test_a_model_that_ends_the_program_is_one_line_and_exit_code_1(
    write, case: str, images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorbench.cli import main

    monkeypatch.chdir(images.parent)
    name = write(ENDS[case])
    command = ["run", "-m", name, "-p", "auc", "--data", str(images), "--no-baselines", "-o", str(images / "o")]
    monkeypatch.setattr("sys.argv", ["colorbench", *command])
    with pytest.raises(SystemExit) as ended:
        main(command)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert ended.value.code == 1, err
    assert out == "" and "Traceback" not in err and "usage:" not in err
    assert sum(line.startswith("error: ") for line in lines) == 1 and "model.py" in err
    assert ("halt" if case == "a base exception" else "it exited the program") in err.replace("\n", " ")


def test_what_a_model_prints_never_reaches_the_json(write, images: Path, colorbench: Any) -> None:
    loud = """
print("at import")
atexit.register(print, "at the end")
os.system("echo from a child at import")
""" + MODEL.replace(
        "        return",
        "        print('in python'); os.write(1, b'raw\\n'); subprocess.run(['echo', 'child'])\n"
        "        ctypes.CDLL(None).puts(b'from c')\n        return",
    )
    done = colorbench("run", "-m", write(loud), "-p", "auc", "--data", images, "--json", "--no-baselines")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["model"]["card"]["title"] == "x"
    for message in ("at import", "at the end", "from a child", "in python", "raw", "child", "from c"):
        assert message in done.stderr


def card(**values: Any) -> ModelCard:
    return ModelCard(title="x").model_copy(update=values)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_on_a_card(bad: float) -> None:
    for field in ("scores", "settings"):
        with pytest.raises(ValueError, match="finite number"):
            ModelCard(title="x", **{field: {"auc": bad}})


@pytest.mark.parametrize(
    "card",
    [
        card(scores={"auc": math.nan}),
        card(settings={"width": math.inf}),
        card(parameters=math.nan),
        card(title="\ud800"),
        card(notes=object()),
        ModelCard.model_construct(title=math.nan),
    ],
)
def test_a_card_that_no_record_can_hold_is_refused_before_measuring(card: ModelCard) -> None:
    class Model:
        def __init__(self) -> None:
            self.card = card

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return lightness

    with pytest.raises(UserError, match=r"the card of .*Model cannot be stored: "):
        load_model(Model())


def test_a_dictionary_on_a_card_is_looked_at_when_the_model_is_loaded() -> None:
    from colorbench.models.adapters import SimpleColorizerAdapter

    class Model:
        card = ModelCard(title="x")

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return lightness

    assert isinstance(load_model(Model()).colorizer, SimpleColorizerAdapter)
    Model.card.scores["later"] = math.nan
    with pytest.raises(UserError, match="cannot be stored"):
        load_model(Model())


@pytest.mark.parametrize("bad", [math.nan, math.inf, object(), {"deep": [math.nan]}, "\ud800"])
def test_a_decoding_that_no_record_can_hold_is_refused(bad: Any) -> None:
    class Model:
        card = ModelCard(title="x")
        decoding = {"decode": bad}

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return lightness

    with pytest.raises(UserError, match="the decoding of .* cannot be stored"):
        load_model(Model())


def test_a_record_is_written_only_if_it_can_be_read_again(make_record: Any) -> None:
    good: Record = make_record()
    assert Record.model_validate_json(record_text(good)) == good
    for part, values in (
        ("protocol", {"parameters": {"x": math.nan}}),
        ("protocol", {"identity": {"x": [1.0, {"y": math.inf}]}}),
        ("dataset", {"source": "\ud800"}),
    ):
        changed = getattr(good, part).model_copy(update=values)
        with pytest.raises(RunError, match="in a record"):
            record_text(good.model_copy(update={part: changed}))
    curve = good.curves[0].model_copy(update={"beside": {"chance": [math.nan]}})
    with pytest.raises(RunError, match="in a record"):
        record_text(good.model_copy(update={"curves": [curve]}))


SETTINGS = {
    "working directory": ("os.chdir('/')", os.getcwd),
    "default dtype": ("torch.set_default_dtype(torch.float16)", torch.get_default_dtype),
    "default device": ("torch.set_default_device('meta')", lambda: torch.zeros(1).device),
    "matrix products": ("torch.set_float32_matmul_precision('medium')", torch.get_float32_matmul_precision),
    "TF32": ("torch.backends.cudnn.allow_tf32 = False", lambda: torch.backends.cudnn.allow_tf32),
    "determinism": ("torch.use_deterministic_algorithms(True)", torch.are_deterministic_algorithms_enabled),
    "half files": ("from PIL import ImageFile; ImageFile.LOAD_TRUNCATED_IMAGES = True", lambda: _takes_half_files()),
    "numpy's errors": ("import numpy; numpy.seterr(all='raise')", np.geterr),
}


def _takes_half_files() -> bool:
    from PIL import ImageFile

    return bool(ImageFile.LOAD_TRUNCATED_IMAGES)


@pytest.mark.parametrize("moment", ["import", "constructor", "prediction"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_a_model_sets_for_the_process_is_put_back(write, setting: str, moment: str) -> None:
    from colorbench.evaluation import GroundTruth
    from colorbench.evaluation.predict import colorize

    code, state = SETTINGS[setting]
    before = state()
    text = {
        "import": code + MODEL,
        "constructor": f"{MODEL}    def __init__(self):\n        {code}\n",
        "prediction": MODEL.replace("        return", f"        {code}\n        return"),
    }[moment]
    model = load_model(write(text))
    colorize(model, GroundTruth(("a",), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), ((8, 8),), 0)
    assert state() == before


def test_a_tensor_that_a_model_writes_into_again_keeps_its_first_prediction() -> None:
    from colorbench.evaluation import GroundTruth
    from colorbench.evaluation.predict import colorize

    class Model:
        card = ModelCard(title="one buffer")
        buffer = torch.empty(1, 2, 8, 8)

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return self.buffer.copy_(lightness.repeat(1, 2, 1, 1))

    model = load_model(Model())
    black = colorize(model, GroundTruth(("a",), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), ((8, 8),), 0)
    white = colorize(model, GroundTruth(("b",), torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)), ((8, 8),), 0)
    assert float(black.ab_float.max()) < 1 < 99 < float(white.ab_float.min())


@pytest.mark.parametrize("change", ["to('meta')", "to_sparse()", "to(torch.float8_e4m3fn)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tensor_without_values_is_one_line(change: str, dtype: torch.dtype) -> None:
    from colorbench.evaluation import GroundTruth
    from colorbench.evaluation.predict import colorize

    class Model:
        card = ModelCard(title="x")

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return eval(f"ab.{change}", {"ab": lightness.repeat(1, 2, 1, 1), "torch": torch})

    truth = GroundTruth(("a",), torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(RunError, match="as a dense"):
        colorize(load_model(Model()), truth, ((8, 8),), 0, None, dtype)


def test_keeping_the_state_of_the_process_does_not_import_the_compiler_of_torch() -> None:
    """It takes seconds of every run."""
    program = """
import sys
from colorbench.models.foreign_code import process_state_kept
with process_state_kept():
    pass
print("torch._inductor" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "False"
