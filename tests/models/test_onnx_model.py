"""``onnx:FILE``: the three shipped contracts against the pipelines that they describe, and files that do not fit."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import skimage.color
import torch
from onnx import TensorProto, helper
from PIL import Image
from torch import Tensor

from colorbench.cli import main
from colorbench.color import rgb_to_lab
from colorbench.errors import UserError
from colorbench.models.colorizer_interfaces import ColorizerInput
from colorbench.models.fingerprint import model_fingerprint
from colorbench.models.loaded_model import LoadedModel
from colorbench.models.model_loading import load_model
from colorbench.models.onnx_contract import Squash, Upsample
from colorbench.testing import check_colorizer
from tests.support.onnx_files import CONTRACT, save_affine, save_network

MATRIX, BIAS = np.array([[0.5], [-0.25]]), np.array([-20.0, 15.0])


def lightness_of(image: np.ndarray, *sizes: tuple[int, int]) -> Tensor:
    """(1, 1, H, W): L of a part of an image."""
    return rgb_to_lab(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].contiguous())[:, :1].contiguous()


def predicted(model: LoadedModel, lightness: Tensor) -> Any:
    count = len(lightness)
    return model.colorizer.colorize_batch(ColorizerInput(lightness, ("a",) * count, (0,) * count))


def gray8(lightness: Tensor) -> np.ndarray:
    """(H, W) uint8: the gray image of the same lightness, by scikit-image."""
    lab = np.zeros((*lightness.shape[-2:], 3))
    lab[..., 0] = lightness[0, 0].numpy()
    return (skimage.color.lab2rgb(lab)[..., 1] * 255).round().astype(np.uint8)


@pytest.mark.parametrize("size", [(256, 256), (300, 200), (100, 140)])
def test_cic_is_the_authors_demo(tmp_path: Path, astronaut: np.ndarray, size: tuple[int, int]) -> None:
    options: dict[str, Any] = {"shown": (1, 1, 256, 256), "given": (1, 2, 256, 256)}
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, **options)
    gray = np.repeat(astronaut[: size[0], : size[1], 1:2], 3, axis=2)
    lightness = lightness_of(gray)  # of a gray image: its levels are known without rounding
    assert (gray8(lightness) == gray[..., 0]).all()
    small = np.asarray(Image.fromarray(gray8(lightness)).resize((256, 256), Image.Resampling.BICUBIC))
    l_small = skimage.color.rgb2lab(np.repeat(small[..., None], 3, 2))[..., 0]
    if size == (256, 256):
        l_small = lightness[0, 0].numpy()
    ab = torch.from_numpy(np.stack([0.5 * l_small - 20, -0.25 * l_small + 15])[None]).float()
    expected = torch.nn.functional.interpolate(ab, size=size, mode="bilinear")
    answer = predicted(load_model(f"onnx:{path}[contract=cic]"), lightness).ab
    assert answer.shape == (1, 2, *size)
    assert (answer - expected).abs().max() < 2e-3  # L of the two libraries differs by 1e-3 near black


@pytest.mark.parametrize("side", [64, 96])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_ddcolor_sees_gray_rgb_and_its_ab_is_enlarged_by_nearest(
    tmp_path: Path, astronaut: np.ndarray, side: int, kind: int
) -> None:
    matrix, bias = np.array([[10.0, 20.0, 30.0], [-5.0, 0.0, -40.0]]), np.array([-30.0, 20.0])
    options: dict[str, Any] = {"shown": (1, 3, side, side), "given": (1, 2, side, side), "dtype": kind}
    path = save_affine(tmp_path / "net.onnx", matrix, bias, **options)
    lightness = lightness_of(astronaut[:120, :160])
    lab = np.zeros((120, 160, 3))
    lab[..., 0] = lightness[0, 0].numpy()
    rgb = torch.from_numpy(skimage.color.lab2rgb(lab)).permute(2, 0, 1)[None]
    shown = torch.nn.functional.interpolate(rgb, size=(side, side), mode="bilinear")  # cv2.resize: no antialias
    ab = torch.einsum("oc,nchw->nohw", torch.from_numpy(matrix), shown) + torch.from_numpy(bias)[:, None, None]
    expected = torch.nn.functional.interpolate(ab, size=(120, 160))
    model = load_model(f"onnx:{path}[contract=ddcolor]")
    assert model.card.working_size == side
    answer = predicted(model, lightness).ab
    assert (answer - expected).abs().max() < (0.1 if kind == TensorProto.FLOAT16 else 1e-2)


def test_deoldify_gives_the_chroma_of_8_bit_yuv_to_the_luma_of_the_image(tmp_path: Path, astronaut: np.ndarray) -> None:
    gains, bias = np.diag([1.1, 0.9, 0.7]), np.array([10.0, 0.0, 5.0])
    options: dict[str, Any] = {"shown": (1, 3, "height", "width"), "given": (1, 3, "height", "width")}
    path = save_affine(tmp_path / "net.onnx", gains, bias, **options)
    lightness = lightness_of(astronaut[:300, :200])
    gray = gray8(lightness)
    small = np.asarray(Image.fromarray(gray).resize((256, 256), Image.Resampling.BILINEAR)).astype(float)
    rgb = np.clip(np.stack([gain * small + one for gain, one in zip((1.1, 0.9, 0.7), bias, strict=True)]), 0, 255)
    tensor = torch.nn.functional.interpolate(torch.from_numpy(rgb)[None], size=(300, 200), mode="bilinear")
    r, g, b = tensor[0].numpy()
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    u, v = 0.492 * (b - luma), 0.877 * (r - luma)
    y = gray.astype(float)
    expected = np.clip(np.stack([y + 1.14 * v, y - 0.395 * u - 0.581 * v, y + 2.032 * u]), 0, 255)
    model = load_model(f"onnx:{path}[contract=deoldify]")
    colors = predicted(model, lightness)
    assert colors.ab is None and colors.rgb8.dtype == torch.uint8
    apart = np.abs(colors.rgb8[0].numpy() - expected)
    assert apart.max() <= 3 and apart.mean() < 0.8  # three roundings to 8 bits, of which two are times 2
    assert "BT.601" in str(model.card.notes)


CASES: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
    (
        "channels of the input",
        {'"lightness"\nlow': '"gray-rgb"\nlow'},
        {},
        r"input x is \(1, 1, 32, 32\); .* gray-rgb, .*\(1, 3, H, W\)",
    ),
    (
        "channels of the output",
        {'form = "ab"': 'form = "lab"'},
        {},
        r"output y is \(1, 2, 32, 32\); .* lab, .*\(1, 3, H, W\)",
    ),
    ("size", {"size = 32": "size = 64"}, {}, "the contract says size 64, and the file has 32 x 32"),
    ("free size", {"size = 32": 'size = "free"'}, {}, "says size free, and the file has the fixed size 32 x 32"),
    ("one axis is fixed", {"size = 32": "size = 64"}, {"shown": (1, 1, 32, "w")}, "size 64, and the file has 32 x any"),
    (
        "dynamic axes",
        {"size = 32": 'size = "file"'},
        {"shown": (1, 1, "h", "w")},
        "takes the size from the file, .* any x any",
    ),
    (
        "no square",
        {"size = 32": 'size = "file"'},
        {"shown": (1, 1, 32, 64)},
        "takes the size from the file, .* 32 x 64",
    ),
    ("multiple", {"size = 32": 'size = "file"\nmultiple = 5'}, {}, "size 32 x 32, which is not a multiple of 5"),
    ("batch", {}, {"shown": (4, 1, 32, 32), "given": (4, 2, 32, 32)}, "input x is for a batch of 4"),
    ("rank", {}, {"shown": (1, 32, 32), "given": (2, 32, 32)}, r"input x is \(1, 32, 32\)"),
    ("channels last", {}, {"shown": (1, 32, 32, 1)}, r"input x is \(1, 32, 32, 1\).*channels first"),
    ("dtype", {}, {"dtype": TensorProto.INT64}, "input x is int64"),
    ("name of the input", {"[input]": '[input]\nname = "L"'}, {}, "no input 'L'.*Write name in .input.* x"),
    ("name of the output", {"[output]": '[output]\nname = "ab"'}, {}, "no output 'ab'.*Write name in .output.* y"),
    ("sha256", {'license = "MIT"': f'sha256 = "{"0" * 64}"'}, {}, "the file has sha256 .*, its contract is for 000"),
]


@pytest.mark.parametrize(
    ("changes", "options", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_file_that_does_not_fit_its_contract_is_one_line(
    tmp_path: Path, changes: dict[str, str], options: dict[str, Any], message: str
) -> None:
    text = CONTRACT
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "net.toml").write_text(text)
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, **options)
    with pytest.raises(UserError, match=message) as caught:
        load_model(f"onnx:{path}")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_several_inputs_or_outputs_are_named(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(CONTRACT)
    more = helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1, 1, 32, 32))
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, inputs=[more])
    with pytest.raises(UserError, match=r"the file has 2 inputs \(x, mask\), and colorbench fills one"):
        load_model(f"onnx:{path}")
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    weights = {"w": MATRIX[:, :, None, None].astype(np.float32), "b": BIAS.astype(np.float32)}
    other = helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 2, 32, 32))
    path = save_network(tmp_path / "net.onnx", nodes, weights, outputs=[other])
    with pytest.raises(UserError, match=r"the file has 2 outputs.*Write name in .output. of the contract: y, z"):
        load_model(f"onnx:{path}")
    (tmp_path / "net.toml").write_text(CONTRACT.replace("[output]", '[output]\nname = "z"'))
    assert float(predicted(load_model(f"onnx:{path}"), torch.full((1, 1, 32, 32), 20.0)).ab.min()) == 0


def test_what_onnxruntime_cannot_load_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.toml").write_text(CONTRACT)
    for nodes, message in (
        ([helper.make_node("NoSuch", ["x"], ["y"])], "NoSuch"),
        ([helper.make_node("Relu", ["nothing"], ["y"])], "nothing"),
    ):
        path = save_network(tmp_path / "net.onnx", nodes, {})
        with pytest.raises(UserError, match=f"onnxruntime cannot load this file: .*{message}") as caught:
            load_model(f"onnx:{path}")
        assert "\n" not in str(caught.value)
    path = save_network(tmp_path / "net.onnx", nodes, {}, change=lambda model: model.graph.ClearField("input"))
    with pytest.raises(UserError, match="the file has no input"):
        load_model(f"onnx:{path}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sides", [("h", "w"), (-1, -1), (32, 32)])
def test_an_old_file_is_read_as_it_was_written(tmp_path: Path, sides: tuple[Any, Any]) -> None:
    """With weights among its inputs, as before 2019, and -1 for a free size."""
    (tmp_path / "net.toml").write_text(CONTRACT)
    weights = [helper.make_tensor_value_info("w", 1, (2, 1, 1, 1)), helper.make_tensor_value_info("b", 1, (2,))]

    def change(model: Any) -> None:
        model.ir_version = 3

    options: dict[str, Any] = {"shown": (1, 1, *sides), "given": (1, 2, *sides), "inputs": weights, "opset": 9}
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS, change=change, **options)
    ab = predicted(load_model(f"onnx:{path}"), torch.full((1, 1, 40, 40), 50.0)).ab
    assert ab[0, :, 0, 0].tolist() == [5, 2.5]


@pytest.mark.parametrize(
    ("gain", "low", "high", "message"),
    [
        (1.0, 0, 255, "RGB output is 0.*; the contract says 0 to 255"),
        (255.0, 0, 1, "RGB output is .* the contract says 0 to 1"),
    ],
)
def test_another_scale_of_rgb_is_refused(
    tmp_path: Path, astronaut: np.ndarray, gain: float, low: float, high: float, message: str
) -> None:
    text = CONTRACT.replace('"lightness"\nlow = 0\nhigh = 100', '"gray-rgb"\nlow = 0\nhigh = 1')
    (tmp_path / "net.toml").write_text(text.replace('form = "ab"', f'form = "rgb"\nlow = {low}\nhigh = {high}'))
    path = save_affine(tmp_path / "net.onnx", gain * np.eye(3), np.zeros(3), shown=(1, 3, 32, 32), given=(1, 3, 32, 32))
    with pytest.raises(UserError, match=message):
        predicted(load_model(f"onnx:{path}"), lightness_of(astronaut[:50, :50]))


@pytest.mark.parametrize("keep", ["lightness", "nothing"])
@pytest.mark.parametrize("form", ["rgb", "lab"])
def test_a_color_image_is_taken_whole_or_for_its_ab(tmp_path: Path, form: str, keep: str) -> None:
    """Of a network that answers one color everywhere."""
    color = np.array([[[200, 120, 40]]], np.uint8)
    value = color.ravel() / 255 if form == "rgb" else skimage.color.rgb2lab(color).ravel()
    text = CONTRACT.replace('form = "ab"', f'form = "{form}"' + ("\nlow = 0\nhigh = 1" if form == "rgb" else ""))
    (tmp_path / "net.toml").write_text(text.replace('keep = "lightness"', f'keep = "{keep}"'))
    path = save_affine(tmp_path / "net.onnx", np.zeros((3, 1)), value, given=(1, 3, 32, 32))
    colors = predicted(load_model(f"onnx:{path}"), torch.full((1, 1, 20, 30), 50.0))
    if keep == "nothing":
        assert (colors.rgb8[0, :, 3, 4].numpy() == color.ravel()).all() and colors.rgb8.shape == (1, 3, 20, 30)
    else:
        assert colors.ab[0, :, 3, 4].numpy() == pytest.approx(skimage.color.rgb2lab(color).ravel()[1:], abs=0.01)


def test_mean_std_range_and_free_size_are_applied(tmp_path: Path) -> None:
    text = CONTRACT.replace("size = 32", 'size = "free"\nmultiple = 8\nmean = [0.5]\nstd = 0.25')
    text = text.replace("high = 100", "high = 1").replace('form = "ab"', 'form = "ab"\nlow = -1\nhigh = 1')
    (tmp_path / "net.toml").write_text(text)
    path = save_affine(
        tmp_path / "net.onnx", np.array([[0.1], [0.2]]), np.zeros(2), shown=("n", 1, "h", "w"), given=("n", 2, "h", "w")
    )
    ab = predicted(load_model(f"onnx:{path}"), torch.full((2, 1, 21, 30), 75.0)).ab
    assert ab.shape == (2, 2, 21, 30)
    assert ab[0, :, 2, 2].tolist() == pytest.approx([11, 22], abs=1e-3)  # (0.75 - 0.5) / 0.25 = 1; times 0.1; times 110


@pytest.mark.parametrize("size", [(20, 90), (90, 20)])
@pytest.mark.parametrize("form", ["lightness", "gray", "gray-rgb"])
def test_every_kernel_keeps_the_sides_of_an_image(tmp_path: Path, form: str, size: tuple[int, int]) -> None:
    """Left half dark, right half light: no kernel moves them, whichever way sides are enlarged or made smaller."""
    channels = 3 if form == "gray-rgb" else 1
    matrix = np.full((2, channels), 1 / channels)
    path = save_affine(tmp_path / "net.onnx", matrix, np.zeros(2), shown=(1, channels, 32, 32))
    lightness = torch.full((1, 1, *size), 20.0)
    lightness[..., size[1] // 2 :] = 70.0
    text = CONTRACT.replace('"lightness"\nlow = 0\nhigh = 100', f'"{form}"\nlow = 0\nhigh = 100')
    for squash in get_args(Squash):
        for upsample in get_args(Upsample):
            changed = text.replace("bicubic-aa", squash).replace('upsample = "bilinear"', f'upsample = "{upsample}"')
            (tmp_path / "net.toml").write_text(changed)
            ab = predicted(load_model(f"onnx:{path}"), lightness).ab
            assert ab.shape == (1, 2, *size)
            low, high = (float(ab[..., columns].mean()) for columns in (slice(None, 6), slice(-6, None)))
            wanted = (20, 70) if form == "lightness" else (18.9, 67.1)  # 100 times the gray level of sRGB of that L
            assert (low, high) == pytest.approx(wanted, abs=0.5), (squash, upsample)


def test_a_model_of_a_file_passes_the_checks_and_follows_the_threads_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(CONTRACT)
    name = f"onnx:{save_affine(tmp_path / 'net.onnx', MATRIX, BIAS)}"
    report = check_colorizer(name)
    report.raise_for_failures()
    assert {one.name for one in report.findings if one.outcome == "skipped"} <= {
        *("threads", "device", "distribution", "features", "redrawn", "samples", "guided")
    }
    colorizer: Any = load_model(name).colorizer
    session, before = colorizer._session, torch.get_num_threads()
    lightness = torch.full((3, 1, 32, 32), 50.0)
    predicted(load_model(name), lightness)
    colorizer.colorize_batch(ColorizerInput(lightness, ("a",) * 3, (0,) * 3))
    assert colorizer._session is session
    try:
        torch.set_num_threads(before + 1)
        colorizer.colorize_batch(ColorizerInput(lightness, ("a",) * 3, (0,) * 3))
        assert colorizer._session.get_session_options().intra_op_num_threads == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_network_that_is_quantized_while_it_runs_is_not_asked_for_a_batch(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(CONTRACT)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    weights = {"w": np.array([0.5, -0.25], np.float32)[:, None, None, None]}
    path = save_network(tmp_path / "net.onnx", nodes, weights, shown=("n", 1, 32, 32), given=("n", 2, 32, 32))
    model = load_model(f"onnx:{path}")
    images = torch.linspace(0, 50, 1024).reshape(1, 1, 32, 32) * torch.tensor([1.0, 1.9]).reshape(2, 1, 1, 1)
    together = predicted(model, images).ab
    assert torch.equal(together[:1], predicted(model, images[:1]).ab)
    assert not torch.equal(together[:1], images[:1] * torch.tensor([0.5, -0.25]).reshape(1, 2, 1, 1))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_gpu_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.toml").write_text(CONTRACT)
    colorizer: Any = load_model(f"onnx:{save_affine(tmp_path / 'net.onnx', MATRIX, BIAS)}").colorizer
    cuda, lightness = torch.device("cuda", 0), torch.full((1, 1, 32, 32), 50.0)
    inputs = ColorizerInput(lightness, ("a",), (0,))
    assert colorizer.runtime_note(torch.device("cpu")) is None
    assert "ran on the CPU: the installed onnxruntime has no support for cuda" in colorizer.runtime_note(cuda)
    expected = colorizer.colorize_batch(inputs).ab
    assert torch.equal(colorizer.to(cuda).colorize_batch(inputs).ab, expected)
    # A runtime that lists CUDA and cannot load it falls back by itself, without a word.
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    assert colorizer.runtime_note(cuda) is None
    colorizer.to(torch.device("cpu")).to(cuda)
    with pytest.raises(UserError, match="onnxruntime cannot use the GPU here.*--device cpu"):
        colorizer.colorize_batch(inputs)


def test_the_fingerprint_is_of_the_file_and_what_decides_in_its_contract(tmp_path: Path) -> None:
    path = save_affine(tmp_path / "a" / "net.onnx", MATRIX, BIAS)
    path.with_suffix(".toml").write_text(CONTRACT)
    other = save_affine(tmp_path / "b" / "net.onnx", MATRIX, BIAS)
    other.with_suffix(".toml").write_text(CONTRACT.replace("MIT", "BSD"))
    first = model_fingerprint(load_model(f"onnx:{path}"))
    assert first.reusable and first.file == load_model(f"onnx:{path}").weights_sha256
    assert model_fingerprint(load_model(f"onnx:{other}")).identity == first.identity
    assert model_fingerprint(load_model(f"onnx:{other}")).weights == first.weights
    other.with_suffix(".toml").write_text(CONTRACT.replace('"bilinear"', '"nearest"'))
    assert model_fingerprint(load_model(f"onnx:{other}")).weights != first.weights
    other.with_suffix(".toml").write_text(CONTRACT)
    save_affine(other, MATRIX + 1, BIAS)
    assert model_fingerprint(load_model(f"onnx:{other}")).weights != first.weights


def test_options_of_the_name(tmp_path: Path) -> None:
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS)
    (tmp_path / "mine.toml").write_text(CONTRACT)
    named = load_model(f"onnx:{path}[contract={tmp_path / 'mine.toml'}]")
    assert named.full_name.endswith("/net.onnx[contract=mine.toml]")
    assert load_model(f"onnx:{path}", contract=str(tmp_path / "mine.toml")).full_name == named.full_name
    for name, message in (
        (f"onnx:{path}[weights={path}]", "does not take a weights file"),
        ("zoo/gray[contract=cic]", "does not take a contract, which is for ONNX files"),
        (f"images:{tmp_path}[contract=cic]", "does not take a contract"),
        (f"onnx:{path}[contract=cic,contract=cic]", "contract is given twice"),
        (f"onnx:{path}[contract=]", "contract has no value"),
        (f"onnx:{tmp_path}/none.onnx[contract=cic]", "no such ONNX file"),
        (str(path), "names of ONNX files have a prefix. Write onnx:"),
        (f"onnx:{path}[contract=mine.toml,decode=mode]", "no such contract|predicts no distribution"),
    ):
        with pytest.raises(UserError, match=message):
            load_model(name)


def test_nothing_of_the_extra_is_imported_before_it_is_needed() -> None:
    root = Path(__file__).parents[2]
    for path in (root / "colorbench").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0].startswith("onnx") for name in names), path


def test_the_contract_is_an_option_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_affine(tmp_path / "net.onnx", MATRIX, BIAS)
    (tmp_path / "mine.toml").write_text(CONTRACT)
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32) // 8).save(tmp_path / "a.png")
    command = ["colorize", str(tmp_path / "a.png"), "-m", f"onnx:{path}", "-o", str(tmp_path / "out")]
    for more, code, message in (
        ([], 2, "has no contract"),
        (["--contract", "ddcolor"], 2, "the contract says gray-rgb"),
        (["--contract", str(tmp_path / "mine.toml")], 0, "colorized 1 of 1"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*command, *more])
        told = capsys.readouterr()
        assert ended.value.code == code and message in told.out + told.err
