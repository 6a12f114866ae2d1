"""Stopping and going on: a run that was killed, on a full disk, shared by processes, or asked for twice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import image_pass
from colorbench.evaluation.runner import record_folder
from colorbench.results import Record
from tests.support.engine import (
    DistanceProtocol,
    Flat,
    Listening,
    Noise,
    evaluate,
    loaded,
    read_folder,
    with_baselines,
    with_protocol,
    write_images,
)

pytestmark = pytest.mark.usefixtures("only_the_pass")


CHILD = """
import sys, time
from pathlib import Path
from tests.support.engine import DistanceProtocol, Noise, loaded, read_folder
from colorbench.evaluation import image_pass, requested_models_and_protocols
from colorbench.results import shard
from colorbench.evaluation.runner import RunConfig, run

colorize = image_pass.colorize

def slowly(*arguments):  # not within the model: another model's shards would not be gone on with
    time.sleep(float(sys.argv[3]))
    return colorize(*arguments)

image_pass.colorize = slowly
shard.SHARD = 4
protocol = DistanceProtocol()
requested_models_and_protocols.get_protocol = lambda name: protocol
run(RunConfig([loaded(Noise())], ["distance"], read_folder(Path(sys.argv[1])), output=Path(sys.argv[2]),
    baselines=False, device="cpu", workers=1))
"""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 4)
    with_protocol(monkeypatch, distance=DistanceProtocol())


def measure(dataset: Dataset, output: Path, model: Any, listener: Any = None, **changes: Any) -> Record:
    return evaluate(dataset, output, model, listener=listener, **changes)[0]


def child(data: Path, output: Path, seconds: float, **environment: str) -> subprocess.Popen[bytes]:
    """The same run in a process of its own."""
    here = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data), str(output), str(seconds)],
        env={**os.environ, "PYTHONPATH": here, **environment},
        stderr=subprocess.PIPE,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so, or fail where the process ends first."""
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < end
        time.sleep(0.01)


def remembering(ids: list[str]) -> Callable[..., Any]:
    """The engine's ``colorize``, noting what is shown to a model."""
    original = image_pass.colorize

    def colorize(model: Any, truth: Any, *arguments: Any) -> Any:
        ids.extend(truth.ids)
        return original(model, truth, *arguments)

    return colorize


def test_a_killed_run_goes_on_in_two_processes_and_gives_the_same_rows(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = crops.samples[0].path.parent.parent, tmp_path / "killed"
    full = measure(crops, tmp_path / "full", Noise(), save="gallery")  # first, since it loads compiled routines
    first = child(data, output, 0.2)
    wait_for(lambda: len(list(output.rglob("shards/*.npz"))) >= 2, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    finished = len(list(output.rglob("shards/*.npz")))
    assert 2 <= finished < 10
    assert not list(output.rglob("record.json"))

    # Two processes go on together: another one, and this one once that has done its first.
    other = child(data, output, 0.6, RANK="0", WORLD_SIZE="2")
    wait_for(lambda: len(list(output.rglob("shards/*.npz"))) > finished, other)
    with monkeypatch.context() as patch:
        patch.setenv("RANK", "1")
        patch.setenv("WORLD_SIZE", "2")
        shown: list[str] = []
        patch.setattr(image_pass, "colorize", remembering(shown))
        measure(crops, output, Noise(), save="gallery")
    assert other.wait(timeout=300) == 0, other.communicate()[1].decode()
    other.communicate()
    assert 0 < len(shown) < 40 - 4 * finished, "both did a part"

    (resumed,) = [Record.model_validate_json(path.read_text()) for path in output.rglob("record.json")]
    assert resumed.files == full.files, "the same bytes in rows, arrays and images"
    assert resumed.metrics == full.metrics
    assert resumed.execution.processes == 2
    assert not list(output.rglob("*.tmp"))
    assert not list(output.rglob("shards"))


class Killed(BaseException):
    """Stands in for a process that ends at this instruction."""


def test_a_run_stopped_at_any_write_gives_the_same_rows(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = {name: getattr(os, name) for name in ("replace", "link", "fsync")}
    left = [10**9]

    def counted(name: str) -> Callable[..., Any]:
        def write(*arguments: Any, **keywords: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return writes[name](*arguments, **keywords)

        return write

    for name in writes:
        monkeypatch.setattr(os, name, counted(name))
    few = Dataset("crops", crops.samples[:9])
    full = measure(few, tmp_path / "full", Noise(), save="gallery")
    total = 10**9 - left[0]
    assert total > 30
    for stop in range(0, total, 3):
        output = tmp_path / str(stop)
        left[0] = stop
        try:
            measure(few, output, Noise(), save="gallery")
        except Killed:
            pass
        else:
            pytest.fail("it was to be stopped")
        left[0] = 10**9
        resumed = measure(few, output, Noise(), save="gallery")
        assert resumed.files == full.files, f"stopped at write {stop} of {total}"
        assert not list(output.rglob("*.tmp"))


def test_an_equal_command_gives_the_stored_record_and_says_so(crops: Dataset, tmp_path: Path) -> None:
    first = measure(crops, tmp_path, Flat())
    model, listener = Flat(), Listening()
    again = measure(crops, tmp_path, model, listener, batch_size=3, threads=1)
    assert again == first
    assert model.seen == []
    assert listener.total == 0
    assert "reused from" in listener.messages[0]
    assert str(record_folder(tmp_path, first)) in listener.messages[0]


def test_what_decides_the_numbers_decides_the_folder(crops: Dataset, tmp_path: Path) -> None:
    small = Dataset("crops", crops.samples[:3])
    base = measure(small, tmp_path, Flat())
    others = [
        measure(small, tmp_path, Flat(), seed=1),
        measure(small, tmp_path, Flat(), gray_policy="drop"),
        measure(small, tmp_path, Flat(), dtype="bfloat16"),
        measure(small, tmp_path, Flat(), parameters={"distance": {"free": 2}}),
        measure(small, tmp_path, Flat(), limit=2),
        measure(small, tmp_path, loaded(Flat(), "test/other")),
        measure(small, tmp_path, loaded(Flat(), weights_sha256="0" * 64)),
        measure(small, tmp_path, loaded(Flat(), decoding={"decode": "mean"})),
        measure(small, tmp_path, loaded(Flat(), package_version="2")),
        measure(Dataset("crops", crops.samples[1:4]), tmp_path, Flat()),
    ]
    assert len({record.key for record in [base, *others]}) == 11
    assert len({record_folder(tmp_path, record) for record in [base, *others]}) == 11


def test_a_copy_of_the_images_has_the_same_record(tmp_path: Path) -> None:
    here = write_images(tmp_path / "here", 6)
    first = measure(here, tmp_path / "runs", Flat())
    write_images(tmp_path / "there", 6)
    for path in (tmp_path / "there").rglob("*.jpg"):
        os.utime(path, (1, 1))
    model, listener = Flat(), Listening()
    there = measure(read_folder(tmp_path / "there"), tmp_path / "runs", model, listener)
    assert there == first
    assert model.seen == []
    assert "comparing the contents" in listener.messages[0]


def test_other_contents_under_equal_names_and_sizes_are_measured_anew(tmp_path: Path) -> None:
    data = write_images(tmp_path / "set", 6)
    first = measure(data, tmp_path / "runs", Flat())
    # A comment in the file changes its bytes and not its length.
    path = data.samples[2].path
    content = bytearray(path.read_bytes())
    content[content.index(b"JFIF") + 12] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, (5, 5))
    model = Flat()
    second = measure(read_folder(tmp_path / "set"), tmp_path / "runs", model)
    assert len(model.ids) == 6
    assert second.key != first.key
    assert second.dataset.fingerprint != first.dataset.fingerprint
    again = Flat()
    assert measure(read_folder(tmp_path / "set"), tmp_path / "runs", again) == second
    assert again.ids == []


def test_no_resume_measures_again_and_overwrites_no_record(crops: Dataset, tmp_path: Path) -> None:
    # A new object each time: what a model remembers of a run is a part of its state.
    small, models = Dataset("crops", crops.samples[:5]), [Flat(), Flat(), Flat()]
    first = measure(small, tmp_path, models[0])
    again = measure(small, tmp_path, models[1], resume=False)
    assert [len(model.ids) for model in models] == [5, 5, 0]
    assert again.key != first.key
    assert again.files == first.files
    assert measure(small, tmp_path, models[2]) == first


def test_images_or_differences_that_a_stored_record_lacks_are_made(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_baselines(monkeypatch)
    small = Dataset("crops", crops.samples[:5])
    bare = measure(small, tmp_path, Flat())
    with_thumbnails = measure(small, tmp_path, Flat(), save="gallery")
    compared = measure(small, tmp_path, Flat(), save="gallery", baselines=True)
    assert bare.files.saved_images == {}
    assert with_thumbnails.files.saved_images
    assert [record.differences == [] for record in (bare, with_thumbnails, compared)] == [True, True, False]
    assert measure(small, tmp_path, Flat(), save="none") == bare


def failing(monkeypatch: pytest.MonkeyPatch, number: int, after: int) -> None:
    """From now on the disk answers with an error, once ``after`` files were written."""
    original, count = os.fsync, [0]

    def fsync(descriptor: int) -> None:
        count[0] += 1
        if count[0] > after:
            raise OSError(number, os.strerror(number))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_is_one_line_and_costs_no_finished_shard(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, errno.ENOSPC, after=7)
        with pytest.raises(RunError, match="the disk is full.*Free disk space, then run the same command") as caught:
            measure(crops, tmp_path, Flat())
    assert caught.value.exit_code == 1
    assert not list(tmp_path.rglob("*.tmp"))
    kept = len(list(tmp_path.rglob("shards/*.npz")))
    assert kept >= 2
    model = Flat()
    measure(crops, tmp_path, model)
    assert len(model.ids) == 40 - 4 * kept


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(**_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    model = Flat()
    with pytest.raises(UserError, match=r"cannot write: .*Use another --output"):
        measure(crops, tmp_path / "runs", model)
    assert model.seen == []


@pytest.mark.parametrize("path", ["runs", "runs/test", "runs/test/model/distance"])
def test_a_file_in_the_way_is_named(crops: Dataset, tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("in the way")
    with pytest.raises(UserError, match="there is a file where a folder is needed"):
        measure(crops, tmp_path / "runs", Flat())


def test_two_launches_at_once_share_the_work(crops: Dataset, tmp_path: Path) -> None:
    """Whoever starts the same command twice loses nothing: both return the one record."""
    from concurrent.futures import ThreadPoolExecutor

    class Slow(Flat):
        def colorize_batch(self, inputs: Any) -> Any:
            time.sleep(0.02)
            return super().colorize_batch(inputs)

    models = [Slow(), Slow()]
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda model: measure(crops, tmp_path, model), models)
    assert one == two
    assert sorted(models[0].ids + models[1].ids) == [sample.id for sample in crops.samples], "nothing was done twice"
    assert all(model.ids for model in models)
    table = pd.read_parquet(record_folder(tmp_path, one) / "rows.parquet")
    assert table["id"].tolist() == [sample.id for sample in crops.samples]


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("-1", "2"), ("x", "2")])
def test_an_impossible_rank_is_refused(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str, count: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(UserError, match=f"RANK={rank}, WORLD_SIZE={count}"):
        measure(crops, tmp_path, Flat())
