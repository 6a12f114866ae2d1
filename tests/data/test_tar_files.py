"""Tar files as datasets: names, classes, damage, links, and that a changed file is noticed."""

from __future__ import annotations

import gzip
import os
import subprocess
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from colorbench.data import Dataset, contents_of, decode_image
from colorbench.data.dataset_hashes import files_digest, stamps_digest
from colorbench.data.image_decoding import UnreadableImage
from colorbench.data.sources import open_dataset
from colorbench.errors import ColorbenchError, RunError, UserError
from tests.support.containers import Member, files_of, special, write_parquet, write_tar
from tests.support.hostile_files import emptied, flip, png, replaced_by_folder


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples]


def classes(dataset: Dataset) -> dict[str, str | None]:
    names = dataset.class_names
    return {s.id: None if s.label is None or names is None else names[s.label] for s in dataset.samples}


# --- what is read


def test_a_tar_file_holds_the_images_of_the_folder_it_was_made_from(images: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "set.tar", files_of(images))
    packed, plain = open_dataset(tar), open_dataset(images)
    assert ids(packed) == ids(plain) == ["animals/chelsea.png", "astronaut.png", "coffee.jpg"]
    assert packed.name == "set" and packed.source == "tar file set.tar"
    for one, other in zip(packed.samples, plain.samples, strict=True):
        assert one.read() == other.read() and one.size == other.size and one.sha256() == other.sha256()
        assert (decode_image(one).rgb == decode_image(other).rgb).all()
    assert files_digest(packed.samples, times=False) == files_digest(plain.samples, times=False)
    assert contents_of(packed, tmp_path) == contents_of(plain, tmp_path / "other")


@pytest.mark.parametrize("format", ["ustar", "gnu", "pax", "v7"])
def test_the_formats_of_the_tar_program(images: Path, tmp_path: Path, format: str) -> None:
    folder = tmp_path / "set" / ("long" * 20 if format != "v7" else "l")
    folder.mkdir(parents=True)
    for name, content in files_of(images).items():
        (folder / Path(name).name).write_bytes(content)
    (folder / "grün.png").write_bytes((images / "astronaut.png").read_bytes())
    tar = tmp_path / "set.tar"
    subprocess.run(["tar", f"--format={format}", "-C", tmp_path / "set", "-cf", tar, "."], check=True)
    assert ids(open_dataset(tar)) == ids(open_dataset(tmp_path / "set"))
    assert [s.read() for s in open_dataset(tar).samples] == [s.read() for s in open_dataset(tmp_path / "set").samples]


def test_several_tar_files_are_one_dataset_with_their_names_in_front(images: Path, tmp_path: Path) -> None:
    members = files_of(images)
    for name in ("train-0.tar", "deep/train-1.tar"):
        write_tar(tmp_path / "shards" / name, members)
    dataset = open_dataset(tmp_path / "shards")
    assert ids(dataset) == sorted(f"{part}/{name}" for part in ("train-0", "deep/train-1") for name in members)
    assert dataset.name == "shards" and dataset.source == "2 tar files of shards"
    for sample in dataset.samples:
        assert sample.read() == members[sample.id.split("train-")[1][2:]]
    # A pattern takes some of them; a single file has no name in front.
    assert ids(open_dataset(f"{tmp_path}/shards/*.tar")) == sorted(members)
    assert ids(open_dataset(Path(f"{tmp_path}/shards/**/*.tar"))) == ids(dataset)


def test_images_win_over_tar_files_in_one_folder(images: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "devkit.tar", files_of(images))
    (tmp_path / "a.png").write_bytes((images / "astronaut.png").read_bytes())
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["a.png"] and dataset.remarks == ("1 other file was ignored: 1 .tar",)


def test_links_are_followed_within_the_tar_file(images: Path, tmp_path: Path) -> None:
    content = (images / "astronaut.png").read_bytes()
    tar = write_tar(
        tmp_path / "set.tar",
        {
            "late.png": special(tarfile.SYMTYPE, "deep/a.png"),
            "deep/a.png": content,
            "hard.png": special(tarfile.LNKTYPE, "deep/a.png"),
            "deep/up.png": special(tarfile.SYMTYPE, "../hard.png"),
            "outside.png": special(tarfile.SYMTYPE, "../../etc/passwd"),
            "absolute.png": special(tarfile.LNKTYPE, "/etc/passwd"),
            "circle.png": special(tarfile.SYMTYPE, "circle.png"),
            "pipe.png": special(tarfile.FIFOTYPE),
            "device.png": special(tarfile.CHRTYPE),
        },
    )
    dataset = open_dataset(tar)
    assert ids(dataset) == ["deep/a.png", "deep/up.png", "hard.png", "late.png"]
    assert {sample.read() for sample in dataset.samples} == {content}
    assert dataset.remarks == ("5 other files were ignored: 3 link to no image, 2 pipes, sockets or devices",)


def test_a_sparse_member_is_reported(images: Path, tmp_path: Path) -> None:
    with (tmp_path / "sparse.png").open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(1 << 20)
    (tmp_path / "a.png").write_bytes((images / "astronaut.png").read_bytes())
    for format in ("gnu", "pax"):
        tar = tmp_path / f"{format}.tar"
        subprocess.run(
            ["tar", f"--format={format}", "-S", "-C", tmp_path, "-cf", tar, "sparse.png", "a.png"], check=True
        )
        dataset = open_dataset(tar)
        assert ids(dataset) == ["a.png"] and dataset.remarks == ("1 other file was ignored: 1 sparse file",)


def test_hidden_files_and_other_files_are_no_images(images: Path, tmp_path: Path) -> None:
    content = (images / "coffee.jpg").read_bytes()
    names = ("a.jpg", "._a.jpg", ".git/b.jpg", "__MACOSX/c.jpg", "a.json", "b.json", "README", "./d/e.JPG")
    dataset = open_dataset(write_tar(tmp_path / "set.tar", dict.fromkeys(names, content)))
    assert ids(dataset) == ["a.jpg", "d/e.JPG"]
    assert dataset.remarks == ("3 other files were ignored: 2 .json, 1 without suffix",)


def test_a_member_that_is_no_image_is_skipped_by_the_decoder(images: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "set.tar", {"a.png": b"no image", "b.png": b"", "c.png": files_of(images)["coffee.jpg"]})
    a, b, c = open_dataset(tar).samples
    for sample, message in ((a, "not a known image format"), (b, "the file is empty")):
        with pytest.raises(UnreadableImage, match=message):
            decode_image(sample)
    assert decode_image(c).id == "c.png"


# --- classes


def test_cls_files_are_the_classes_by_webdataset_key_or_by_name(images: Path, tmp_path: Path) -> None:
    content = (images / "coffee.jpg").read_bytes()
    members = {"b.jpg": content, "b.cls": b"dog\n", "x/a.seg.png": content, "x/a.cls": b"cat", "v1.5.jpg": content}
    tar = write_tar(tmp_path / "set.tar", {**members, "v1.5.cls": b"dog"})
    dataset = open_dataset(tar)
    assert classes(dataset) == {"b.jpg": "dog", "x/a.seg.png": "cat", "v1.5.jpg": "dog"}
    assert dataset.class_names == ("cat", "dog")


def test_numbers_in_cls_files_are_class_indices(images: Path, tmp_path: Path) -> None:
    content = (images / "coffee.jpg").read_bytes()
    members = {"a.jpg": content, "a.cls": b"3", "b.jpg": content, "b.cls": b"007"}
    dataset = open_dataset(write_tar(tmp_path / "set.tar", members))
    assert [sample.label for sample in dataset.samples] == [3, 7]
    assert dataset.class_names == ("", "", "", "3", "", "", "", "7")


def test_folders_in_the_tar_files_are_classes_and_a_table_wins(images: Path, tmp_path: Path) -> None:
    content = (images / "coffee.jpg").read_bytes()
    for shard, name in (("0", "cat/a.jpg"), ("1", "dog/b.jpg"), ("2", "cat/c.jpg")):
        write_tar(tmp_path / "set" / f"s-{shard}.tar", {name: content})
    assert classes(open_dataset(tmp_path / "set")) == {
        "s-0/cat/a.jpg": "cat",
        "s-1/dog/b.jpg": "dog",
        "s-2/cat/c.jpg": "cat",
    }
    table = tmp_path / "set" / "labels.csv"
    table.write_text("file,class_index,synset\na.jpg,1,x\nb.jpg,0,y\ns-2/cat/c.jpg,0,y\n")
    assert list(classes(open_dataset(tmp_path / "set")).values()) == ["x", "y", "y"]
    assert list(classes(open_dataset(f"{tmp_path}/set/*.tar", labels=table)).values()) == ["x", "y", "y"]


def test_classes_of_some_images_are_not_used_and_said(images: Path, tmp_path: Path) -> None:
    content = (images / "coffee.jpg").read_bytes()
    dataset = open_dataset(write_tar(tmp_path / "s.tar", {"a.jpg": content, "a.cls": b"1", "b.jpg": content}))
    assert dataset.class_names is None and all(sample.label is None for sample in dataset.samples)
    assert dataset.remarks == ("classes are not used: 1 of 2 images have none, first b.jpg",)


def test_a_list_chooses_images_of_tar_files(images: Path, tmp_path: Path) -> None:
    content = (images / "coffee.jpg").read_bytes()
    names = ("n1/a.jpg", "n2/b.jpg", "n2/c.jpg")
    tar = write_tar(tmp_path / "s.tar", {**dict.fromkeys(names, content), "n1/a.cls": b"7"})  # the others have none
    listed = tmp_path / "few.txt"
    listed.write_text("/n2/c.jpg 1\na.jpg 0\n")
    dataset = open_dataset(tar, list_file=listed)
    assert [(sample.id, sample.label) for sample in dataset.samples] == [("n1/a.jpg", 0), ("n2/c.jpg", 1)]
    assert dataset.name == "s-few"
    assert dataset.remarks == ()
    listed.write_text("n2/d.jpg\n")
    with pytest.raises(UserError, match="1 of 1 listed images do not exist"):
        open_dataset(tar, list_file=listed)


# --- what is refused, in one line


def _cut(tar: Path, size: int) -> None:
    os.truncate(tar, size)


def _garbled(tar: Path, at: int) -> None:
    with tar.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 300)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut in the content of the last member": (lambda tar: _cut(tar, tar.stat().st_size - 12_000), "cut off|damaged"),
    "cut in a header": (lambda tar: _cut(tar, 700), "cut off|damaged"),
    "cut in the first header": (lambda tar: _cut(tar, 100), "damaged"),
    "a garbled header in the middle": (lambda tar: _garbled(tar, _second_header(tar)), "damaged: no header at byte"),
    "a garbled first header": (lambda tar: _garbled(tar, 0), "damaged"),
    "empty": (lambda tar: _cut(tar, 0), "damaged: empty file"),
    "text": (lambda tar: tar.write_text("not a tar file\n" * 100) and None, "damaged"),
}


def _second_header(tar: Path) -> int:
    with tarfile.open(tar) as archive:
        return archive.getmembers()[1].offset


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_one_line_and_never_fewer_images(images: Path, tmp_path: Path, how: str) -> None:
    tar = write_tar(tmp_path / "set.tar", files_of(images))
    damage, message = DAMAGE[how]
    damage(tar)
    with pytest.raises(UserError, match=f"^this tar file is ({message})[^\n]*$"):
        open_dataset(tar)


def test_a_negative_size_does_not_loop(images: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "set.tar", files_of(images))
    content = bytearray(tar.read_bytes())
    start = _second_header(tar)
    content[start + 124 : start + 136] = b"\xff" * 10 + (0x10000 - 0x600).to_bytes(2, "big")
    content[start + 148 : start + 156] = b" " * 8
    content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    tar.write_bytes(content)
    with pytest.raises(UserError, match="this tar file is"):
        open_dataset(tar)


REFUSED: dict[str, tuple[list[tuple[str, Member]], str]] = {
    "a name that leads out": ([("../a.png", b"x")], r"member '\.\./a\.png' leads out"),
    "a link whose own name leads out": ([("x/../../a.png", special(tarfile.SYMTYPE, "b"))], "leads out"),
    "one name twice": ([("a.png", b"x"), ("./a.png", b"y")], r"two members have the name 'a\.png'"),
    "a link and a file of one name": ([("a.png", special(tarfile.SYMTYPE, "b")), ("a.png", b"y")], "two members"),
    "two classes of one key": ([("a.png", b"x"), ("a.cls", b"1"), ("a.cls", b"2")], r"two members .* 'a\.cls'"),
    "a class of a megabyte": ([("a.png", b"x"), ("a.cls", b"1" * (1 << 20))], "1048576 bytes"),
    "a class that is not a text": ([("a.png", b"x"), ("a.cls", b"\xff\xfe")], "not UTF-8"),
    "an empty class": ([("a.png", b"x"), ("a.cls", b" \n")], "is empty"),
    "a class with a control character": ([("a.png", b"x"), ("a.cls", b"a\x1b[1m")], "control characters"),
    "an index that is too large": ([("a.png", b"x"), ("a.cls", b"9" * 400)], "too large"),
    "a control character in a name": ([("a\n.png", b"x")], "control characters"),
    "no members": ([], "no images in tar file"),
    "no images": ([("a.txt", b"x"), ("b.cls", b"1")], r"no images in tar file set\.tar"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(tmp_path: Path, what: str) -> None:
    members, message = REFUSED[what]
    tar = write_tar(tmp_path / "set.tar", members)
    with pytest.raises(UserError, match=message) as error:
        open_dataset(tar)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_a_compressed_tar_file_is_refused_by_name_and_by_content(images: Path, tmp_path: Path) -> None:
    for suffix, mode in ((".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")):
        tar = write_tar(tmp_path / suffix[1:] / f"set{suffix}", files_of(images), mode)
        for given in (tar, tar.parent, str(tar.parent / "s*")):
            with pytest.raises(UserError, match=r"this tar file is compressed .*Unpack it"):
                open_dataset(given)
        renamed = tar.rename(tar.with_name("plain.tar"))
        with pytest.raises(UserError, match=r"this tar file is compressed \((gzip|bzip2|xz)\)"):
            open_dataset(renamed)
    zst = tmp_path / "set.tar.zst"
    zst.write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match="compressed"):
        open_dataset(zst)


def test_splits_and_kinds_are_never_mixed(images: Path, tmp_path: Path) -> None:
    for name in ("train-000.tar", "val-000.tar"):
        write_tar(tmp_path / "set" / name, files_of(images))
    with pytest.raises(
        UserError, match=r"several splits: train, val .*Give one by a pattern, such as '.*train\*\.tar'"
    ):
        open_dataset(tmp_path / "set")
    assert len(open_dataset(tmp_path / "set" / "val*.tar")) == 3
    write_parquet(tmp_path / "both" / "a.parquet", files_of(images))
    write_tar(tmp_path / "both" / "a.tar", files_of(images))
    for given in (tmp_path / "both", tmp_path / "both" / "*"):
        with pytest.raises(UserError, match=r"1 tar files and 1 Parquet files|tar files only"):
            open_dataset(given)
    with pytest.raises(UserError, match="no file matches"):
        open_dataset(str(tmp_path / "nothing-*.tar"))


# --- changes


def test_the_list_of_members_is_kept_and_made_again_when_the_file_changes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorbench.data.sources import tar_files

    monkeypatch.setattr(tar_files, "cache_folder", lambda: tmp_path / "cache")
    tar = write_tar(tmp_path / "set.tar", files_of(images))
    first = ids(open_dataset(tar))
    calls = []
    listed = tar_files._listed
    monkeypatch.setattr(tar_files, "_listed", lambda path: calls.append(path) or listed(path))
    assert ids(open_dataset(tar)) == first and calls == []
    # A damaged or foreign list is made again.
    (kept,) = (tmp_path / "cache").rglob("*.parquet")
    content = bytearray(kept.read_bytes())
    content[len(content) // 3] ^= 1
    for wrong in (bytes(content), b"", content[:100], write_parquet(tmp_path / "x.parquet", {"a": b""}).read_bytes()):
        kept.write_bytes(wrong)
        assert ids(open_dataset(tar)) == first
    assert len(calls) >= 3
    # The same size and time do not hide other members.
    status, count = tar.stat(), len(calls)
    other = write_tar(tmp_path / "other.tar", {name.upper(): content for name, content in files_of(images).items()})
    assert other.stat().st_size == status.st_size
    tar.write_bytes(other.read_bytes())
    os.utime(tar, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ids(open_dataset(tar)) == ids(open_dataset(other)) != first and len(calls) == count + 2


def test_a_tar_file_that_changes_after_listing_is_an_error_not_a_skipped_image(images: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "set.tar", files_of(images))
    dataset = open_dataset(tar)
    before = stamps_digest(dataset)
    write_tar(tar, files_of(images))
    os.utime(tar, ns=(1, 1))
    assert stamps_digest(dataset) != before
    with pytest.raises(RunError, match="changed after its images were listed"):
        decode_image(dataset.samples[0])
    tar.unlink()
    with pytest.raises(UnreadableImage, match="No such file"):
        decode_image(dataset.samples[0])
    with pytest.raises(ColorbenchError, match="no folder"):
        open_dataset(tar)


def test_the_time_of_the_images_is_from_before_the_listing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from colorbench.data.sources import tar_files

    tar = write_tar(tmp_path / "set.tar", files_of(images))
    before, listed = tar.stat().st_mtime_ns, tar_files._listed

    def written_meanwhile(path: Path) -> object:
        os.utime(path, ns=(1, 1))
        return listed(path)

    monkeypatch.setattr(tar_files, "_listed", written_meanwhile)
    assert {sample.modified for sample in open_dataset(tar).samples} == {before}


def test_a_damaged_listing_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_tar(tmp_path / "a.tar", {"a/1.png": png(4, 4), "a/1.cls": b"3", "b.png": png(3, 5), "b.cls": b"1"})
    whole = open_dataset(path)
    (listing,) = [one for one in (tmp_path / "cache").rglob("*") if one.is_file()]
    for change in (*(partial(flip, share=share) for share in np.linspace(0, 1, 40)), emptied, replaced_by_folder):
        change(listing)
        again = open_dataset(path)
        assert list(again.samples) == list(whole.samples) and again.class_names == whole.class_names
        assert listing.is_file(), "it is written again"
        (aside,) = listing.parent.glob(f"{listing.stem}.damaged-*")
        aside.rmdir() if aside.is_dir() else aside.unlink()
