"""What a model may not read in a rerun: the files of a folder, or the tar file and no other file of its folder."""

from __future__ import annotations

from pathlib import Path

from colorbench.data import open_dataset
from colorbench.verification.permanent_file_blocking import positions_of
from tests.support.containers import files_of, write_tar


def test_tar_files_are_blocked_themselves_and_folders_as_a_whole(images: Path, tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        write_tar(tmp_path / "set" / name, files_of(images))
    positions = positions_of(open_dataset(tmp_path / "set").samples)
    paths = [(tmp_path / "set" / name).resolve() for name in ("a.tar", "b.tar")]
    assert positions["roots"] == list(map(str, paths))
    assert positions["inodes"] == sorted((path.stat().st_dev, path.stat().st_ino) for path in paths)
    plain = positions_of(open_dataset(images).samples)
    assert plain["roots"] == [str(images.resolve())] and len(plain["inodes"]) == 3
