"""``verify --rerun``: models that get the true colors otherwise than from lightness are found, honest ones hold."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorbench.data import Dataset, open_dataset
from colorbench.verification import permanent_file_blocking
from colorbench.verification.model_checks import needed_option
from colorbench.verification.permanent_file_blocking import positions_of
from colorbench.verification.rerun_comparison import rerunner
from colorbench.verification.rerun_measurement import Wanted, same_prediction
from colorbench.verification.verification_schema import PROMISE, Verification
from colorbench.verification.verify_record import verify
from tests.support.engine import write_images
from tests.support.records import Ended, edit_record, ended, measure

COUNT = 8
MODELS = '''
"""One honest model, and others that look for the true colors."""
import ctypes, gc, os, sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from colorbench.color.lab import rgb_to_lab
from colorbench.models.model_card import ModelCard
from colorbench.models.colorizer_interfaces import ColorPrediction

ROOT = Path({root!r})


class Honest:
    card = ModelCard(title="a function of lightness")

    def colorize(self, lightness):
        print("what a model prints is not an answer")
        return torch.cat([lightness / 10 - 5, 5 - lightness / 20], dim=1)


class Cheat:
    card = ModelCard(title="a network")

    def colorize_batch(self, inputs):
        truth = [self.find(inputs, place) for place in range(len(inputs.ids))]
        found = [Honest().colorize(inputs.lightness[i : i + 1]) if t is None else t for i, t in enumerate(truth)]
        return ColorPrediction(ab=torch.cat([one.float() for one in found]))

    def near(self, rgb8, lightness):
        """ab of an image (3, H, W) if it has this lightness."""
        rgb8 = torch.as_tensor(np.asarray(rgb8))
        if rgb8.ndim != 3 or rgb8.shape[0] != 3 or rgb8.shape[1:] != lightness.shape[-2:]:
            return None
        lab = rgb_to_lab(rgb8[None].to(torch.uint8))
        return lab[:, 1:] if (lab[:, :1] - lightness).abs().mean() < 1 else None

    def read(self, path, lightness):
        image = Image.open(path).convert("RGB").resize(tuple(lightness.shape[:-3:-1]), Image.BICUBIC)
        return self.near(np.asarray(image).transpose(2, 0, 1), lightness)


class Frames(Cheat):
    def find(self, inputs, place):
        frame = sys._getframe()
        while frame is not None:
            for value in [*frame.f_locals.values()]:
                for one in (value, getattr(value, "rgb8", None)):
                    if isinstance(one, torch.Tensor) and one.dtype == torch.uint8 and one.ndim == 4:
                        for image in one:
                            if (ab := self.near(image, inputs.lightness[place])) is not None:
                                return ab
            frame = frame.f_back


class Objects(Cheat):
    def find(self, inputs, place):
        for one in gc.get_objects():
            if isinstance(one, torch.Tensor) and one.dtype == torch.uint8 and one.ndim == 4:
                for image in one:
                    if (ab := self.near(image, inputs.lightness[place])) is not None:
                        return ab


class Named(Cheat):
    def find(self, inputs, place):
        try:
            return self.read(ROOT / inputs.ids[place], inputs.lightness[place])
        except OSError:
            return None


class Searched(Cheat):
    def find(self, inputs, place):
        try:
            for path in sorted(ROOT.rglob("*.jpg")):
                if (ab := self.read(path, inputs.lightness[place])) is not None:
                    return ab
        except OSError:
            return None


class Kept(Cheat):
    """Reads all files when it is made, by names that it knows, through a hard link."""

    def __init__(self):
        self.images = []
        for path in sorted((ROOT.parent / "links").glob("*.jpg")):
            try:
                self.images.append(Image.open(path).convert("RGB"))
            except OSError:
                pass

    def find(self, inputs, place):
        lightness = inputs.lightness[place]
        for image in self.images:
            small = image.resize(tuple(lightness.shape[:-3:-1]), Image.BICUBIC)
            if (ab := self.near(np.asarray(small).transpose(2, 0, 1), lightness)) is not None:
                return ab


class ByName(Cheat):
    """Needs no truth: its colors follow from the id."""

    def find(self, inputs, place):
        value = float(sum(map(ord, inputs.ids[place])) % 50)
        return torch.full_like(inputs.lightness[:1], value).repeat(1, 2, 1, 1)


class ByOrder(Cheat):
    """Its colors follow from the place in the batch."""

    def find(self, inputs, place):
        return torch.full_like(inputs.lightness[:1], 5.0 * place).repeat(1, 2, 1, 1)
'''


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("rerun") / "crops"
    write_images(folder, COUNT)
    links = folder.parent / "links"
    links.mkdir()
    for position, path in enumerate(sorted(folder.rglob("*.jpg"))):
        os.link(path, links / f"{position}.jpg")
    return open_dataset(folder)


@pytest.fixture(scope="module")
def models(images: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.py"
    path.write_text(MODELS.replace("{root!r}", repr(str(images.samples[0].path.parents[1]))))
    return path


@pytest.fixture(scope="module")
def output(images: Dataset, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rerun") / "runs"
    measure(folder, images, [f"{models}:Honest", "zoo/ground-truth", "zoo/half-chroma"], protocol="fidelity")
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    return lambda *arguments: ended(capsys, arguments)


def record_of(output: Path, model: str) -> Path:
    (found,) = (path.parent for path in output.rglob("record.json") if path.parts[-4] == model)
    return found


def again(folder: Path, images: Dataset, model: str | None = None, **settings: Any) -> tuple[Verification, list[str]]:
    found = verify(folder, rerun=rerunner(Wanted(COUNT, images, seed=5, model=model, device="cpu", **settings)))
    return found, [check.detail for check in found.checks if (check.name, check.outcome) == ("rerun", "fails")]


def test_an_honest_model_of_a_file_and_a_reference_hold(output, images, models) -> None:
    found, wrong = again(record_of(output, "models.py-Honest"), images, f"{models}:Honest", batch_size=3)
    assert wrong == []
    assert found.rerun is not None
    assert found.rerun.largest < 1e-4
    assert again(record_of(output, "half-chroma"), images)[1] == []


@pytest.mark.parametrize("name", ["Frames", "Objects", "Named", "Searched", "Kept"])
def test_a_model_that_copies_the_truth_comes_out_otherwise(output, images, models, name, tmp_path) -> None:
    folder = shutil.copytree(record_of(output, "ground-truth"), tmp_path / "record")
    card = {"title": "a network"}
    edit_record(
        folder, lambda r: r["model"].update(name=f"{models}:{name}", package=None, package_version=None, card=card)
    )
    _, wrong = again(folder, images, f"{models}:{name}")
    assert any(line.startswith(f"ciede2000 of {COUNT} images came out different") for line in wrong), wrong
    if name in ("Searched", "Kept"):
        assert any("the model tried something that is not permitted" in line for line in wrong)


@pytest.mark.parametrize("name", ["ByName", "ByOrder"])
def test_a_model_whose_prediction_follows_the_name_or_the_order_is_found(
    output, images, models, name, tmp_path
) -> None:
    folder = shutil.copytree(record_of(output, "models.py-Honest"), tmp_path / "record")
    _, wrong = again(folder, images, f"{models}:{name}")
    assert any("changes with the image's name, size or place in the batch" in line for line in wrong)


def test_a_lie_to_one_side_is_found_though_each_row_is_within_its_tolerance(output, images, models, tmp_path) -> None:
    from tests.support.records import edit_rows

    folder = shutil.copytree(record_of(output, "models.py-Honest"), tmp_path / "record")

    def a_little(columns: dict[str, Any]) -> None:
        columns["ciede2000.s0"] *= 0.999
        columns["ciede2000"] *= 0.999

    edit_rows(folder, a_little)
    _, wrong = again(folder, images, f"{models}:Honest")
    assert any("came out shifted" in line for line in wrong)


def test_predictions_are_compared_image_by_image() -> None:
    one = {"ab": np.zeros((2, 2, 4, 4))}
    other = {"ab": np.zeros((2, 2, 4, 4))}
    other["ab"][1] += 0.2
    assert same_prediction(one, other, 0)
    assert not same_prediction(one, other, 1)
    assert not same_prediction(one, {"rgb8": one["ab"]}, 0)
    other["ab"][0, 0, 0, 0] = np.nan
    assert not same_prediction(one, other, 0)


def test_a_model_that_is_not_here_was_not_checked_and_the_exit_code_tells(output, images, command, tmp_path) -> None:
    data = images.samples[0].path.parents[1]
    ended = command("verify", record_of(output, "models.py-Honest"), "--data", data, "--rerun", 2)
    assert ended.returncode == 2
    assert re.search(r"rerun +skipped +only installed models are loaded", ended.stdout)
    assert "fail" not in ended.stdout
    last = ended.stdout.splitlines()[-1]
    assert re.fullmatch(r"rerun not done: add --model FILE.py:CLASS \(the record names models\d*/models.py\)", last)
    assert PROMISE not in ended.stdout and "To check this" not in ended.stdout
    skipped = len(re.findall(r"^[a-z ]+ skipped  ", ended.stdout, re.MULTILINE))
    assert f"all checks passed ({skipped} skipped)" in ended.stdout
    without = command("verify", record_of(output, "models.py-Honest"))
    assert without.returncode == 0 and without.stdout.strip().endswith(PROMISE)
    folder = shutil.copytree(record_of(output, "models.py-Honest"), tmp_path / "record")
    edit_record(folder, lambda record: record["metrics"][0].update(value=0.0))
    assert command("verify", folder, "--data", data, "--rerun", 2).returncode == 1


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("images:ct2/results", "add --model images:FOLDER (the record names ct2/results)"),
        ("onnx:nets/a.onnx[contract=cic]", "add --model onnx:FILE (the record names nets/a.onnx)"),
        ("nets/a.py:Net", "add --model FILE.py:CLASS (the record names nets/a.py)"),
        ("zoo/cic@mine", "add --model NAME (and --weights FILE)"),
        ("notebook:Net", "add --model NAME (and --weights FILE)"),
    ],
)
def test_what_to_add_for_a_rerun(name: str, option: str) -> None:
    assert needed_option(name) == option


def test_a_file_that_is_no_record_is_named(command, tmp_path) -> None:
    (tmp_path / "bad.csv").write_text("file,class_index\n")
    (tmp_path / "record.json").write_text("{}")
    ended = command("verify", tmp_path / "bad.csv")
    assert ended.returncode == 2
    assert "this file is not a record" in ended.stderr
    assert "bad.csv" in ended.stderr


# The files of the dataset, from a bare interpreter.

TRY = """
import ctypes, json, os, sys
folder = os.getcwd()
sys.path.insert(0, GUARD)
import permanent_file_blocking as file_access
early = os.open("/", os.O_RDONLY)
guard = file_access.keep_away(ROOTS, map(tuple, INODES))
LOCK and guard.lock()
target = os.path.join(ROOTS[0], "a", "000.jpg")

def native(path):
    libc = ctypes.CDLL(None)
    fd = libc.open(path.encode(), 0)
    if fd < 0:
        raise PermissionError(path)
    return os.read(fd, 10)

def link(kind):
    kind(target, os.path.join(folder, "own.jpg"))
    return open(os.path.join(folder, "own.jpg"), "rb").read()

def chdir():
    os.chdir(os.path.dirname(target))
    return open("000.jpg", "rb").read()

def descriptor():
    return os.read(os.open(target[1:], os.O_RDONLY, dir_fd=early), 10)

def program():
    import subprocess
    return subprocess.run(["cat", target], capture_output=True, check=True).stdout

print(json.dumps(_ATTEMPT_))
"""
ATTEMPTS = {
    "open": "open(target, 'rb').read()",
    "os.open": "os.read(os.open(target, os.O_RDONLY), 10)",
    "list": "os.listdir(os.path.dirname(target))",
    "scan": "list(os.scandir(ROOTS[0]))",
    "proc": "open('/proc/self/root' + target, 'rb').read()",
    "dots": "open(os.path.dirname(target) + '/../a/000.jpg', 'rb').read()",
    "hard link": "link(os.link)",
    "symbolic link": "link(os.symlink)",
    "rename": "link(os.rename)",
    "linked before": "open(BESIDE, 'rb').read()",
    "chdir": "chdir()",
    "descriptor of a folder": "descriptor()",
    "native code": "native(target)",
    "another program": "program()",
}


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_way_leads_to_the_files_of_the_dataset(images, tmp_path, attempt, locked) -> None:
    positions = positions_of(images.samples)
    beside = sorted((Path(positions["roots"][0]).parent / "links").glob("*.jpg"))[0]
    program = TRY.replace("_ATTEMPT_", f"bool({ATTEMPTS[attempt]})")
    guard = str(Path(permanent_file_blocking.__file__).parent)
    head = f"GUARD, ROOTS, INODES = {guard!r}, {positions['roots']!r}, {positions['inodes']!r}\n"
    head += f"BESIDE, LOCK = {str(beside)!r}, {locked}\n"
    done = subprocess.run([sys.executable, "-I", "-c", head + program], cwd=tmp_path, capture_output=True, text=True)
    if attempt in ("native code", "another program") and sys.platform != "linux":
        pytest.skip("only Linux keeps files from native code")
    assert done.returncode == 1, done.stdout
    assert any(word in done.stderr for word in ("PermissionError", "FileNotFoundError", "CalledProcessError"))


def test_everything_else_stays_readable(images, tmp_path) -> None:
    (tmp_path / "own.txt").write_text("own")
    positions = positions_of(images.samples)
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(permanent_file_blocking.__file__).parent)!r})
        import permanent_file_blocking as file_access
        guard = file_access.keep_away({positions["roots"]!r}, map(tuple, {positions["inodes"]!r}))
        guard.lock()
        import json, sqlite3, decimal
        told = ["/proc/self/status", "/proc/cpuinfo", "/proc/uptime", "/proc/sys/kernel/random/boot_id"]
        print(open("own.txt").read(), all(open(path).read() for path in told), guard.refused)
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "own True []\n", done.stderr


def test_the_child_is_told_no_path_by_its_command_line_or_environment(images, tmp_path, monkeypatch) -> None:
    from colorbench.verification.isolated_model import Apart

    root = str(images.samples[0].path.parents[1])
    monkeypatch.setenv("DATA", root)
    model = {
        "name": "zoo/gray",
        "decode": None,
        "temperature": None,
        "weights": None,
        "device": "cpu",
        "dtype": "float32",
    }
    with Apart(model, images.samples) as apart:
        process = Path(f"/proc/{apart._process.pid}")
        if process.exists():
            assert root.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            assert list(Path(os.readlink(process / "cwd")).iterdir()) == []
        arrays = {
            "lightness": np.full((1, 1, 8, 8), 50, np.float32),
            "sizes": np.array([[8, 8]]),
            "seeds": np.array([0]),
        }
        found, refused = apart.ask(arrays, {"ids": ["x"], "preprocessing": "native"})
    assert (found["ab"].shape, refused) == ((1, 2, 8, 8), [])
    assert json.dumps(found["ab"].max().item()) == "0.0"
