"""Does a record hold together? An untouched one does; whatever is changed in it is found and named."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

from colorbench.data import Dataset, open_dataset
from colorbench.errors import UserError
from colorbench.evaluation import metrics_of
from colorbench.results import load_run
from colorbench.storage import is_inside
from colorbench.verification.rerun_comparison import TOLERANCE, departure, rerunner
from colorbench.verification.rerun_measurement import Wanted
from colorbench.verification.verification_schema import read_verification
from colorbench.verification.verify_record import verify
from protocols.auc import AucProtocol
from tests.support.engine import write_images
from tests.support.records import (
    Ended,
    edit_record,
    edit_rows,
    ended,
    everything,
    measure,
    put_file,
    put_rows,
    record_of,
)

COUNT = 32


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("verify") / "crops"
    write_images(folder, COUNT)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> Path:
    """Records of a network, a stochastic model, gray and constant, with images."""
    folder = tmp_path_factory.mktemp("verify") / "runs"
    measure(folder, images, ["zoo/cic.small", "zoo/random"], baselines=True, save="gallery")
    return folder


@pytest.fixture
def folder(output: Path, tmp_path: Path) -> Path:
    """A record of one's own to spoil, the baselines' beside it."""
    shutil.copytree(output, tmp_path / "runs")
    return next((tmp_path / "runs" / "zoo" / "cic.small" / "auc").iterdir())


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run ``colorbench ...`` in this process."""
    return lambda *arguments: ended(capsys, arguments)


def failing(folder: Path, **settings: Any) -> dict[str, str]:
    """Name -> first finding of the checks that fail."""
    found: dict[str, str] = {}
    for check in verify(folder, **settings).checks:
        if check.outcome == "fails":
            found.setdefault(check.name, check.detail)
    return found


def test_an_untouched_record_holds_and_stays_untouched(folder, images) -> None:
    before = everything(folder.parents[3])
    found = verify(folder, images=images)
    assert found.holds
    assert {check.name: check.outcome for check in found.checks} == dict.fromkeys(
        (
            *("record", "arrays", "saved images", "identity", "rows", "dataset", "model"),
            *("scores", "metrics", "differences", "curves", "data", "key"),
        ),
        "holds",
    )
    assert everything(folder.parents[3]) == before


def test_without_images_and_baselines_the_rest_is_checked(folder, tmp_path) -> None:
    alone = tmp_path / "mailed"
    shutil.copytree(folder, alone)
    found = verify(alone)
    assert found.holds
    assert {check.name for check in found.checks if check.outcome == "unchecked"} == {"key", "differences"}


def of_metric(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["metrics"][2].update(changes)


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        (of_metric(value=99.0), "metrics", "auc_rebalanced_stable: value 99 is stored, the rows give"),
        (of_metric(ci_low=1.0), "metrics", "ci_low 1 is stored"),
        (of_metric(ci_low=None, ci_high=None, ci_method=None), "metrics", "ci_low none is stored"),
        (of_metric(effective_n=31.5), "metrics", "effective_n 31.5 is stored"),
        (of_metric(higher_is_better=False), "metrics", "higher_is_better False is stored"),
        (of_metric(form="abs_difference"), "metrics", "form 'abs_difference' is stored"),
        (lambda r: r["metrics"][1].update(comparable=True), "metrics", "auc_rebalanced: comparable True is stored"),
        (lambda r: r["differences"][0].update(value=7.0), "differences", "minus zoo/gray: value 7 is stored"),
        (lambda r: r["curves"][0]["y"].__setitem__(5, 50.0), "curves", "the curve auc_raw does not follow"),
        (lambda r: r["dataset"].update(fingerprint="0" * 64), "dataset", "fingerprint"),
        (lambda r: r["dataset"].update(n=40), "dataset", "40 images are not 32 evaluated and 0 skipped"),
        (lambda r: r["dataset"].update(n_gray=3), "dataset", "3 gray images"),
        (lambda r: r["dataset"].update(n_evaluated=31), "rows", "32 rows for 31 images"),
        (lambda r: r["protocol"]["identity"].update(preprocessing="native"), "identity", "is stored, not"),
        (lambda r: r["protocol"]["parameters"].update(convention="exact"), "identity", "another identity"),
        (lambda r: r.update(key="0" * 64), "key", "not the hash"),
        (lambda r: r["execution"].update(seed=5), "key", "not the hash"),
        (lambda r: r["model"].update(name="zoo/better"), "key", "not the hash"),
        (lambda r: r.update(surprise=1), "record", "not a record of this schema version"),
        (lambda r: r["metrics"][0].update(value="NaN"), "record", "not a record of this schema version"),
        (lambda r: r["model"]["card"].update(title="\x1b]0;owned\x07"), "record", "control characters"),
    ],
)
def test_a_changed_record_is_found(folder, images, change, check, message) -> None:
    edit_record(folder, change)
    found = failing(folder, images=images)
    assert check in found
    assert message in found[check]


def test_changed_rows_are_found_with_and_without_their_checksum(folder) -> None:
    edit_rows(folder, lambda columns: columns["auc_raw"].__setitem__(3, 99.0))
    assert set(failing(folder)) == {"scores", "saved images"}  # the index holds its score, too
    edit_rows(folder, lambda columns: columns["auc_raw.s0"].__setitem__(4, 1.0))
    assert {"scores", "metrics", "differences"} <= set(failing(folder))
    (folder / "rows.parquet").write_bytes((folder / "rows.parquet").read_bytes() + b"\n")
    found = failing(folder)
    assert "not those that the record was made with" in found["rows"]


def test_changed_and_missing_files_are_found(folder) -> None:
    images = sorted((folder / "thumbnails").glob("*.webp"))
    images[0].write_bytes(images[1].read_bytes())
    images[2].unlink()
    lines = [check.detail for check in verify(folder).checks if check.outcome == "fails"]
    for line in (
        f"thumbnails/{images[0].name} is not the file with which the record was made",
        f"'thumbnails/{images[2].name}' is not a file of this record",
        f"a saved image is missing (thumbnails/{images[2].name})",
    ):
        assert line in lines


def test_predictions_are_checked_against_their_list(images, tmp_path) -> None:
    folder = measure(tmp_path, images, ["zoo/gray"], save="predictions")["zoo/gray"]
    assert {check.name: check.outcome for check in verify(folder).checks}["predictions"] == "holds"
    one = next((folder / "predictions").rglob("*.png"))
    one.write_bytes(b"another image")
    assert one.name in failing(folder)["predictions"]


def forged(folder: Path) -> None:
    """Half the distance to the truth, with every number of the record derived from that, and no arrays or images."""

    def better(columns: dict[str, Any]) -> None:
        for name in ("auc_raw", "auc_rebalanced", "auc_rebalanced_stable"):
            columns[f"{name}.s0"] = (columns[f"{name}.s0"] + 100 * columns[f"{name}.s1"]) / 2
            columns[name] = columns[f"{name}.s0"] / columns[f"{name}.s1"]

    edit_rows(folder, better)
    run = load_run(folder)
    metrics = metrics_of(AucProtocol.spec.metrics, run.columns, {})

    def follow(record: dict[str, Any]) -> None:
        record["metrics"] = [json.loads(metric.model_dump_json()) for metric in metrics]
        record["differences"] = []

    edit_record(folder, follow)
    (folder / "arrays.npz").unlink()
    shutil.rmtree(folder / "thumbnails")


def test_rows_that_were_never_measured_are_found_by_measuring_again(folder, images) -> None:
    forged(folder)
    assert failing(folder, images=images) == {}  # all of it holds together
    found = verify(folder, rerun=rerunner(Wanted(3, images, seed=1)))
    assert not found.holds
    assert {check.name for check in found.checks if check.outcome == "fails"} == {"rerun"}
    assert found.rerun is not None
    assert found.rerun.largest > 10 * TOLERANCE


@pytest.mark.parametrize("model", ["cic.small", "random"])
def test_a_rerun_of_true_rows_holds(output, images, model) -> None:
    folder = next((output / "zoo" / model / "auc").iterdir())
    found = verify(folder, rerun=rerunner(Wanted(5, images, seed=2, batch_size=3)))
    assert found.holds, found.checks
    assert found.rerun is not None
    assert (found.rerun.images, found.rerun.seed, len(set(found.rerun.ids))) == (5, 2, 5)
    # Batches of 3 instead of 16 move a network's last digits, and nothing more.
    assert found.rerun.largest < TOLERANCE / 10


def test_another_draw_takes_other_images(output, images) -> None:
    folder = next((output / "zoo" / "gray" / "auc").iterdir())
    first, second = (verify(folder, rerun=rerunner(Wanted(4, images, seed))).rerun for seed in (1, 2))
    assert first is not None
    assert second is not None
    assert first.ids != second.ids


def test_columns_of_the_full_set_are_not_measured_on_a_few(images, tmp_path) -> None:
    folder = measure(tmp_path, images, ["zoo/half-chroma"], parameters={"prior": "dataset"})["zoo/half-chroma"]
    assert verify(folder, rerun=rerunner(Wanted(3, images, seed=0))).holds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["model"].update(name="evil.py:Model"), "only installed models are loaded"),
        (lambda r: r["model"].update(name="images:/"), "only installed models are loaded"),
        (lambda r: r["model"].update(name="zoo/cic@mine"), "only installed models are loaded"),
        (lambda r: r["model"].update(name="zoo/cic[weights=/dev/zero]"), "only installed models are loaded"),
        (lambda r: r["model"].update(name="zoo/nothing"), "zoo/nothing"),
        (lambda r: r["model"].update(name="somebodys/model"), "somebodys/model"),
        (lambda r: r["protocol"].update(name="somebodys-protocol"), "somebodys-protocol"),
    ],
)
def test_a_rerun_of_what_is_not_here_is_not_checked_and_runs_nothing(folder, images, change, message, tmp_path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    edit_record(folder, change)
    found = verify(folder, rerun=rerunner(Wanted(2, images, seed=0)))
    (line,) = [check for check in found.checks if check.name == "rerun"]
    assert (line.outcome, found.rerun) == ("unchecked", None)
    assert message in line.detail
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["model"].update(name="zoo/cic.untrained"), "the model is different here: weights"),
        (lambda r: r["model"]["card"].update(role="reference"), "the model is different here: role"),
    ],
)
def test_a_rerun_refuses_another_model_than_the_records(folder, images, change, message) -> None:
    edit_record(folder, change)
    assert message in failing(folder, rerun=rerunner(Wanted(2, images, seed=0)))["rerun"]


def test_a_rerun_needs_the_same_images(folder, tmp_path) -> None:
    other = write_images(tmp_path / "other", COUNT, side=40)
    assert "a different image here" in failing(folder, rerun=rerunner(Wanted(2, other, seed=0)))["rerun"]
    fewer = Dataset("few", other.samples[:1])
    assert "not in the given dataset" in failing(folder, rerun=rerunner(Wanted(COUNT, fewer, seed=0)))["rerun"]


def test_departure_is_in_units_of_what_was_measured_again() -> None:
    stored, again = np.array([1.0, 300.0, 0.0, np.nan]), np.array([1.5, 100.0, 0.1, np.nan])
    assert departure(stored, again).tolist() == pytest.approx([-0.5 / 1.5, 2, -0.1, 0])
    assert departure(np.array([np.nan, 3.0]), np.array([1.0, np.nan])).tolist() == [np.inf, np.inf]


# What a stranger may send.


def test_files_outside_the_folder_are_not_opened(folder, tmp_path) -> None:
    secret = tmp_path / "secret.webp"
    secret.write_bytes(b"secret")
    link = folder / "thumbnails" / "link.webp"
    link.symlink_to(secret)
    names = [
        "../../secret.webp",
        str(secret),
        "/dev/zero",
        "thumbnails/link.webp",
        "a\\b",
        "C:x",
        "",
        "thumbnails",
        "\0",
    ]
    for name in names:
        assert is_inside(folder, name) is None, name
    assert is_inside(folder, "thumbnails/index.json") is not None
    edit_record(folder, lambda record: record["files"]["saved_images"].update(dict.fromkeys(names[:4], "0" * 64)))
    details = [check.detail for check in verify(folder).checks if check.outcome == "fails"]
    assert sum("is not a file of this record" in detail for detail in details) == 4
    assert len(details) == 5  # and the index does not name them


def table_of(folder: Path) -> pyarrow.Table:
    return pyarrow.parquet.read_table(folder / "rows.parquet")


def with_column(table: pyarrow.Table, name: str, values: Any) -> pyarrow.Table:
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("id", ["same"] * COUNT, "an id occurs twice"),
        ("id", ["x" * 5000, *map(str, range(COUNT - 1))], "has an invalid value"),
        ("sha256", ["../../etc"] * COUNT, "has an invalid value"),
        ("id", list(range(COUNT)), "the column id holds int64"),
        ("auc_raw", ["NaN"] * COUNT, "not numbers"),
        ("gray", [None] * COUNT, "the column gray"),
        ("evil", [{"a": 1}] * COUNT, "not numbers"),
    ],
)
def test_rows_that_are_none_are_refused(folder, name, values, message) -> None:
    put_rows(folder, with_column(table_of(folder), name, pyarrow.array(values)))
    assert message in failing(folder)["rows"]
    with pytest.raises(UserError):
        load_run(folder)


def test_a_text_that_is_repeated_fills_no_memory(folder) -> None:
    # 100 MB in each of 32 rows, 5 kB on the disk.
    long = pyarrow.DictionaryArray.from_arrays([0] * COUNT, ["x" * 100_000_000])
    put_rows(folder, with_column(table_of(folder), "id", long))
    assert (folder / "rows.parquet").stat().st_size < 20_000_000
    assert "too long" in failing(folder)["rows"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -1e200])
def test_impossible_numbers_do_no_harm(folder, value) -> None:
    edit_rows(folder, lambda columns: columns["auc_raw.s0"].__setitem__(0, value))
    found = failing(folder)
    assert "metrics" in found
    assert "scores" in found


def put_arrays(folder: Path, header: str, data: bytes) -> None:
    part = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bin_counts.npy", part)
    put_file(folder, "arrays.npz", buffer.getvalue())


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (32, 100000000000), }\n",
        "{'descr': '|O', 'fortran_order': False, 'shape': (32,), }\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n",
        "not a header\n",
    ],
)
def test_arrays_that_claim_too_much_are_refused(folder, header) -> None:
    put_arrays(folder, header, bytes(8))
    assert "these arrays cannot be read" in failing(folder)["arrays"]


def test_arrays_that_are_not_the_protocols_are_a_finding(folder) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (32, 2), }\n"
    put_arrays(folder, header, bytes(8 * 64))
    assert "cannot summarize rows and arrays" in failing(folder)["arrays"]
    put_file(folder, "arrays.npz", b"PK\x03\x04 no archive")
    assert "cannot be read" in failing(folder)["arrays"]


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "", "\xff\xfe", '{"key": 1' + "0" * 5000 + "}", "null"])
def test_what_is_no_record_is_one_finding(folder, text) -> None:
    (folder / "record.json").write_text(text, encoding="latin-1")
    assert set(failing(folder)) == {"record"}


def test_the_record_is_read_once(folder, monkeypatch) -> None:
    # A record that is exchanged between two reads would be reported with the sha256 of the other.
    read: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or read_bytes(path))
    verify(folder)
    assert read.count(folder / "record.json") == 1


def test_pipes_and_giants_are_not_read(folder, tmp_path) -> None:
    (folder / "record.json").unlink()
    with open(folder / "record.json", "wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(UserError, match="too large"):
        verify(folder)
    (folder / "record.json").unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "record.json")
    with pytest.raises(UserError, match="no record here"):
        verify(folder)


def test_a_parameter_that_names_a_file_is_opened_on_demand_alone(folder, images) -> None:
    def change(record: dict[str, Any]) -> None:
        record["protocol"]["parameters"]["prior"] = "/dev/zero"

    edit_record(folder, change)
    found = {check.name: check for check in verify(folder).checks}
    assert "opened only with --rerun" in found["identity"].detail
    assert found["metrics"].outcome == "holds"
    again = verify(folder, rerun=rerunner(Wanted(1, images, seed=0)))
    assert again.rerun is None
    assert {check.name: check.outcome for check in again.checks}["rerun"] == "unchecked"


def test_the_command_says_a_line_a_check_and_exits_by_what_it_found(command, folder, images, tmp_path) -> None:
    position = images.samples[0].path.parents[1]
    written = tmp_path / "verification.json"
    good = command("verify", folder, "--data", position, "--rerun", "2", "--output", written)
    assert good.returncode == 0, good.stderr
    assert "all checks passed" in good.stdout
    assert "as stored     skipped  dataset name, source and license" in good.stdout
    stored = read_verification(written)
    assert stored.holds
    assert stored.rerun is not None
    assert stored.key == record_of(folder).key
    edit_record(folder, of_metric(value=99.0))
    bad = command("verify", folder, "--json")
    assert bad.returncode == 1
    prediction = json.loads(bad.stdout)
    assert not prediction["holds"]
    assert [check["name"] for check in prediction["checks"] if check["outcome"] == "fails"] == ["metrics"]
    assert "FAILED" in bad.stderr
    for arguments, message in (
        ((tmp_path / "nothing",), "no such folder"),
        ((folder, "--rerun", "2"), "--rerun needs the images"),
        ((folder, "--output", folder / "verification.json"), "nothing is written into a record's folder"),
    ):
        refused = command("verify", *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert message in refused.stderr


def test_what_is_no_verification_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="no verification report here"):
        read_verification(tmp_path / "none.json")
    (tmp_path / "some.json").write_text("{}")
    with pytest.raises(UserError, match="not a verification report"):
        read_verification(tmp_path / "some.json")
