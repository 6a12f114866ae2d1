"""One walk over folders: the same images for datasets, stored predictions, colorize and training, and what is told."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageFile
from typer.testing import CliRunner

from colorbench.cli import app
from colorbench.cli.colorized_files import targets
from colorbench.data import image_formats
from colorbench.data.folder_walk import walk
from colorbench.data.image_decoding import UnreadableImage, decode_file
from colorbench.data.sources import open_dataset
from colorbench.errors import UserError
from colorbench.models import ImageFolderModel
from tests.support.privileges import without_privileges


def pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    return buffer.getvalue()


PIXEL = pixel()


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PIXEL)


def seen_by_all(folder: Path, output: Path) -> list[str]:
    """Ids that every reader of a folder finds; fails where two readers differ."""
    found = [sample.id for sample in open_dataset(folder).samples]
    assert [image.id for image in walk(folder).images] == found
    plan = targets([folder], output)
    assert sorted(path.relative_to(folder).as_posix() for path in plan) == found
    ImageFolderModel(folder).prepare(found)
    return found


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Everything that a folder of images was seen to hold."""
    root, elsewhere = tmp_path / "odd", tmp_path / "elsewhere"
    images = ("a/00.PNG", "a/01.jpeg", "b.tiff", "night.v2.webp")
    hidden = ("a/._00.PNG", ".ipynb_checkpoints/00-checkpoint.png", "__MACOSX/a/00.PNG", "Thumbs.db", ".DS_Store")
    others = ("scan.tga", "saved.jpg_large", "no_suffix", "notes.TXT", "a/notes.txt")
    put(*(root / name for name in (*images, *hidden, *others)))
    put(elsewhere / "linked" / "c.bmp", elsewhere / "d.png")
    (root / "linked").symlink_to(elsewhere / "linked")
    (root / "d.png").symlink_to(elsewhere / "d.png")
    (root / "a" / "loop").symlink_to(root)
    (root / "self.txt").symlink_to(root / "self.txt")
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(root)  # the name of a socket may not be long
        one.bind("socket.jpg")
        os.chdir(before)
    return root


def test_every_reader_of_a_folder_finds_the_same_images(odd_folder: Path, tmp_path: Path) -> None:
    assert seen_by_all(odd_folder, tmp_path / "out") == [
        "a/00.PNG",
        "a/01.jpeg",
        "b.tiff",
        "d.png",
        "linked/c.bmp",
        "night.v2.webp",
    ]


def test_other_files_are_counted_by_suffix(odd_folder: Path) -> None:
    assert walk(odd_folder).remark() == (
        "8 other files were ignored: 3 .txt, 2 pipes, sockets or devices, 1 without suffix, 1 .jpg_large, 1 .tga"
    )


def test_a_plugin_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    image_formats.load_plugin.cache_clear()
    put(*(tmp_path / name for name in ("a.png", "IMG_1.HEIC", "IMG_2.heic", "screen.jxl")))
    (line,) = open_dataset(tmp_path).remarks
    assert line == (
        "3 other files were ignored: 2 .heic, 1 .jxl; to read them: pip install pillow-heif pillow-jxl-plugin"
    )
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"no images in this folder.*2 \.heic.*pip install pillow-heif"):
        open_dataset(tmp_path)
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    (tmp_path / "a.jpg").write_bytes(head + b"\0" * 99)  # as telephones save it
    with pytest.raises(UnreadableImage, match="pip install pillow-heif"):
        decode_file(tmp_path / "a.jpg")
    image_formats.load_plugin.cache_clear()


class HeifForTest(ImageFile.ImageFile):
    """A format with the first bytes of HEIC, which tells two numbers: enough to see that a plugin is asked."""

    format = "HEIF"

    def _open(self) -> None:
        assert self.fp is not None
        self.fp.read(16)
        self._size, self._mode = (self.fp.read(1)[0], self.fp.read(1)[0]), "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), self.fp.tell(), ("RGB", 0, 1))]


@pytest.fixture
def heif_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plugin = ModuleType("pillow_heif")
    plugin.register_heif_opener = (
        lambda: Image.register_open(  # type: ignore[attr-defined]
            "HEIF", HeifForTest, lambda head: head[4:12] == b"ftypheic"
        )
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    image_formats.load_plugin.cache_clear()
    Image.init()
    known = list(Image.ID)
    yield
    image_formats.load_plugin.cache_clear()
    Image.ID[:] = known
    Image.OPEN.pop("HEIF", None)


@pytest.mark.usefixtures("heif_plugin")
@pytest.mark.parametrize("name", ["IMG.HEIC", "IMG.jpg"])
def test_an_installed_plugin_is_used_whatever_the_suffix(tmp_path: Path, name: str) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    (tmp_path / name).write_bytes(b"\0\0\0\x10ftypheic\0\0\0\0" + bytes([3, 2]) + pixels.tobytes())
    dataset = open_dataset(tmp_path)
    assert [sample.id for sample in dataset.samples] == [name] and dataset.remarks == ()
    assert np.array_equal(decode_file(tmp_path / name).rgb, pixels)


def test_the_bytes_decide_the_format_and_the_suffix_which_files_are_images(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    for name in ("b.jpg", "c.JPE", "saved.jpg_large", "no_suffix"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    found = walk(tmp_path).images
    assert [image.id for image in found] == ["a.png", "b.jpg", "c.JPE"]
    assert all(np.array_equal(decode_file(image.path).rgb, astronaut) for image in found)
    # A file that is named itself is opened, whatever it is called.
    assert list(targets([tmp_path / "no_suffix"], tmp_path / "out")) == [tmp_path / "no_suffix"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"gr\xfcn.jpg", "not UTF-8"),
        (b"folder\xff/a.jpg", "not UTF-8"),
        (b"two\nlines.jpg", "control characters"),
        (b"red\x1b[31m.png", "control characters"),
        ("turned\u202egnp.png".encode(), "control characters"),
    ],
)
def test_a_name_that_no_record_could_hold_is_one_line_everywhere(tmp_path: Path, name: bytes, message: str) -> None:
    try:
        put(tmp_path / "in" / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for read in (
        open_dataset,
        ImageFolderModel,
        lambda folder: targets([folder], tmp_path / "out"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            read(tmp_path / "in")
        assert str(caught.value).isprintable()
    # Beside images it does no harm as long as it is none itself.
    put(tmp_path / "other" / "a.png", tmp_path / "other" / os.fsdecode(name.replace(b"jpg", b"tx\xff")))


def test_names_beyond_ascii_are_names(tmp_path: Path) -> None:
    names = sorted(
        ["grün.png", "\u5199\u771f.png", "Screen\u202fshot.png", "a\u00a0b.png", "\U0001f469\u200d\U0001f680.png"]
    )
    put(*(tmp_path / name for name in names))
    assert [image.id for image in walk(tmp_path).images] == names


def test_odd_suffixes_of_other_files_are_written_so_that_a_terminal_can_show_them(tmp_path: Path) -> None:
    put(tmp_path / "a.png", tmp_path / ("b." + "x" * 80))
    try:
        put(tmp_path / os.fsdecode(b"c.\xff\x1b"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    line = walk(tmp_path).remark()
    assert line is not None and line.isprintable() and len(line) < 200
    line.encode()


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    put(tmp_path / "a.png", tmp_path / "closed" / "b.png")
    (tmp_path / "closed").chmod(0)
    try:
        with without_privileges(), pytest.raises(UserError, match="cannot read this folder: Permission denied"):
            walk(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_a_folder_that_vanishes_or_fails_while_it_is_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.png", tmp_path / "closed" / "b.png")
    scandir = os.scandir

    def closed(folder: str) -> object:
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr("os.scandir", closed)
    with pytest.raises(UserError, match=r"cannot read this folder: Permission denied \(.*closed"):
        walk(tmp_path)


@pytest.mark.parametrize(
    ("stray", "message"),
    [
        (["cover.png"], "cover.png is above the class folders"),
        (["0.png", "1.png", "2.png"], "0.png and 2 more are above"),
        (["cats/more/x.png"], "cats/more/x.png is deeper than the class folders"),
    ],
)
def test_it_is_told_why_folders_are_not_taken_for_classes(tmp_path: Path, stray: list[str], message: str) -> None:
    put(tmp_path / "cats" / "a.png", tmp_path / "dogs" / "b.png")
    assert open_dataset(tmp_path).class_names == ("cats", "dogs")
    put(*(tmp_path / name for name in stray))
    dataset = open_dataset(tmp_path)
    assert dataset.class_names is None
    (line,) = dataset.remarks
    assert message in line and "the 2 folders are not used as classes" in line


def test_ordinary_folders_are_read_without_a_remark(tmp_path: Path) -> None:
    put(tmp_path / "flat" / "a.png", tmp_path / "deep" / "x" / "y" / "a.png", tmp_path / "labeled" / "images" / "a.png")
    (tmp_path / "labeled" / "labels.csv").write_text("file,class_index\na.png,0\n")
    for name in ("flat", "deep", "labeled"):
        assert open_dataset(tmp_path / name).remarks == ()
    (tmp_path / "flat" / "labels.csv").write_text("file,class_index\na.png,0\n")
    assert open_dataset(tmp_path / "flat").remarks == ()  # it is used
    (tmp_path / "flat" / "other.csv").write_text("x")
    assert open_dataset(tmp_path / "flat").remarks == ("1 other file was ignored: 1 .csv",)


def test_commands_tell_it(tmp_path: Path, astronaut: np.ndarray) -> None:
    folder = tmp_path / "in"
    put(folder / "cats" / "notes.txt", folder / "cats" / "old.tga")
    for name in ("cats/a.png", "dogs/b.png", "cover.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(astronaut[:32, :32]).save(folder / name)
    passed, dropped = "2 other files were ignored: 1 .tga, 1 .txt", "cover.png is above the class folders"
    run = ["run", "-m", "zoo/gray", "-p", "auc", "--no-baselines", "--save", "none", "-o", str(tmp_path / "runs")]
    for message, told in (
        ([*run, "--data", str(folder)], (passed, dropped)),
        (["prior", "--data", str(folder), "-o", str(tmp_path / "p.npy")], (passed, dropped)),
        (["colorize", str(folder), "-m", "zoo/gray", "-o", str(tmp_path / "out")], (passed,)),
    ):
        done = CliRunner().invoke(app, message)
        assert done.exit_code == 0, done.output
        told_lines = " ".join(done.output.split())
        assert all(line in told_lines for line in told), done.output


def test_every_file_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a" / "0.png")
    for i in range(1, 500):
        os.link(tmp_path / "a" / "0.png", tmp_path / "a" / f"{i}.png")
    monkeypatch.setattr(Path, "stat", lambda *_: pytest.fail("a second look"))
    assert len(walk(tmp_path).images) == 500
