"""Where images come from: folders with links and odd names, lists, tables of classes, the packaged samples."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from colorbench.data.image_decoding import UnreadableImage, decode_image
from colorbench.data.sources import open_dataset
from colorbench.data.sources.lists_and_labels import class_folders, read_list
from colorbench.data.sources.open_folder_or_list import dataset_name
from colorbench.data.sources.packaged import PACKAGED
from colorbench.errors import UserError

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
DATA = Path(__file__).parents[3] / "shared" / "data"


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never read: a set is opened by names, sizes and times")


def ids(position: Path, **options: Path) -> list[str]:
    return [sample.id for sample in open_dataset(position, **options).samples]


def labels(position: Path, **options: Path) -> dict[str, int | None]:
    return {sample.id: sample.label for sample in open_dataset(position, **options).samples}


# --- folders


def test_ids_are_sorted_paths_with_what_the_file_system_tells(tmp_path: Path) -> None:
    put(tmp_path / "b.JPG", tmp_path / "a" / "deep" / "z.jpeg", tmp_path / "B.tiff", tmp_path / "notes.txt")
    dataset = open_dataset(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["B.tiff", "a/deep/z.jpeg", "b.JPG"]
    for sample in dataset.samples:
        status = (tmp_path / sample.id).stat()
        assert (sample.size, sample.modified) == (status.st_size, status.st_mtime_ns)
    assert dataset.name == tmp_path.name and not dataset.redistributable


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", tmp_path / "._a.jpg", tmp_path / ".thumbnails" / "b.jpg")
    assert ids(tmp_path) == ["a.jpg"]


def test_links_to_class_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "all" / "cats" / "a.jpg", tmp_path / "all" / "dogs" / "b.jpg")
    subset = tmp_path / "subset"
    subset.mkdir()
    for name in ("cats", "dogs"):
        (subset / name).symlink_to(tmp_path / "all" / name)
    assert labels(subset) == {"cats/a.jpg": 0, "dogs/b.jpg": 1}
    (tmp_path / "all" / "dogs" / "again").symlink_to(subset)
    assert ids(subset) == ["cats/a.jpg", "dogs/b.jpg"]


def test_a_dangling_link_is_kept_and_then_unreadable_but_a_pipe_is_not_opened(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "c.jpg")
    dataset = open_dataset(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["a.jpg", "b.jpg"]
    with pytest.raises(UnreadableImage, match="No such file"):
        decode_image(dataset.samples[1])


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "grün.jpg")
    assert ids(tmp_path) == ["grün.jpg"]
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfcn.jpg")))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    with pytest.raises(UserError, match="not UTF-8"):
        open_dataset(tmp_path)


def test_an_empty_name_is_not_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        open_dataset("")


def test_a_path_is_a_folder_even_where_it_is_called_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "samples" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    assert ids(Path("samples")) == ["a.jpg"] and open_dataset("./samples").name == "samples"
    assert len(open_dataset("samples")) > 1


def test_one_folder_is_no_class(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.jpg", tmp_path / "images" / "b.jpg")
    assert labels(tmp_path) == {"images/a.jpg": None, "images/b.jpg": None}


# --- the packaged images


def test_packaged_images_are_opened_without_the_packages_that_carry_them() -> None:
    # Importing scikit-learn takes seconds, and `colorbench list` would pay for them.
    code = (
        "import sys; from colorbench.data.sources import open_dataset; print(len(open_dataset('samples')));"
        "sys.exit(any(name in sys.modules for name in ('sklearn', 'skimage', 'scipy', 'torch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, int(done.stdout)) == (0, sum(map(len, PACKAGED.values())))


def test_a_list_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need a folder"):
        open_dataset("samples", list_file=tmp_path / "list.txt")


# --- lists


def test_names_in_a_list_may_have_spaces(tmp_path: Path) -> None:
    put(tmp_path / "my photos" / "a 1.jpg", tmp_path / "b.jpg")
    listing = tmp_path / "list.txt"
    listing.write_text("\ufeffmy photos/a 1.jpg  4 \r\n\r\nb.jpg\t5\r\n", encoding="utf-8")
    assert labels(tmp_path, list_file=listing) == {"b.jpg": 5, "my photos/a 1.jpg": 4}
    listing.write_text("my photos/a 1.jpg\n")
    assert labels(tmp_path, list_file=listing) == {"my photos/a 1.jpg": None}


def test_synsets_of_a_list_name_its_classes_in_both_layouts(tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("/n02/x.JPEG 2\n/n00/y.JPEG 0\n")
    put(tmp_path / "tree" / "n02" / "x.JPEG", tmp_path / "tree" / "n00" / "y.JPEG")
    put(tmp_path / "flat" / "x.JPEG", tmp_path / "flat" / "y.JPEG")
    for root in (tmp_path / "tree", tmp_path / "flat"):
        dataset = open_dataset(root, list_file=listing)
        assert [(sample.id, sample.label) for sample in dataset.samples] == [("n00/y.JPEG", 0), ("n02/x.JPEG", 2)]
        assert dataset.class_names == ("n00", "", "n02") and dataset.name == f"{root.name}-list"
    listing.write_text("/n02/x.JPEG 2\n/n00/y.JPEG 2\n")  # a class that is not a synset
    assert open_dataset(tmp_path / "flat", list_file=listing).class_names is None


def test_linked_folders_may_be_listed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "x.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "n01").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "list.txt").write_text("n01/x.jpg 3\n")
    assert labels(tmp_path / "set", list_file=tmp_path / "list.txt") == {"n01/x.jpg": 3}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("n1/x.jpg 0\nn2/x.jpg 1\n", r"'n1/x\.jpg' and 'n2/x\.jpg' are the same file"),
        ("x.jpg 0\ny.jpg\n", r"some lines have a class index.*line 2"),
        ("x.jpg\ny.jpg\nx.jpg\n", r"listed twice \(.*line 3"),
        ("n1/../x.jpg\n", "outside"),
        ("a.jpg\nb.jpg\nc.jpg\nd.jpg\nx.jpg\n", r"4 of 5 .* first: 'a\.jpg', 'b\.jpg', 'c\.jpg' \("),
        ("\n  \n", "list is empty"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, lines: str, message: str) -> None:
    put(tmp_path / "set" / "x.jpg", tmp_path / "set" / "y.jpg")
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(UserError, match=message):
        open_dataset(tmp_path / "set", list_file=tmp_path / "list.txt")


def test_files_that_are_no_lists_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "x.jpg")
    with pytest.raises(UserError, match="no such file"):
        open_dataset(tmp_path, list_file=tmp_path / "none.txt")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    with pytest.raises(UserError, match="not a text file"):
        open_dataset(tmp_path, list_file=tmp_path / "red.png")
    with pytest.raises(UserError, match="Is a directory"):
        open_dataset(tmp_path, labels=tmp_path)


# --- tables of classes


def test_a_list_chooses_and_the_table_labels(tmp_path: Path) -> None:
    put(*(tmp_path / "images" / name for name in ("a.jpg", "b.jpg", "c.jpg")))
    (tmp_path / "labels.csv").write_text("file,class_index,synset\na.jpg,1,n1\nb.jpg,0,n0\n")
    (tmp_path / "list.txt").write_text("a.jpg\n")
    dataset = open_dataset(tmp_path, list_file=tmp_path / "list.txt")
    assert [(sample.id, sample.label) for sample in dataset.samples] == [("a.jpg", 1)]
    assert dataset.class_names == ("n0", "n1")
    (tmp_path / "list.txt").write_text("a.jpg 7\n")
    assert labels(tmp_path, list_file=tmp_path / "list.txt") == {"a.jpg": 7}
    with pytest.raises(UserError, match="its own classes"):
        open_dataset(tmp_path, list_file=tmp_path / "list.txt", labels=tmp_path / "labels.csv")


def test_another_table_goes_before_the_one_beside(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("file,class_index\na.jpg,1\n")
    (tmp_path / "other.csv").write_text("class_index,file,note\n5,a.jpg,x\n6,not_here.jpg,y\n")
    assert labels(tmp_path) == {"a.jpg": 1}
    assert labels(tmp_path, labels=tmp_path / "other.csv") == {"a.jpg": 5}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a.jpg,3\n", "header with file,class_index"),
        ("file,class_index\n", "empty"),
        ("file,class_index\na.jpg,-1\n", r"'-1' is not a class index \(.*line 2"),
        ("file,class_index\na.jpg,²\n", "'²' is not a class index"),
        ("file,class_index\na.jpg\n", "'' is not a class index"),
        ("file,class_index\na.jpg,1\na.jpg,2\n", r"two classes, 1 and 2 \(.*line 3"),
        ("file,class_index,synset\na.jpg,1,n1\nb.jpg,1,n2\n", "class 1 has two names, 'n1' and 'n2'"),
        ("file,class_index\nb.jpg,1\n", r"1 of 1 images have no label, first 'a\.jpg'"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, table: str, message: str) -> None:
    put(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        open_dataset(tmp_path)


# --- the real lists and sets, where they are at hand


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the paper's test list is not at hand")
def test_the_papers_test_list(tmp_path: Path) -> None:
    listed = read_list(REFERENCE / "ctest10k.txt")
    synsets = class_folders(listed)
    assert len(listed) == 10_000 and synsets is not None and len(synsets) == 1000
    assert all(synsets) and list(synsets) == sorted(synsets)
    position = tmp_path / "val" / listed[0].name.rsplit("/", 1)[-1]
    put(position)
    with pytest.raises(UserError, match="9999 of 10000 listed images do not exist"):
        open_dataset(position.parent, list_file=REFERENCE / "ctest10k.txt")


@pytest.mark.skipif(not DATA.is_dir(), reason="the labeled images are not at hand")
def test_real_images_with_a_table_of_classes() -> None:
    dataset = open_dataset(DATA / "ilsvrc_val650")
    assert len(dataset) == 650 and dataset.name == "ilsvrc_val650"
    assert dataset.class_names is not None and dataset.class_names[472] == "n02951358"
    assert dataset == open_dataset(DATA / "ilsvrc_val650" / "images")


def test_a_dataset_in_images_has_the_name_of_its_set_and_not_of_a_project_or_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in ("alice/images", "project/images", "places/images"):
        put(tmp_path / root / "x.png")
    (tmp_path / "places" / "labels.csv").write_text("file,class_index,synset\nx.png,3,n00000003\n")
    for spec, folder, name in (
        ("places/images", ".", "places"),
        ("images", "places", "places"),
        ("places", ".", "places"),
        ("alice/images", ".", "images"),
        ("project/images", ".", "images"),
        ("images", "project", "images"),
    ):
        monkeypatch.chdir(tmp_path / folder)
        assert open_dataset(spec).name == name, (spec, folder)


def test_a_name_is_known_before_the_dataset_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Results are found by it: `compare A B --data ~/images` must look for what `run --data ~/images` has written.
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    monkeypatch.chdir(tmp_path)
    put(*(tmp_path / folder / "a.png" for folder in ("alice/images", "set/images", "set/other", "samples")))
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "set/other/a.png", "a.png")
    (tmp_path / "packed/images").mkdir(parents=True)
    shutil.copy(tmp_path / "shard.tar", tmp_path / "packed/images")
    shutil.copytree(tmp_path / "set", tmp_path / "a=b")
    containers = ("shard.tar", "sh*.tar", "packed", "packed/images")
    for spec in ("samples", Path("samples"), "alice/images", "set/images", "set", "a=b", *containers):
        assert dataset_name(spec) == open_dataset(spec).name


def test_a_folder_of_images_is_opened_without_the_modules_that_read_tables(images: Path) -> None:
    program = (
        "import sys\n"
        "from colorbench.data import open_dataset\n"
        "print(len(open_dataset(sys.argv[1])), 'pyarrow.parquet' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, images], capture_output=True, text=True, timeout=60)
    assert done.stdout == "3 False\n", done.stderr
