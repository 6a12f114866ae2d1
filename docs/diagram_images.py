"""Figures of the guides that show how data flow and how one choice changes results; all are drawn from real runs.

``docs/page_images.py`` calls them. No group needs more than a minute or two on two cores.
"""

from __future__ import annotations

import base64
import html
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from guide_images import chart, markup, save, sheet
from PIL import Image

import colorbench
from colorbench.color import lab_to_rgb8, lightness_and_ab
from colorbench.models import ColorizerInput, load_model
from colorbench.reporting import Axis, Mark, forest_plot, write_report

DOCS = Path(__file__).resolve().parent
BLOCKS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "conv7")
PRESETS = ("ct2", "ct2-converted", "unicolor", "icolorit", "ddcolor-val5k", "ddcolor", "colorformer")
STYLE = """<style>
.cards { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 14px; width: 900px; }
.card { display: block; border: 1px solid #c9c9cf; border-radius: 8px; padding: 10px 14px; background: #fff; }
.card h4 { margin: 0 0 6px; font-size: 15px; } pre { margin: 0; font: 13px/1.5 ui-monospace, monospace; }
.line { display: block; border-top: 1px solid #ddd; margin-top: 8px; padding-top: 8px; }
td, th { text-align: center; } th:first-child, td:first-child { text-align: left; }
.frozen { background: #e4e4e8; } .tuned { background: #c2410c; color: #fff; }
.bars { display: block; position: relative; width: 920px; }
.job { display: block; position: relative; height: 40px; margin-left: 84px; border-bottom: 1px solid #dedee2; }
.job b { position: absolute; left: -84px; top: 9px; font-weight: 600; }
.part { display: block; position: absolute; top: 5px; height: 28px; border-radius: 4px; color: #fff; font-size: 13px;
  line-height: 28px; text-align: center; overflow: hidden; background: #1d6fb8; }
.part.lost { background: #b3123c; } .part.again { background: #4d7c0f; }
.note { position: absolute; top: 9px; font-size: 13px; color: #55555c; white-space: nowrap; }
.axis { display: block; position: relative; height: 22px; margin-left: 84px; font-size: 13px; color: #55555c; }
.axis span { position: absolute; top: 3px; transform: translateX(-50%); }
</style>"""


def write_crops(folder: Path, count: int, size: tuple[int, int] = (320, 240)) -> Path:
    """Write crops of packaged images at their own resolution, without copies."""
    import skimage.data

    originals = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    folder.mkdir(parents=True)
    for number in range(count):
        original = Image.fromarray(originals[number % 4])
        left = 23 * number % (original.width - size[0])
        top = 11 * number % (original.height - size[1])
        crop = original.crop((left, top, left + size[0], top + size[1]))
        crop.save(folder / f"{number:03d}.png")
    return folder


def report(browser: Any, path: Path, name: str, until: str, width: int = 1000) -> None:
    """Write the top of a report, down to a heading."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(path.as_uri())
    end = page.get_by_role("heading", name=until).first.bounding_box()["y"]
    save(name, page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": end}))


def own_protocol(browser: Any, folder: Path) -> None:
    """Write ``add-a-protocol``: the report of the protocol that the guide defines."""
    text = (DOCS / "add-a-protocol.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "chroma_protocol.py" in block)
    (folder / "chroma_protocol.py").write_text(code)
    sys.path.insert(0, str(folder))
    from chroma_protocol import ChromaProtocol

    data = write_crops(folder / "protocol-images", 40)
    colorbench.run("zoo/cic", ChromaProtocol, data, output=folder / "protocol")
    (path,) = (folder / "protocol").glob("zoo/cic.small/*/*/record.json")
    report(browser, write_report(path.parent), "add-a-protocol", "Samples")


def sources(browser: Any, folder: Path) -> None:
    """Write ``data-sources``: the same five images in a folder, a tar file and a Parquet file, and their score."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from terminal_images import packaged_folder

    images = packaged_folder(folder / "sources")
    files = sorted(images.iterdir())
    with tarfile.open(folder / "sources" / "images.tar", "w") as tar:
        for file in files:
            tar.add(file, file.name)
    rows = pa.array([{"bytes": file.read_bytes(), "path": file.name} for file in files])
    pq.write_table(pa.table({"image": rows}), folder / "sources" / "images.parquet")
    cards = []
    for source in ("images", "images.tar", "images.parquet"):
        dataset = colorbench.open_dataset(folder / "sources" / source)
        output = folder / "sources" / f"runs-{source}"
        record = colorbench.run("zoo/cic", "auc", dataset, output=output, baselines=False)
        score = next(one.value for one in record.metrics if one.name == "auc_rebalanced_stable")
        ids = "\n".join(html.escape(sample.id) for sample in dataset.samples)
        cards.append(
            f'<div class="card"><h4>--data {source}{"/" if source == "images" else ""}</h4>ids of the images<pre>{ids}'
            f'</pre><span class="line">AuC of zoo/cic: <b>{score:.4f} %</b></span></div>'
        )
    markup(browser, "data-sources", f'{STYLE}<div class="cards">{"".join(cards)}</div>')


def depth(browser: Any, folder: Path) -> None:
    """Write ``linear-probe``: accuracy against depth, where the class is the image that a crop is from."""
    import skimage.data

    for role, count, shift in (("train", 60, 0), ("test", 60, 7)):
        for name in ("astronaut", "coffee", "chelsea", "rocket"):
            original = Image.fromarray(getattr(skimage.data, name)())
            (folder / "classes" / role / name).mkdir(parents=True)
            for number in range(count):
                left = (53 * number + shift) % (original.width - 40)
                top = (29 * number + shift) % (original.height - 40)
                crop = original.crop((left, top, left + 40, top + 40))
                crop.save(folder / "classes" / role / name / f"{number:03d}.png")
    roles = [f"--data={role}={folder / 'classes' / role}" for role in ("train", "test")]
    settings = ["--param", "preprocessing=squash64", "--param", "seeds=2", "--param", "dims=1000"]
    output = folder / "probe"
    command = ["colorbench", "run", "-m", "zoo/cic", "-p", "linear-probe", *roles, *settings, "-o", str(output)]
    subprocess.run(command, check=True)
    (path,) = output.glob("zoo/cic.small/linear-probe/*/report.html")
    page = browser.new_page(viewport={"width": 480, "height": 900})
    page.goto(path.as_uri())
    save("linear-probe", page.locator(".charts").first.screenshot())


def exported(browser: Any, folder: Path) -> None:
    """Write ``other-programs``: what an ONNX file is given, what it returns, and what is scored."""
    import skimage.data

    image = Image.fromarray(skimage.data.chelsea()).crop((90, 0, 390, 300))
    image.save(folder / "cat.png")
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None]
    lightness, _ = lightness_and_ab(pixels)
    subprocess.run(["colorbench", "export", "zoo/cic", "-o", str(folder / "cic.onnx")], check=True)
    inputs = ColorizerInput(lightness=lightness, ids=("cat",), seeds=(0,))
    ab = load_model(f"onnx:{folder / 'cic.onnx'}").colorizer.colorize_batch(inputs).ab  # type: ignore[union-attr]

    def shown(level: torch.Tensor, colors: torch.Tensor) -> np.ndarray:
        return lab_to_rgb8(torch.cat([level, colors], dim=1))[0].permute(1, 2, 0).numpy()

    images = {
        "the image": np.asarray(image),
        "input of the file: lightness": shown(lightness, torch.zeros_like(ab)),
        "its output: ab, here with L = 65": shown(torch.full_like(lightness, 65.0), ab),
        "what is scored: both joined": shown(lightness, ab),
    }
    sheet(browser, "other-programs", images)


def presets(_: Any, folder: Path) -> None:
    """Write ``published-evaluations``: PSNR of one model on the same images under each preset."""
    data = write_crops(folder / "preset-images", 40)
    rows = []
    for place, preset in enumerate(("", *PRESETS)):
        name = f"fidelity@{preset}" if preset else "fidelity"
        record = colorbench.run("zoo/lite", name, data, output=folder / "presets", baselines=False)
        metric = next(one for one in record.metrics if one.title.startswith("PSNR"))
        text = f"{metric.value:.2f}"
        color = "gray" if not preset else f"s{(place - 1) % 8}"
        rows.append(Mark(name, metric.value, low=metric.ci_low, high=metric.ci_high, color=color, text=text))
    chart("published-evaluations", forest_plot("PSNR", Axis("PSNR of zoo/lite, dB ↑"), rows), folder)


def tuned_blocks(browser: Any, _: Path) -> None:
    """Write ``transfer``: which weights of zoo/cic each value of ``tune`` changes."""
    from protocols.transfer.backbone import Backbone

    def tuned(tune: str) -> int:
        backbone = Backbone(load_model("zoo/cic"), "auto", tune, 64, torch.device("cpu"))
        return sum(one.numel() for one in backbone.tuned)

    above = [tuned(block) for block in BLOCKS]
    assert above[0] == tuned("all")
    own = [here - below for here, below in zip(above, [*above[1:], 0], strict=True)]
    heads = "".join(f"<th>{block}<br><small>{n:,}</small></th>" for block, n in zip(BLOCKS, own, strict=True))
    lines = [f"<tr><th>block<br><small>weights</small></th>{heads}<th>head<br><small>new</small></th></tr>"]
    for tune, first in (("head", 7), ("conv5", BLOCKS.index("conv5")), ("all", 0)):
        cells = "".join(
            f'<td class="{"tuned" if place >= first else "frozen"}">{"tuned" if place >= first else "frozen"}</td>'
            for place in range(8)
        )
        lines.append(f"<tr><td><b>tune={tune}</b></td>{cells}</tr>")
    markup(browser, "transfer", f"{STYLE}<table>{''.join(lines)}</table>")


WORKER = """
import sys, time
from pathlib import Path
import colorbench
from colorbench.processes import work_claims
from colorbench.results import shard

shard.SHARD = 2
take = work_claims.WorkClaims.take

def noted(self, folder, name):
    claim = take(self, folder, name)
    if claim is not None and name[-1].isdigit():
        print("take", name, time.time(), flush=True)
        release = claim.release
        def ended():
            release()
            print("end", name, time.time(), flush=True)
        claim.release = ended
    return claim

work_claims.WorkClaims.take = noted
colorbench.run("slow.py:Slow", "auc", Path("images"), output=Path("runs"), baselines=False, batch_size=2)
"""
"""A job that prints when it claims a shard and when it has written it; shards have two images."""
SLOW = """
import time
import torch
from colorbench.models import ModelCard


class Slow:
    card = ModelCard(title="a second for each batch", license="CC0-1.0")

    def colorize(self, lightness):
        time.sleep(1)
        return torch.zeros_like(lightness).repeat(1, 2, 1, 1)
"""


def jobs(browser: Any, folder: Path) -> None:
    """Write ``cluster``: three jobs that share a run; one is killed."""
    work = folder / "jobs"
    write_crops(work / "images", 84, (64, 48))
    (work / "slow.py").write_text(SLOW)

    def start(name: str) -> subprocess.Popen[bytes]:
        with (work / name).open("w") as log:
            return subprocess.Popen([sys.executable, "-c", WORKER], cwd=work, stdout=log, stderr=subprocess.DEVNULL)

    def ends(name: str) -> int:
        return (work / name).read_text().count("end ")

    running = [start(name) for name in ("job 0", "job 1", "job 2")]
    while ends("job 2") < 2:
        time.sleep(0.1)
    time.sleep(0.3)
    running[2].send_signal(signal.SIGKILL)
    killed = time.time()
    for process in running:
        process.wait()
    _draw_jobs(browser, work, killed)


def _draw_jobs(browser: Any, work: Path, killed: float) -> None:
    """Draw the parts of each job between the first claim and the last end."""
    events = {}
    for name in ("job 0", "job 1", "job 2"):
        lines = [line.split() for line in (work / name).read_text().splitlines()]
        events[name] = [(kind, int(re.sub(r"\D", "", part)), float(moment)) for kind, part, moment in lines]
    first = min(moment for found in events.values() for _, _, moment in found)
    last = max(moment for found in events.values() for _, _, moment in found)
    parts: dict[str, list[tuple[str, int, float, float]]] = {}
    ended = {name: {part for kind, part, _ in found if kind == "end"} for name, found in events.items()}
    lost = {part for _, part, _ in events["job 2"] if part not in ended["job 2"]}
    lost &= ended["job 0"] | ended["job 1"]  # any other was written just before the end
    for name, found in events.items():
        end = 0.0
        taken = {}
        for kind, part, moment in found:
            if kind == "take":
                taken[part] = moment
                continue
            parts.setdefault(name, []).append(("", part, max(taken.pop(part), end), moment))
            end = moment
        if name == "job 2" and lost:  # the part in work; others were claimed ahead
            parts["job 2"].append(("lost", min(lost), end, killed))
    scale = 830 / (last - first)
    rows = []
    for name in ("job 0", "job 1", "job 2"):
        bars = ""
        for kind, part, begin, end in parts[name]:
            style = f"left: {(begin - first) * scale:.1f}px; width: {max((end - begin) * scale - 2, 4):.1f}px"
            kind = "again" if part in lost and kind != "lost" else kind
            bars += f'<span class="part {kind}" style="{style}">{part + 1}</span>'
        rows.append(f'<div class="job"><b>{name}</b>{bars}</div>')
    ticks = "".join(f'<span style="left: {s * scale:.0f}px">{s} s</span>' for s in range(0, int(last - first) + 1, 2))
    markup(browser, "cluster", f'{STYLE}<div class="bars">{"".join(rows)}<div class="axis">{ticks}</div></div>')


def training(browser: Any, folder: Path) -> None:
    """Write ``training``: curves and examples of a training of 300 steps on crops of four images."""
    data, output = write_crops(folder / "training-images", 240, (200, 150)), folder / "trained"
    options = ["--steps", "300", "--validate-every", "25", "-o", str(output), "--device", "cpu"]
    subprocess.run(["colorbench", "train", "zoo/cic", "--data", str(data), *options], check=True)
    files = {"curve.png": output / "curve.png", "examples/0000300.png": output / "examples" / "0000300.png"}
    figures = ""
    for name, file in files.items():
        source = base64.b64encode(file.read_bytes()).decode()
        figures += f'<img src="data:image/png;base64,{source}" style="width: 900px"><p><code>{name}</code></p>'
    markup(browser, "training", figures)


DIAGRAMS: Mapping[str, Callable[[Any, Path], None]] = {
    "own-protocol": own_protocol,
    "sources": sources,
    "depth": depth,
    "exported": exported,
    "presets": presets,
    "tuned": tuned_blocks,
    "jobs": jobs,
    "training": training,
}
"""Name of a group -> the function that writes it."""
