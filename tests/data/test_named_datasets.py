"""Datasets by name: the published lists, found in a user's folder or refused in one line."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from colorbench.data import ListedSet, open_dataset, set_sha256
from colorbench.data.published_sets import CTEST10K
from colorbench.errors import PluginError, UnknownNameError, UserError
from colorbench.registry import registered

OURS = [plugin.name for plugin in registered("datasets") if plugin.distribution == "colorbench"]
SHORT_HASHES = {
    "ctest10k": "f7e33b83d543b344",
    "cval1k": "4e7507575bbf355e",
    "imagenet-val5k": "149b433846abded7",
}
"""As they were published with the lists."""


def stems_of(name: str) -> set[str]:
    (plugin,) = (plugin for plugin in registered("datasets") if plugin.name == name)
    return set(plugin.load().checked_stems(name))


@pytest.mark.parametrize("name", OURS)
def test_a_definition_has_the_count_and_the_hash_that_it_states(name: str) -> None:
    stems = stems_of(name)
    assert set_sha256(stems).startswith(SHORT_HASHES.get(name, ""))
    lines = "\n".join(sorted(stems)) + "\n"
    assert set_sha256(stems) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_sets_relate_as_the_publications_say() -> None:
    ctest, cval, val5k, val50k = map(stems_of, ("ctest10k", "cval1k", "imagenet-val5k", "imagenet-val50k"))
    assert (len(ctest), len(cval), len(val5k), len(val50k)) == (10_000, 1_000, 5_000, 50_000)
    assert not ctest & cval and not ctest & val5k and cval < val50k and ctest < val50k and val5k < val50k
    assert {"ILSVRC2012_val_00042961", "ILSVRC2012_val_00040086"} <= ctest


SMALL = tuple(f"shot_{i:02d}" for i in range(6))
PLUGIN = """
from colorbench.data import ListedSet, set_sha256
STEMS = [f"shot_{i:02d}" for i in range(6)]
SHOTS = ListedSet(title="six shots", stems=lambda: STEMS, n=6, sha256=set_sha256(STEMS), license="CC0",
                  where_to_get="example.org/shots", known={"gray": ("shot_03",)})
SHORT = ListedSet(title="five", stems=lambda: STEMS[:5], n=6, sha256=set_sha256(STEMS))
CHANGED = ListedSet(title="changed", stems=lambda: [*STEMS[:5], "x"], n=6, sha256=set_sha256(STEMS))
NO_SET = 7
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of somebody else's with datasets."""
    site = tmp_path / "site"
    metadata = site / "their_sets-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-sets\nVersion: 1.0\n")
    names = ("SHOTS", "SHORT", "CHANGED", "NO_SET")
    points = "".join(f"{name.lower().replace('_', '-')} = their_sets:{name}\n" for name in names)
    (metadata / "entry_points.txt").write_text(f"[colorbench.datasets]\n{points}")
    (site / "their_sets.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "their_sets", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The six images, flat; only their names are read."""
    root = tmp_path / "flat"
    root.mkdir()
    for stem in SMALL:
        (root / f"{stem}.JPEG").write_bytes(b"x")
    return root


def opened(folder: Path, name: str = "their-sets/shots") -> object:
    return open_dataset(f"{name}={folder}")


@pytest.mark.usefixtures("plugin")
def test_flat_and_class_folders_give_the_same_ids(folder: Path, tmp_path: Path) -> None:
    flat = open_dataset(f"their-sets/shots={folder}")
    assert (flat.name, flat.class_names, flat.source) == ("their-sets/shots", None, "six shots")
    assert [sample.id for sample in flat.samples] == [f"{stem}.JPEG" for stem in SMALL]
    assert any("known as gray, first shot_03" in remark for remark in flat.remarks)
    for number, path in enumerate(sorted(folder.iterdir())):
        place = tmp_path / "classes" / "val" / f"n{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    classes = open_dataset(f"their-sets/shots={tmp_path / 'classes'}")
    assert [sample.id for sample in classes.samples] == [sample.id for sample in flat.samples]
    assert classes.class_names == ("n0", "n1")
    assert [sample.label for sample in classes.samples] == [0, 1, 0, 1, 0, 1]


@pytest.mark.usefixtures("plugin")
def test_what_is_missing_renamed_or_double_is_named_in_one_line(folder: Path) -> None:
    (folder / "shot_02.JPEG").rename(folder / "Shot_02.JPEG")
    with pytest.raises(UserError, match="1 of the 6 images of their-sets/shots are missing: shot_02; .*Shot_02") as one:
        opened(folder)
    assert "\n" not in str(one.value) and "example.org/shots" in str(one.value)
    (folder / "Shot_02.JPEG").unlink()
    with pytest.raises(UserError, match="are missing: shot_02 "):
        opened(folder)
    (folder / "shot_02.JPEG").write_bytes(b"x")
    (folder / "shot_02.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"more than once, the first: shot_02\.JPEG and shot_02\.png"):
        opened(folder)


@pytest.mark.usefixtures("plugin")
def test_images_of_another_set_are_named_and_left_out(folder: Path) -> None:
    (folder / "stranger.png").write_bytes(b"x")
    found = open_dataset(f"their-sets/shots={folder}")
    assert len(found) == 6
    assert (
        "1 images of the folder do not belong to their-sets/shots and are ignored, the first: stranger" in found.remarks
    )


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [("short", "5 names, not 6"), ("changed", "set sha256"), ("no-set", "is a int, not a ListedSet")],
)
def test_a_definition_that_contradicts_itself_is_refused(folder: Path, name: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        opened(folder, f"their-sets/{name}")


def test_unknown_names_and_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no dataset 'ctest1k'. Did you mean"):
        open_dataset(f"ctest1k={tmp_path}")
    with pytest.raises(UserError, match="no folder"):
        open_dataset(f"ctest10k={tmp_path / 'none'}")
    with pytest.raises(UserError, match="its own list"):
        open_dataset(f"ctest10k={tmp_path}", list_file=tmp_path / "list.txt")
    with pytest.raises(UserError, match="no folder"):
        open_dataset("not-there")


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(tmp_path: Path, images: Path) -> None:
    (tmp_path / "lr=3").symlink_to(images)
    assert len(open_dataset(str(tmp_path / "lr=3"))) == 3


def test_one_missing_of_ten_thousand_is_named(tmp_path: Path) -> None:
    stems = sorted(CTEST10K.stems())
    for stem in stems:
        (tmp_path / f"{stem}.JPEG").touch()
    assert len(open_dataset(f"ctest10k={tmp_path}")) == 10_000
    (tmp_path / f"{stems[77]}.JPEG").unlink()
    with pytest.raises(UserError, match=f"1 of the 10000 images of ctest10k are missing: {stems[77]}"):
        open_dataset(f"ctest10k={tmp_path}")
    assert isinstance(CTEST10K, ListedSet)
