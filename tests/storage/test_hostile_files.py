"""Untrusted files: small ones that unpack to much, and damaged ones, are refused before anything is unpacked."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from colorbench.errors import UserError
from colorbench.storage import InvalidImage, decode_saved_image, parse_json, read_plain
from colorbench.storage.limits import MEGABYTE, MOST_VALUES
from colorbench.storage.safe_json import InvalidJson
from colorbench.storage.safe_reading import InvalidTable, arrays_of
from tests.support.hostile_files import HOSTILE_ARRAYS, HOSTILE_IMAGES, png

JSON: dict[str, tuple[bytes, str]] = {
    "integer of 400 digits": (b'{"n": %b}' % (b"9" * 400), "more than 62 bits"),
    "integer of 5000 digits": (b"[-%b]" % (b"9" * 5000), "more than 62 bits"),
    "integer of 63 bits": (b"[4611686018427387905]", "more than 62 bits"),
    "NaN": (b"[NaN]", "contains NaN"),
    "infinity": (b"[-Infinity]", "contains -Infinity"),
    "overflow": (b"[1e999]", "too large"),
    "a key twice": (b'{"a": {"b": 1, "b": 2}}', "a key occurs twice"),
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "deep mappings": (b'{"a":' * 900 + b"1" + b"}" * 900, "nested too deeply"),
    "many values": (b"[" + b"[]," * MOST_VALUES + b"1]", "more than 1000000 values"),
    "long text": (b'["%b"]' % (b"x" * 200_000), "a text of 200000 characters"),
    "long key": (b'{"%b": 1}' % (b"x" * 200_000), "a text of 200000 characters"),
    "escape sequence": (b'["\\u001b[31m"]', "control characters"),
    "escape sequence in a key": (b'{"\\u009b31m": 1}', "control characters"),
    "turned direction": ('["\u202e"]'.encode(), "control characters"),
    "lone surrogate": (b'["\\ud800"]', "not valid Unicode"),
    "UTF-16": ("[1]".encode("utf-16"), "UTF-8"),
    "other bytes": (b'["\xff"]', "UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf[1]", "not JSON"),
    "rest": (b"[1] 2", "not JSON"),
    "nothing": (b"", "not JSON"),
}


@pytest.mark.parametrize("kind", JSON)
def test_json_that_no_run_writes_is_refused(kind: str) -> None:
    data, reason = JSON[kind]
    tracemalloc.start()
    with pytest.raises(InvalidJson, match=reason) as caught:
        parse_json(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 200
    assert most < 80 * len(data) + MEGABYTE


def test_plain_json_is_what_it_was() -> None:
    value = {"text": "tab\tline\n\u00e9\U0001f600\\u001b", "n": [1, -1.5, 1e300, True, None, 2**62], "": {}}
    for written in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert parse_json(written.encode()) == value


@pytest.mark.parametrize("kind", HOSTILE_ARRAYS)
def test_arrays_that_no_run_writes_are_refused(kind: str) -> None:
    data = HOSTILE_ARRAYS[kind]()
    tracemalloc.start()
    with pytest.raises(InvalidTable, match="damaged, too large"):
        arrays_of(data, 40)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * MEGABYTE


@pytest.mark.parametrize("kind", HOSTILE_IMAGES)
def test_saved_images_that_break_a_decoder_are_refused(kind: str) -> None:
    with pytest.raises(InvalidImage):
        decode_saved_image(HOSTILE_IMAGES[kind])


def test_a_saved_image_has_a_largest_side() -> None:
    assert decode_saved_image(png(64, 32), largest_side=64).image.size == (64, 32)
    with pytest.raises(InvalidImage, match="more than 63 pixels"):
        decode_saved_image(png(64, 32), largest_side=63)


def test_only_plain_files_of_a_bounded_size_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "large").write_bytes(b"x" * 11)
    for name in ("fifo", "device", "circle", "large", "none", "", "a\0b", "large/inside"):
        with pytest.raises(UserError):
            read_plain(tmp_path / name, 10, missing="no such file", hint="look")
