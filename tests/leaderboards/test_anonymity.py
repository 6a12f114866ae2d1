"""Anonymous boards: no text of the page and its data names a person, a machine or a place on it."""

from __future__ import annotations

import base64
import getpass
import io
import json
import re
import shutil
import socket
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from leaderboards.anonymity import Anonymizer
from leaderboards.board_files import build_files
from leaderboards.saved_images import _checked as checked_image
from tests.support.board import change, folders, measured, rewrite

SECRETS = ("jdoe42", "mmuster", "erika.m", "gpu-node7", "/home", "/Users", "C:\\", "C:/", "secretlab", "~/")


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """Records that name their makers wherever a record has text of its own."""
    runs = tmp_path / "of_jdoe42" / "runs"
    shutil.copytree(measured(tmp_path / "m"), runs)
    warm, yellow = (folders(runs)[f"lab/{name}"] for name in ("warm", "yellow"))
    change(
        warm,
        model__name="images:/home/jdoe42/secretlab/predictions",
        model__card__notes="In ~/secretlab/train by jdoe42, jdoe42@gpu-node7 (see C:\\Users\\mmuster\\log.txt).",
        model__card__training_data="/Users/erika.m/data/train",
        model__card__paper="https://example.org/abs/1234",
        model__decoding={"file": "/home/jdoe42/prior.npy"},
        dataset__source="folder /home/jdoe42/images; credits: file:///Users/erika.m/a.txt",
        dataset__name="images-of-jdoe42",
        dataset__limit=None,
        notes=["prior from /home/jdoe42/secretlab/prior.npy", "host gpu-node7.cluster.example, mmuster@gpu-node7"],
        provenance__command=["/home/jdoe42/bin/colorbench", "run", "-d", "/home/jdoe42/images"],
        provenance__git_commit="deadbeef" * 5,
        provenance__platform="Linux gpu-node7",
    )
    rows = pd.read_parquet(yellow / "rows.parquet")
    rewrite(yellow, rows.assign(id=[f"by_jdoe42/{name}" for name in rows["id"]]), model__name="~mmuster/net.py:Yellow")
    change(yellow, provenance__command=[getpass.getuser(), socket.gethostname()])
    # Named outside of usable records, too: one that is excluded, one that was not finished.
    broken = runs / "jdoe42" / "net" / "auc" / "crops-0"
    shutil.copytree(folders(runs)["lab/blue"], broken)
    change(broken, model__name="/home/jdoe42/net.py:Net", dataset__n_gray=10**6)
    change(broken, protocol__name="/home/jdoe42/secretlab/score.py:Score")
    (runs / "jdoe42" / "net" / "auc" / "crops-1" / "shards").mkdir(parents=True)
    return runs


def test_no_string_of_the_page_and_its_data_names_anybody(named: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "board.html"
    output.parent.mkdir()
    made = build_files([named], output, title="Board of jdoe42, /home/jdoe42/x", anonymize=True)
    assert made.excluded == 1 and len(made.files) == 5
    for path in made.files:
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
        plain = text.replace("\\\\", "\\").replace("\\_", "_").replace("\\u002f", "/").replace("&#47;", "/")
        for secret in SECRETS:
            assert secret.lower() not in plain.lower(), (path.name, secret)
        assert "deadbeef" not in plain
    page = output.read_text(encoding="utf-8")
    assert "predictions in predictions" in page and "https://example.org/abs/1234" in page
    assert "colorbench run" not in page and "data:image/webp" in page
    values = {cell["value"] for row in json.loads(made.json_text)["cells"].values() for cell in row.values()}
    named_board = build_files([named], tmp_path / "named.html")
    named_cells = json.loads(named_board.json_text)["cells"]
    assert values == {cell["value"] for row in named_cells.values() for cell in row.values()}
    assert "jdoe42" in (tmp_path / "named.html").read_text(encoding="utf-8"), "the fixture names somebody"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("zoo/cic.small", "zoo/cic.small"),
        ("auc@cic2016", "auc@cic2016"),
        ("images:/home/ann/out", "images:out"),
        ("file.py:Net", "file.py:Net"),
        ("/srv/models/net.py:Net", "net.py:Net"),
        ("images/s, 3/4 of all, and/or", "images/s, 3/4 of all, and/or"),
        ("see https://arxiv.org/abs/1603.08511 and /opt/x/y", "see https://arxiv.org/abs/1603.08511 and y"),
        ("D:\\\\data\\\\set", "set"),
        ("~ann/sets/photos", "photos"),
        ("../../ann/photos", "photos"),
        ("./photos", "photos"),
        ("by Ann, ann_2 and Joanna", "by anonymous, anonymous_2 and Joanna"),
        ("ann@host, b.c@mail.example.org", "anonymous, anonymous"),
        ("lambda = 0.1, 20 / 3, L* a*b*", "lambda = 0.1, 20 / 3, L* a*b*"),
        ("in $HOME/secretlab/x, ${HOME}/lab/y, %USERPROFILE%\\lab\\z", "in x, y, z"),
        ("prior=%2Fhome%2Fann%2Flab%2Fprior.npy", "prior=prior.npy"),
        ("file:///Users/Jane%20Doe/x%2Fy", "y"),
        ("from /Users/Jane Doe/photos by Doe", "from photos by anonymous"),
        ("C:\\Users\\Max Muster\\run, Max Muster", "run, anonymous"),
        ("gpu-node7:/scratch/x, login1.hpc.uni.edu, 10.0.3.17:8888", "anonymous:x, anonymous, anonymous:8888"),
        ("s3://lab-bucket/team/set, \\\\server\\share\\ann\\set", "s3:set, set"),
        ("images:/data/out, onnx:/a/b.onnx", "images:out, onnx:b.onnx"),
        ("torch 2.11.0, zoo.cic.network, 0.38, page 3.1", "torch 2.11.0, zoo.cic.network, 0.38, page 3.1"),
    ],
)
def test_texts_lose_what_names_somebody_and_keep_the_rest(text: str, shown: str) -> None:
    assert Anonymizer(["/home/ann/x", text], ["auc"]).text(text) == shown


def test_names_of_datasets_and_protocols_are_no_names_of_users() -> None:
    texts = ["/srv/shared/data/val650/images", "/home/zoo/x", "/Users/auc", "/nfs/home/erika/y"]
    names = Anonymizer(texts, ["auc"])
    assert names.text("auc of zoo/gray on val650") == "auc of zoo/gray on val650"
    assert names.text("by Erika") == "by anonymous"


def test_public_pages_leave_out_thumbnails_without_known_rights(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(measured(tmp_path / "m"), runs)
    for folder in folders(runs).values():
        change(folder, dataset__redistributable=False)
    own = build_files([runs], tmp_path / "own.html")
    assert "data:image/webp" in (tmp_path / "own.html").read_text() and any("--public" in one for one in own.warnings)
    passed_on = build_files([runs], tmp_path / "public.html", public=True)
    assert "data:image/webp" not in (tmp_path / "public.html").read_text()
    assert not any("rights unknown; use" in one for one in passed_on.warnings)


@pytest.mark.parametrize("how", ["exif", "xmp", "icc_profile", "after the image", "png text"])
def test_an_embedded_image_carries_nothing_but_pixels(how: str) -> None:
    image, buffer, secret = Image.new("RGB", (32, 32), "red"), io.BytesIO(), b"jdoe42 of secretlab"
    if how == "png text":
        info = PngImagePlugin.PngInfo()
        info.add_text("Author", secret.decode())
        image.save(buffer, "PNG", pnginfo=info)
    elif how == "after the image":
        image.save(buffer, "WEBP")
        buffer.write(secret)
    else:
        image.save(buffer, "WEBP", **{how: b"Exif\0\0" + secret if how == "exif" else secret})
    assert secret in buffer.getvalue()
    shown = checked_image(buffer.getvalue(), "small")
    assert shown is not None and secret not in base64.b64decode(shown.partition(",")[2])
