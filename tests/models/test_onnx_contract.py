"""Contracts of ONNX files: each fault is one line, and the three that ship say what their networks want."""

from __future__ import annotations

from pathlib import Path

import pytest

from colorbench.errors import UserError
from colorbench.models.onnx_contract import SHIPPED, find_contract, parse_contract, read_contract, shipped_contract
from tests.support.onnx_files import CONTRACT


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_contract_names_license_and_paper_and_is_written_as_it_is_read(name: str) -> None:
    contract = shipped_contract(name)
    assert contract.card.license and contract.card.paper
    assert parse_contract(contract.to_toml(), name) == contract


def test_the_card_decides_nothing_and_every_other_key_does() -> None:
    first = parse_contract(CONTRACT, "a")
    assert parse_contract(CONTRACT.replace("MIT", "BSD"), "a").sha256 == first.sha256
    changes = (("low = 0", "low = 1"), ("size = 32", "size = 64"), ('"bilinear"', '"nearest"'), ("bicubic", "bilinear"))
    for old, new in changes:
        assert parse_contract(CONTRACT.replace(old, new, 1), "a").sha256 != first.sha256


FAULTS = [
    ("size = 32\n", "", r"\[input\] lacks size"),
    ('form = "ab"\n', "", r"\[output\] lacks form"),
    ("low = 0\nhigh = 100\n", "", r"\[input\] lacks low; \[input\] lacks high"),
    ("[output]", "[outputs]", r"there is no table \[output\].*there is no table \[outputs\] \(did you mean output\?\)"),
    ("low = 0", "low = 0\nlo = 1", r"\[input\] has no key 'lo' \(did you mean low\?\)"),
    ('license = "MIT"', 'licence = "MIT"', r"\[card\] has no key 'licence' \(did you mean license\?\)"),
    ("size = 32", "size = 32.5", r"\[input\] size must be a number of pixels .* not 32.5"),
    ("size = 32", "size = 0", r"\[input\] size must be a number of pixels .* not 0"),
    ("size = 32", "size = true", r"\[input\] size must be a number of pixels .* not True"),
    ("size = 32", 'size = "any"', r"\[input\] size must be .*, \"file\" or \"free\", not 'any'"),
    ("size = 32", "size = 32\nmultiple = 5", r"\[input\]: size 32 is not a multiple of 5"),
    ("size = 32", "size = 32\nmultiple = 0", r"\[input\] multiple should be greater than or equal to 1, not '0'"),
    ("low = 0", 'low = "0"', r"\[input\] low should be a valid number, not '0'"),
    ("high = 100", "high = nan", r"\[input\] high should be a finite number"),
    ("high = 100", "high = 0", r"\[input\]: low and high are equal"),
    ("size = 32", "size = 32\nstd = 0", r"\[input\]: std must be positive"),
    ("size = 32", "size = 32\nmean = [1, 2]", r"\[input\] mean must be a number, or one per channel, not \[1, 2\]"),
    ("size = 32", "size = 32\nmean = [1, 2, 3]", r"\[input\]: mean has 3 values, lightness has 1 channels"),
    ('"lightness"\nlow', '"L"\nlow', r"\[input\] form must be 'lightness', 'gray' or 'gray-rgb', not 'L'"),
    ('squash = "bicubic-aa"', 'squash = "lanczos"', r"\[input\] squash must be 'bicubic-aa', .* not 'lanczos'"),
    ('form = "ab"', 'form = "rgb"', r"\[output\]: rgb needs low and high"),
    ('form = "ab"', 'form = "ab"\nlow = -1', r"\[output\]: ab needs low and high"),
    ('form = "ab"', 'form = "lab"\nlow = 0\nhigh = 1', r"\[output\]: Lab is in CIE units and takes no low"),
    ('keep = "lightness"', 'keep = "yuv-y"', r"\[output\]: keep is yuv-y, which needs rgb, and form is ab"),
    ('keep = "lightness"', 'keep = "nothing"', r"\[output\]: keep is nothing, and ab alone is not an image"),
    ('license = "MIT"', 'sha256 = "12"', r"\[card\] sha256 must be 64 hexadecimal digits"),
    ("[card]", "[card", "the contract is not TOML"),
    ("[card]", "size = 1\n[card]", r"there is no table \[size\]"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_a_fault_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CONTRACT
    path = tmp_path / "net.toml"
    path.write_text(CONTRACT.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        read_contract(path)
    assert "\n" not in str(caught.value) and "net.toml" in str(caught.value)


def test_the_contract_is_beside_the_file_or_chosen(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    with pytest.raises(UserError, match=r"no contract.*net.toml beside it.*contract=cic\|ddcolor\|deoldify"):
        find_contract(file, None)
    assert find_contract(file, "ddcolor") == (shipped_contract("ddcolor"), "ddcolor")
    with pytest.raises(UserError, match="no contract 'ddcolour'. Did you mean ddcolor"):
        find_contract(file, "ddcolour")
    with pytest.raises(UserError, match="no such contract"):
        find_contract(file, str(tmp_path / "none.toml"))
    for name in ("net.onnx.toml", "net.toml"):
        (tmp_path / name).write_text(CONTRACT)
        if name == "net.onnx.toml":
            assert find_contract(file, None)[1] == name
    with pytest.raises(UserError, match="two contracts beside it"):
        find_contract(file, None)
    assert find_contract(file, str(tmp_path / "net.toml"))[1] == "net.toml"


def test_a_mark_at_the_begin_of_a_text_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_bytes(b"\xef\xbb\xbf" + CONTRACT.replace("\n", "\r\n").encode())
    assert read_contract(tmp_path / "net.toml") == parse_contract(CONTRACT, "net")


def test_a_file_that_is_no_text_is_no_contract(tmp_path: Path) -> None:
    for data in (b"\xff\xfe\x00", b"a" * (2**20 + 1)):
        (tmp_path / "net.toml").write_bytes(data)
        with pytest.raises(UserError, match="cannot be read|too large"):
            read_contract(tmp_path / "net.toml")
