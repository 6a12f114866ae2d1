"""Datasets with pipes, devices and folders that are called like images, and images that are replaced between runs."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from colorbench.results import read_record
from tests.support.engine import write_images
from tests.support.fault_runs import RUN, Runs
from tests.support.same_records import assert_same, record_below


def special(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a pipe, devices, a socket and a folder beside the images, with names of images."""
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "random.jpg").symlink_to("/dev/urandom")
    (folder / "folder.png").mkdir()
    monkeypatch.chdir(folder)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.png")


def test_what_is_no_file_is_told_and_never_read(
    runs: Runs, undisturbed: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "tiny")
    special(tmp_path / "tiny", monkeypatch)
    ended = runs.run(tmp_path, *RUN, "-d", "tiny")
    ended.done()
    assert "4 other files were ignored: 4 pipes, sockets or devices" in " ".join(ended.err.split())
    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize("name", ["pipe.png", "zero.png", "folder.png", "socket.png"])
def test_a_list_that_names_one(
    name: str, runs: Runs, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "tiny")
    special(tmp_path / "tiny", monkeypatch)
    (tmp_path / "list.txt").write_text(f"a/000.jpg\n{name}\n")
    ended = runs.run(tmp_path, *RUN, "-d", "tiny", "--list", "list.txt")
    assert ended.code == 2
    ended.one_line(name)


def test_an_image_that_becomes_a_pipe_is_skipped_with_its_reason(runs: Runs, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "tiny")
    image = tmp_path / "tiny" / "a" / "000.jpg"
    runs.run(tmp_path, *RUN, "-d", "tiny", fault=("pipe_instead_of", str(image))).done()
    record = read_record(record_below(tmp_path))
    assert record.dataset.n_evaluated == 2
    assert "pipe" in str(record.dataset.model_dump())


def test_an_image_that_is_replaced_between_a_kill_and_the_next_run(runs: Runs, tmp_path: Path) -> None:
    write_images(tmp_path / "tiny", 3, 32)
    killed = tmp_path / "killed"
    killed.mkdir()
    command = (*RUN, "-d", str(tmp_path / "tiny"))
    started = runs.start(killed, *command, fault=("slow", 60, 1))
    started.until(lambda: bool(list(killed.rglob("shards/*.npz"))))
    started.send(9)
    started.wait()
    # Other bytes of the same size with the same times, in an image whose shard is finished.
    image = tmp_path / "tiny" / "a" / "000.jpg"
    status, data = image.stat(), bytearray(image.read_bytes())
    data[data.index(b"JFIF") + 12] ^= 1
    image.write_bytes(bytes(data))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    runs.run(fresh, *command).done()
    runs.run(killed, *command).done()
    made, wanted = (read_record(record_below(one)) for one in (killed, fresh))
    assert (made.files, made.metrics) == (wanted.files, wanted.metrics)
    assert made.dataset.fingerprint == wanted.dataset.fingerprint
