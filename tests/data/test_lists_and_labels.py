"""Tables of labels as people bring them: names match where that leaves no doubt, all else is one short line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from colorbench.data.name_matching import match_names
from colorbench.data.sources import open_dataset
from colorbench.errors import UserError

HEAD = "file,class_index\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images side by side."""
    return images(tmp_path / "set", "00.png", "01.png")


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def labels(root: Path, table: str | bytes) -> dict[str, int | None]:
    path = root.parent / "table.csv"
    path.write_bytes(table.encode() if isinstance(table, str) else table)
    return {sample.id: sample.label for sample in open_dataset(root, labels=path).samples}


WRITTEN = {
    "plain": "file,class_index\n00.png,5\n01.png,7\n",
    "images/": "file,class_index\nimages/00.png,5\nimages/01.png,7\n",
    "./": "file,class_index\n./00.png,5\n./01.png,7\n",
    "backslashes": "file,class_index\nset\\00.png,5\nset\\01.png,7\n",
    "absolute": "file,class_index\n/data/my set/00.png,5\n/data/my set/01.png,7\n",
    "drive": "file,class_index\nC:\\set\\00.png,5\nC:\\set\\01.png,7\n",
    "no suffix": "file,class_index\n00,5\n01,7\n",
    "other suffix": "file,class_index\n00.JPEG,5\n01.JPEG,7\n",
    "suffix in upper case": "file,class_index\n00.PNG,5\n01.PNG,7\n",
    "second suffix": "file,class_index\n00.png.jpg,5\n01.png.jpg,7\n",
    "spaces": "file , class_index\n 00.png , 5\n 01.png,7 \n",
    "floats": "file,class_index\n00.png,5.0\n01.png,7.\n",
    "zeros": "file,class_index\n00.png,005\n01.png,07\n",
    "semicolons": "file;class_index\n00.png;5\n01.png;7\n",
    "tabs": "class_index\tfile\n5\t00.png\n7\t01.png\n",
    "quotes": '"file","class_index"\n"00.png","5"\n"01.png","7"\n',
    "head in upper case": "File,Class_Index\n00.png,5\n01.png,7\n",
    "line ends": "file,class_index\r\n00.png,5\r\n\r\n01.png,7\r\n,\r\n",
    "mark": "\ufefffile,class_index\n00.png,5\n01.png,7\n",
    "utf-16": "file,class_index\n00.png,5\n01.png,7\n".encode("utf-16"),
    "utf-16 big endian": b"\xfe\xff" + "file,class_index\n00.png,5\n01.png,7\n".encode("utf-16-be"),
    "rows of other files": "file,class_index\n00.png,5\n01.png,7\n02.png,9\n00.jpg,1\nx/00.png,2\n",
    "twice alike": "file,class_index\n00.png,5\n01.png,7\n./01.png,7\n",
}


@pytest.mark.parametrize("table", WRITTEN.values(), ids=WRITTEN)
def test_names_and_numbers_as_participants_write_them(folder: Path, table: str | bytes) -> None:
    assert labels(folder, table) == {"00.png": 5, "01.png": 7}


def test_paths_below_folders_match_from_their_end(tmp_path: Path) -> None:
    root = images(tmp_path / "set", "n1/a.png", "n2/a.png", "n2/b.png")
    wanted = {"n1/a.png": 0, "n2/a.png": 1, "n2/b.png": 1}
    for prefix in ("", "val/", "/data/set/", "..\\set\\"):
        rows = [f"{prefix}{id},{label}" for id, label in wanted.items()]
        assert labels(root, HEAD + "\n".join(rows)) == wanted
    # Side by side in the table: the one name that is unique could be known, the others not.
    with pytest.raises(UserError, match=r"'n1/a.png' and 'n2/a.png' may be meant by 'a.png'"):
        labels(root, HEAD + "a.png,0\nb.png,1\n")
    assert labels(images(tmp_path / "other", "n1/a.png", "n2/b.png"), HEAD + "a.png,0\nb.png,1\n") == {
        "n1/a.png": 0,
        "n2/b.png": 1,
    }


def test_composed_and_decomposed_accents_are_one_name(tmp_path: Path) -> None:
    assert labels(images(tmp_path / "set", "gru\u0308n.png"), HEAD + "gr\u00fcn.png,3\n") == {"gru\u0308n.png": 3}


REFUSED = {
    "another name": (HEAD + "img_00.png,5\nimg_01.png,7\n", r"2 of 2 images .* '00.png'; the table has 'img_00.png'"),
    "two folders": (HEAD + "x/00.png,5\ny/00.png,7\n01.png,1\n", "'00.png' may be meant by 'x/00.png' and 'y/00.png'"),
    "two suffixes": (HEAD + "00.jpg,5\n00.gif,7\n01.png,1\n", "'00.png' may be meant by '00.jpg' and '00.gif'"),
    "10^9": (HEAD + "00.png,1000000000\n01.png,1\n", r"'1000000000' is too large \(.*line 2"),
    "10^400": (HEAD + "00.png,1" + "0" * 400 + "\n01.png,1\n", r"'1000.*'\.\.\. is too large"),
    "10^6": (HEAD + "00.png,1000000\n01.png,1\n", "the largest index is 999999"),
    "negative": (HEAD + "00.png,-1\n01.png,1\n", "'-1' is not a class index"),
    "half": (HEAD + "00.png,0.5\n01.png,1\n", "'0.5' is not a class index"),
    "not a number": (HEAD + "00.png,nan\n01.png,1\n", "'nan' is not a class index"),
    "longest": (HEAD + "00.png,1,\n01.png," + "y" * 5000 + "\n", r"is not a class index \(.*line 3"),
    "line of megabytes": (HEAD + "00.png,1\n01.png,1," + "y" * 3_000_000 + "\n", r"more than 65536 .*line 3"),
    "quoted megabytes": (HEAD + '00.png,"' + "1\n" * 1_000_000 + "\n", "not a table: field larger than"),
    "NUL": (HEAD + "00.png,1\n01.png\0,1\n", r"NUL bytes \(.*line 3"),
    "utf-16 without a mark": ((HEAD + "00.png,1\n").encode("utf-16-le"), "NUL bytes"),
    "latin-1": (HEAD.encode() + b"gr\xfcn.png,1\n", "not a text file in UTF-8"),
    "two labels in two spellings": (HEAD + "00.png,1\n.\\\\00.png,2\n", "has two classes, 1 and 2"),
    "two labels": (HEAD + "00.png,1\n00.png,2\n", "'00.png' has two classes, 1 and 2"),
    "two labels in two ways": (HEAD + "./00.png,1\n00.JPG,2\n01.png,1\n", "'00.png' may be meant by"),
    "two columns": ("file,class_index,class_index\n00.png,1,2\n", "two columns with the same name"),
    "no head": ("00.png,1\n", "header with file,class_index"),
    "commas in names": (HEAD + "a,b.png,1\n", "'b.png' is not a class index"),
}


@pytest.mark.parametrize(("table", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_one_short_line(folder: Path, table: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        labels(folder, table)
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_a_name_in_other_case_is_shown_and_not_guessed(tmp_path: Path) -> None:
    root = images(tmp_path / "set", "a.png", "B.png")
    with pytest.raises(UserError, match=r"1 of 2 images have no label, first 'B.png'; the table has 'b.png'"):
        labels(root, HEAD + "a.png,1\nb.png,2\n")


def test_lists_refuse_large_numbers_too(folder: Path, tmp_path: Path) -> None:
    for number in ("1000000000", "9" * 5000):
        (tmp_path / "list.txt").write_text(f"00.png 1\n01.png {number}\n")
        with pytest.raises(UserError, match=r"too large \(.*line 2"):
            open_dataset(folder, list_file=tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("./00.png 1\nx//01.png 2\n")
    listed = open_dataset(folder, list_file=tmp_path / "list.txt")
    assert [(sample.id, sample.label) for sample in listed.samples] == [("00.png", 1), ("x/01.png", 2)]


BOUNDED = """
import resource, sys
from pathlib import Path
from colorbench.data.sources import open_dataset
from colorbench.errors import UserError
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    open_dataset(Path(sys.argv[1]), labels=Path(sys.argv[2]))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["index", "line", "quoted", "zeros", "device"])
def test_no_table_fills_the_memory(folder: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.write(HEAD.encode())
        if kind == "index":
            file.write(b"00.png,1000000000\n01.png,1000000001\n")
        elif kind == "line":
            file.writelines(b"x" * (1 << 20) for _ in range(300))
        elif kind == "quoted":
            file.write(b'00.png,"')
            file.writelines(b"x\n" * (1 << 19) for _ in range(300))
        elif kind == "zeros":
            file.truncate(5 << 30)  # a hole of 5 GB
    given = Path("/dev/zero") if kind == "device" else path
    command = [sys.executable, "-c", BOUNDED, str(folder), str(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    path.unlink()
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1, done.stderr[-2000:]


# --- the matching itself, as images:DIR uses it


@pytest.mark.parametrize(
    ("ids", "names", "pairs"),
    [
        (["a.jpg"], ["a.png"], {"a.jpg": "a.png"}),
        (["a.jpg"], ["a.jpg", "a.png"], None),  # one may be a copy of the input
        (["a.jpg", "a.png"], ["a.jpg", "a.png"], {"a.jpg": "a.jpg", "a.png": "a.png"}),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png.png"], {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}),
        (["a.jpg", "a.png"], ["a.png"], None),
        (["a.jpg"], ["a.png", "a.jpg.png"], None),
        (["a.jpg"], ["x/a.png", "y/a.png"], None),
        (["a.jpg"], ["x/a.png"], {"a.jpg": "x/a.png"}),
        (["x/a.jpg"], ["a.png"], {"x/a.jpg": "a.png"}),
        (["x/a.jpg"], ["a.png", "y/a.png"], None),
        (["x/a.jpg", "y/a.jpg"], ["a.png"], None),
        (["x/a.jpg", "y/a.jpg"], ["a.png", "y/a.png"], None),
        (["x/a.jpg", "a.jpg"], ["a.png"], None),
        (["x/a.jpg", "y/a.jpg"], ["z/x/a.png", "z/y/a.png"], {"x/a.jpg": "z/x/a.png", "y/a.jpg": "z/y/a.png"}),
        (["x/a.jpg"], ["y/a.png"], None),
        (["A.jpg"], ["a.png"], None),
        (["A.jpg", "a.jpg"], ["a.png", "A.png"], {"A.jpg": "A.png", "a.jpg": "a.png"}),
        (["night.v1.jpg", "night.v2.jpg"], ["night.v2.png"], {"night.v2.jpg": "night.v2.png"}),
    ],
)
def test_files_are_matched_only_where_that_leaves_no_doubt(
    ids: list[str], names: list[str], pairs: dict[str, str] | None
) -> None:
    found = match_names(ids, names, exact_wins=False)
    if pairs is None:
        assert found.doubtful or found.missing
        assert len(found.pairs) < len(ids)
    else:
        assert found.pairs == pairs and not found.doubtful
    assert match_names(ids[::-1], names[::-1], exact_wins=False).pairs == found.pairs
