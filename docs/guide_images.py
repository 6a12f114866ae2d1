"""The figures of the guides, made by ``python docs/page_images.py``: of the packaged images and the shipped records."""

from __future__ import annotations

import base64
import html
import io
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import colorbench
from colorbench.color import lab_to_rgb8, lightness_and_ab
from colorbench.models import ColorizerInput, load_model
from colorbench.reporting import Axis, Level, Line, Mark, Plot, forest_plot, plot
from colorbench.results import Record, read_record

DOCS = Path(__file__).resolve().parent
RECORDS = DOCS.parent / "leaderboards" / "reference" / "records" / "zoo"
LARGEST = 100_000
"""Bytes of a figure."""
TABLE_1 = {
    "Random": (84.2, 57.3),
    "Gray": (89.1, 58.0),
    "Dahl": (90.4, 58.9),
    "Larsson et al.": (91.7, 65.9),
    "Ours (L2)": (91.2, 64.4),
    "Ours (L2, ft)": (91.5, 66.2),
    "Ours (class)": (91.6, 65.1),
    "Ours (full)": (89.5, 67.3),
}
"""AuC of "Colorful Image Colorization", table 1: without and with rebalancing."""
STYLE = """body { margin: 0; padding: 14px; width: max-content; background: #fbfbfa; color: #1d1d1f;
  font: 15px/1.4 system-ui, "Segoe UI", Roboto, sans-serif; }
div { display: flex; gap: 12px; } figure { margin: 0; width: 200px; } img { display: block; width: 200px; }
figcaption { margin-top: 4px; } table { border-collapse: collapse; }
th, td { padding: 3px 10px; border: 1px solid #ddd; }"""


def write_small(image: Image.Image, path: Path) -> None:
    """Write an image as WebP with the best quality that keeps the file below 100 kB."""
    for quality in (82, 75, 68, 60, 50, 40):
        image.save(path, quality=quality, method=6)
        if path.stat().st_size < LARGEST:
            return


def save(name: str, shot: bytes) -> None:
    """Write an image as a small file beside this one."""
    write_small(Image.open(io.BytesIO(shot)).convert("RGB"), DOCS / f"{name}.webp")


def chart(name: str, drawn: Plot, folder: Path) -> None:
    """Write a plot."""
    drawn.write(folder / f"{name}.png")
    save(name, (folder / f"{name}.png").read_bytes())


def markup(browser: Any, name: str, body: str) -> None:
    """Write a piece of HTML as it looks in a browser."""
    page = browser.new_page(viewport={"width": 1100, "height": 600})
    page.set_content(f"<!doctype html><style>{STYLE}</style>{body}")
    save(name, page.locator("body").screenshot())


def sheet(browser: Any, name: str, images: Mapping[str, np.ndarray]) -> None:
    """Write images side by side: caption -> (H, W, 3) uint8."""
    figures = []
    for caption, pixels in images.items():
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        source = base64.b64encode(buffer.getvalue()).decode()
        caption = html.escape(caption)
        figures.append(f'<figure><img src="data:image/png;base64,{source}"><figcaption>{caption}</figcaption></figure>')
    markup(browser, name, f"<div>{''.join(figures)}</div>")


def shipped(model: str, protocol: str = "auc") -> Record:
    """Return a shipped record."""
    (path,) = (RECORDS / model / protocol).glob("*/record.json")
    return read_record(path.parent)


def packaged(name: str, side: int = 256) -> np.ndarray:
    """Return the central square of an image of scikit-image, (side, side, 3) uint8."""
    import skimage.data

    image = Image.fromarray(getattr(skimage.data, name)())
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    return np.asarray(image.crop((left, top, left + short, top + short)).resize((side, side)))


def metrics(_: Any, folder: Path) -> None:
    """Write ``metrics-auc``: the curves whose area is the score, of the shipped records."""
    colors = {"ground-truth": "truth", "half-chroma": "reference", "constant": "constant", "gray": "gray"}
    lines = []
    for model, color in ({"cic.small": "s0"} | colors).items():
        record = shipped(model)
        curve = next(one for one in record.curves if one.name == "auc_rebalanced_stable")
        score = next(one.value for one in record.metrics if one.name == curve.name)
        lines.append(Line(f"zoo/{model}, area {score:.1f} %", curve.x, curve.y, color))
    axes = Axis("threshold on the ab error", 0, 150), Axis("weighted pixels below it, %", 0, 100)
    chart("metrics-auc", plot("AuC rebalanced (λ = 0.1)", *axes, lines=lines), folder)


def faq(_: Any, folder: Path) -> None:
    """Write ``faq-constant``: models between gray and a constant color, of the shipped records."""

    def value(model: str) -> Any:
        return next(one for one in shipped(model).metrics if one.name == "auc_rebalanced_stable")

    models = ("lite.small", "cic.small", "l2.small", "l2-ft.small", "cic-class.small", "cic.untrained")
    rows = []
    for place, model in enumerate(models):
        one = value(model)
        rows.append(
            Mark(
                f"zoo/{model}", one.value, low=one.ci_low, high=one.ci_high, color=f"s{place}", text=f"{one.value:.1f}"
            )
        )
    levels = [Level(f"zoo/{name} {value(name).value:.1f}", value(name).value, name) for name in ("gray", "constant")]
    chart("faq-constant", forest_plot("AuC", Axis("AuC rebalanced (λ = 0.1), % ↑"), rows, levels=levels), folder)


def reproduce(_: Any, folder: Path) -> None:
    """Write ``reproduce-cic``: the two AuC columns of the paper's table against each other."""
    colors = {"Random": "reference", "Gray": "gray"}
    marks = [
        Mark(name, raw, rebalanced, color=colors.get(name, f"s{place % 8}"), shape="s" if name == "Gray" else "o")
        for place, (name, (raw, rebalanced)) in enumerate(TABLE_1.items())
    ]
    axes = Axis("AuC, raw, %", 83, 93), Axis("AuC, rebalanced, %", 56, 69)
    chart("reproduce-cic", plot("Table 1", *axes, marks=marks, labeled=True), folder)


def diversity(browser: Any, _: Path) -> None:
    """Write ``diversity-samples``: four draws of a network for one image, and one of independent pixels."""
    original = torch.from_numpy(packaged("coffee").copy()).permute(2, 0, 1)[None]
    lightness, _ab = lightness_and_ab(original)

    def drawn(model: str, count: int) -> list[np.ndarray]:
        inputs = ColorizerInput(lightness=lightness, ids=("coffee",), seeds=(0,))
        colorizer: Any = load_model(model).colorizer
        with torch.inference_mode():
            found = colorizer.sample(inputs, [(seed,) for seed in range(count)])
        rgb = [lab_to_rgb8(torch.cat([lightness, one.ab], dim=1)) for one in found]
        return [one[0].permute(1, 2, 0).numpy() for one in rgb]

    images = {"ground truth": original[0].permute(1, 2, 0).numpy()}
    samples = drawn("zoo/cic-class[decode=mean]", 3)
    images |= {f"zoo/cic-class, sample {number}": one for number, one in enumerate(samples, start=1)}
    images["zoo/cic-pixelwise"] = drawn("zoo/cic-pixelwise[decode=mean]", 1)[0]
    sheet(browser, "diversity-samples", images)


def hints(browser: Any, folder: Path) -> None:
    """Write ``hints-curves``: the control on crops of the packaged images."""
    from tests.support.engine import write_images

    write_images(folder / "crops", 40)
    data = ["--data", str(folder / "crops")]
    path = _report("--model", "zoo/nearest-hint", "--protocol", "hints", *data, "--output", str(folder / "hints"))
    page = browser.new_page(viewport={"width": 700, "height": 900})
    page.goto(path.as_uri())
    save("hints-curves", page.locator(".charts").screenshot())


def distribution(browser: Any, folder: Path) -> None:
    """Write ``distribution-kid``: the headline with intervals, on crops of the packaged images."""
    from leaderboards.board_files import build_files
    from tests.support.engine import write_images

    data = write_images(folder / "crops", 40)
    models = ["zoo/half-chroma", "zoo/l2", "zoo/cic", "zoo/lite", "zoo/random"]
    colorbench.run(models, "distribution", data, output=folder / "distribution")
    build_files([folder / "distribution"], folder / "distribution.html")
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.goto((folder / "distribution.html").as_uri())
    save("distribution-kid", page.locator(".chart svg").first.screenshot())


def semantic(browser: Any, folder: Path) -> None:
    """Write ``semantic-report``: the first table of a report on the packaged images."""
    path = _report("--model", "zoo/cic", "--protocol", "semantic", "--output", str(folder / "semantic"))
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(path.as_uri())
    end = page.get_by_role("heading", name="Samples").bounding_box()["y"]
    save("semantic-report", page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1000, "height": end}))


def colorize(browser: Any, folder: Path) -> None:
    """Write ``colorize``: input and result side by side."""
    Image.fromarray(packaged("chelsea", 300)).convert("L").save(folder / "cat.png")
    result = colorbench.colorize(folder / "cat.png", "zoo/lite")
    gray = np.asarray(Image.open(folder / "cat.png").convert("RGB"))
    result.save(folder / "colored.png")
    sheet(
        browser, "colorize", {"input": gray, "zoo/lite": np.asarray(Image.open(folder / "colored.png").convert("RGB"))}
    )


def folder_of_predictions(browser: Any, _: Path) -> None:
    """Write ``evaluate-a-folder``: which framing of a prediction is taken and which refused."""
    whole = Image.fromarray(packaged("astronaut", 400)).crop((0, 40, 400, 340))
    side = whole.height
    images = {
        "the image": whole,
        "prediction of half the size: resized": whole.resize((200, 150)).resize(whole.size, Image.Resampling.NEAREST),
        "squashed to 256 × 256: taken as it is by squash256": whole.resize((side, side)),
        "center crop: refused": whole.crop(((whole.width - side) // 2, 0, (whole.width + side) // 2, side)),
    }
    sheet(browser, "evaluate-a-folder", {caption: np.asarray(one) for caption, one in images.items()})


def python(browser: Any, folder: Path) -> None:
    """Write ``python-table``: results as a notebook shows them."""
    records = colorbench.run(["zoo/cic", "zoo/lite"], "auc", output=folder / "python")
    markup(browser, "python-table", records._repr_html_())


def _report(*arguments: str) -> Path:
    """Run ``colorbench run`` and return the report of its first model; the last argument is the output folder."""
    subprocess.run(["colorbench", "run", *arguments], check=True)
    return next(path for path in sorted(Path(arguments[-1]).rglob("report.html")) if arguments[1] in str(path))


GROUPS: Mapping[str, Callable[[Any, Path], None]] = {
    "metrics": metrics,
    "faq": faq,
    "reproduce": reproduce,
    "diversity": diversity,
    "hints": hints,
    "distribution": distribution,
    "semantic": semantic,
    "colorize": colorize,
    "folder": folder_of_predictions,
    "python": python,
}
"""Name of a group -> the function that writes it."""
