"""Random and damaged input to every reader of untrusted files: it gives a value, or an expected error in one line.

``corpus/READER/`` holds what was found once, and is read each time. FUZZ_EXAMPLES=10000 searches for longer, with
other examples on each call: a finding is added to the corpus with its fix.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow
import pyarrow.ipc
import pytest
import torch
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

import colorbench
from colorbench.cli import app
from colorbench.color import load_prior
from colorbench.data import decode_image, open_dataset
from colorbench.data.image_decoding import UnreadableImage, decode_bytes
from colorbench.data.input_manifest import read_manifest
from colorbench.data.sources.lists_and_labels import read_labels, read_list
from colorbench.errors import ColorbenchError
from colorbench.models.onnx_contract import read_contract
from colorbench.models.weights_files import load_weights
from colorbench.results.rows_parquet import read_rows, rows_table
from colorbench.results.saved_image_index import read_index
from colorbench.storage import InvalidImage, InvalidTable, decode_saved_image
from colorbench.storage.safe_reading import arrays_of
from colorbench.verification import read_verification
from protocols.human_study.study_folder.design_schema import read_design
from tests.support.containers import write_parquet, write_tar
from tests.support.hostile_files import png, table
from tests.support.onnx_files import CONTRACT
from tests.support.study_responses import make_design
from zoo.cic.trunk_colorizer import read_card

CORPUS = Path(__file__).parent / "corpus"
COUNT = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SETTINGS = settings(
    max_examples=COUNT,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
Read = Callable[[Path], Any]


class Reader(NamedTuple):
    """A reader of one kind of file."""

    file: str
    """Name of the file, below a folder."""
    read: Read
    """Is given its path."""
    seeds: tuple[bytes, ...]
    """Valid files."""
    expected: tuple[type[Exception], ...] = (ColorbenchError,)


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, counts=np.arange(12).reshape(4, 3), scores=np.ones((4, 2), np.float32))
    return buffer.getvalue()


def _pth() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2, 3)}, buffer)
    return buffer.getvalue()


def _options(path: Path) -> None:
    """Parse a file of options, and run nothing."""
    command: Any = typer.main.get_command(app)
    run = command.get_command(click.Context(command), "run")
    run.make_context("run", ["--config", str(path)])


def _opened(path: Path) -> None:
    """Open a file as a dataset, and read and decode its images."""
    for sample in open_dataset(path).samples:
        decode_image(sample)


def _saved(path: Path) -> None:
    """Open the folder of a file that describes a saved dataset."""
    (path.parent / "dataset_info.json").write_text("{}")
    table = pyarrow.table({"image": [{"bytes": png(4, 4), "path": "a.png"}]})
    with pyarrow.ipc.new_stream(path.parent / "data-00000.arrow", table.schema) as stream:
        stream.write_table(table)
    _opened(path.parent)


def _copied(path: Path) -> None:
    """Open the folder of the note of a resized copy."""
    (path.parent / "a.png").write_bytes(png(4, 4))
    _opened(path.parent)


def _described_prior(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.full(313, 1 / 313))
    load_prior(path.with_suffix(".npy"))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _written(write: Callable[..., Path], *arguments: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "file", *arguments).read_bytes()


def write_image_table(path: Path) -> Path:
    return write_parquet(path, {"a.png": png(4, 4), "b.png": png(5, 3)}, [0, 1])


def _design() -> bytes:
    design = make_design(participants=4, trials=4, sentinels=1, images=6)
    return design.model_dump_json().encode()


def _record() -> bytes:
    shipped = Path(colorbench.__file__).parent.parent / "leaderboards" / "reference" / "records"
    smallest = min(shipped.rglob("record.json"), key=lambda path: path.stat().st_size)
    return smallest.read_bytes()


_INDEX = [
    {"id": "a.jpg", "sha256": "0" * 64, "prediction": "a.webp", "truth": "b.webp", "gray": "c.webp"}
    | {"reasons": ["fixed"], "scores": {"auc_raw": 1.5, "psnr": None}}
]
_MANIFEST = {"kind": "colorbench inputs", "schema_version": 1, "colorbench": "0.1.0", "dataset": "x", "gray": "cie-l"}
_IMAGE = {"id": "a", "file": "a.png", "width": 3, "height": 2, "source_sha256": "0" * 64, "sha256": "1" * 64}
_REPORT = {"record_sha256": "0" * 64, "key": None, "model": None, "protocol": None, "rerun": None, "holds": True}
_CHECK = {"name": "rows", "outcome": "holds", "detail": "fine"}
_NOTE = {"dataset": "x", "source": "y", "short_side": 256, "files": "0", "complete": True}
_NOTE["kind"] = "colorbench resized copy"
_DAMAGED = (InvalidTable, pyarrow.ArrowException, OSError, ValueError)
READERS: dict[str, Reader] = {
    "record": Reader("record.json", lambda path: colorbench.read_record(path.parent), (_record(),)),
    "rows": Reader("rows.parquet", lambda path: rows_table(path.read_bytes(), 4), (table(4),), _DAMAGED),
    "own-rows": Reader("rows.parquet", read_rows, (table(4),)),
    "arrays": Reader("arrays.npz", lambda path: arrays_of(path.read_bytes(), 4), (_npz(),), (InvalidTable,)),
    "index": Reader(
        "thumbnails/index.json", lambda path: read_index(path.parent.parent), (json.dumps(_INDEX).encode(),)
    ),
    "report": Reader(
        "report.json",
        read_verification,
        (json.dumps({**_REPORT, "checks": [_CHECK], "colorbench_version": "0", "time": "now"}).encode(),),
    ),
    "labels": Reader("labels.csv", read_labels, (b"file,class_index,synset\na.jpg,0,n01\nb/c d.png,3.0,n02\n",)),
    "list": Reader("list.txt", read_list, (b"/n01/a b.JPEG 0\nn02/b.JPEG 1\n", b"a.jpg\n\nb.jpg\n")),
    "manifest": Reader(
        "manifest.json",
        read_manifest,
        (json.dumps({**_MANIFEST, "preprocessing": "native", "images": [_IMAGE]}).encode(),),
    ),
    "prior": Reader("prior.npy", load_prior, (_npy(np.full(313, 1 / 313)),)),
    "prior-description": Reader("prior.json", _described_prior, (b'{"kind": "soft", "images": 3, "notes": "x"}',)),
    "card": Reader("net.json", read_card, (b'{"title": "a", "settings": {"width": 0.2}, "working_size": 176}',)),
    "tar": Reader(
        "a.tar",
        _opened,
        (_written(write_tar, {"a/1.png": png(4, 4), "a/1.cls": b"3", "b.png": png(3, 5), "b.cls": b"1"}),),
        (ColorbenchError, UnreadableImage),
    ),
    "table-of-images": Reader("a.parquet", _opened, (_written(write_image_table),), (ColorbenchError, UnreadableImage)),
    "saved-dataset": Reader("state.json", _saved, (b'{"_data_files": [{"filename": "data-00000.arrow"}]}',)),
    "design": Reader("design.json", lambda path: read_design(path.parent), (_design(),)),
    "copy-note": Reader(
        "resized_copy.json",
        _copied,
        (json.dumps(_NOTE).encode(),),
    ),
    "contract": Reader("model.toml", read_contract, (CONTRACT.encode(),)),
    "options": Reader(
        "run.yaml",
        _options,
        (b"model: [zoo/gray, zoo/cic]\nprotocol: auc\nlimit: 3\nparam:\n  auc: {step: 1}\nbaselines: false\n",),
        (ColorbenchError, click.ClickException),
    ),
    "weights": Reader("net.safetensors", load_weights, (save({"weight": torch.ones(2, 3)}),)),
    "pickled-weights": Reader("net.pth", load_weights, (_pth(),)),
    "image": Reader("a.png", lambda path: decode_bytes(path.read_bytes()), (png(9, 7),), (UnreadableImage,)),
    "saved-image": Reader("a.webp", lambda path: decode_saved_image(path.read_bytes()), (png(9, 7),), (InvalidImage,)),
}
TOKENS = [
    *(b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b" ", b"[", b"{", b"}", b'"', b"'", b",", b"/../", b"-"),
    *(b"9" * 400, b"9" * 5000, b"NaN", b"-Infinity", b"1e999", b"null", b"true", b"[]", b"{}", b"\\ud800", b"\\u0000"),
    *("\u202e\x1b[31m\u0663".encode(), b"[" * 2000, b"{a: " * 2000, b"a=[" * 500, b"x" * 70_000, b"&a [*a]", b"!!int "),
    *(b"\xff\xff\xff\x7f", b"\0\0\0\0", b"PK\x01\x02", b"\xff" * 8),
]


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A valid file with a few parts replaced, inserted, removed or repeated."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 40]))
        kind = draw(st.sampled_from(["token", "token", "bytes", "repeat"]))
        if kind == "token":
            put = draw(st.sampled_from(TOKENS))
        elif kind == "bytes":
            put = draw(st.binary(max_size=8))
        else:
            put = content[start : start + length] * draw(st.integers(2, 50))
        content = content[:start] + put + content[start + length :]
    return content if draw(st.integers(0, 9)) else content[: draw(st.integers(0, len(content)))]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings of tar files go elsewhere than to the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def check(reader: Reader, content: bytes, folder: Path) -> None:
    """Read a file; what is raised must be expected, and of ours in one line of bounded length."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    said = ""
    try:
        reader.read(path)
    except reader.expected as error:
        said = str(error) if isinstance(error, ColorbenchError) else ""
    assert len(said.splitlines()) <= 1 and len(said) < 2000


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_expected_errors(name: str, tmp_path: Path) -> None:
    reader = READERS[name]

    @SETTINGS
    @given(content=damaged(reader.seeds) | st.binary(max_size=200))
    @example(content=b"")
    def read(content: bytes) -> None:
        check(reader, content, tmp_path)

    for seed in reader.seeds:
        (tmp_path / reader.file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / reader.file).write_bytes(seed)
        reader.read(tmp_path / reader.file)  # the untouched file is valid
    read()


FOUND = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_once_stays_fixed(found: str, tmp_path: Path) -> None:
    check(READERS[found.partition("/")[0]], (CORPUS / found).read_bytes(), tmp_path)


def test_the_corpus_has_only_known_readers() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(READERS)
    assert zipfile.is_zipfile(io.BytesIO(_npz()))
