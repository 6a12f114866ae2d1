"""The design of a study: who sees what, balanced and seeded; and the files of its images."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from colorbench.errors import UserError
from protocols.human_study.build.color_vision_plates import DIGITS, LARGEST, SIDE, digit_mask, draw_plate
from protocols.human_study.build.stimulus_files import CLASS_BYTES, encode, files_of
from protocols.human_study.build.trial_assignment import balance, draw_slots, sentinel_count
from protocols.human_study.study_folder.design_schema import Slot

SENTINEL = "zoo/random"


def draw(participants=40, trials=40, sentinels=4, methods=3, images=40, practice=10, assignment="within", seed=0):
    return draw_slots(
        participants=participants,
        trials=trials,
        sentinels=sentinels,
        methods=[f"m{i}" for i in range(methods)],
        sentinel_method=SENTINEL,
        images=[f"p{i}" for i in range(images)],
        practice=[f"x{i}" for i in range(practice)],
        assignment=assignment,
        seed=seed,
    )


def rated(slot: Slot):
    return [trial for trial in slot.trials if trial.kind == "test"]


@settings(max_examples=40, deadline=None)
@given(
    participants=st.integers(3, 12),
    methods=st.integers(1, 3),
    tests=st.integers(3, 12),
    sentinels=st.integers(0, 2),
    spare=st.integers(0, 10),
    assignment=st.sampled_from(("within", "between")),
    seed=st.integers(0, 1000),
)
def test_every_session_is_complete_and_shows_no_image_twice(
    participants, methods, tests, sentinels, spare, assignment, seed
):
    trials = tests + sentinels
    slots = draw(participants, trials, sentinels, methods, trials + spare, 4, assignment, seed)
    assert len(slots) == participants
    for slot in slots:
        kinds = Counter(trial.kind for trial in slot.trials)
        assert kinds == Counter({"practice": 4, "test": tests, **({"sentinel": sentinels} if sentinels else {})})
        assert len({trial.image for trial in slot.trials}) == len(slot.trials)
        assert [trial.kind for trial in slot.trials[:4]] == ["practice"] * 4
        assert slot.trials[4].kind == "test"
        assert all((trial.method == SENTINEL) == (trial.kind == "sentinel") for trial in slot.trials)
        assert all(trial.image.startswith("x") == (trial.kind == "practice") for trial in slot.trials)
        firsts = sum(trial.fake == "first" for trial in rated(slot))
        assert abs(2 * firsts - tests) <= 3  # each method's odd trial may go either way
        per_method = Counter(trial.method for trial in rated(slot))
        if assignment == "between":
            assert per_method == {slot.cell: tests}
        elif tests >= methods:
            assert max(per_method.values()) - min(per_method.values()) <= 1


def test_where_the_numbers_allow_it_is_a_latin_square():
    slots = draw(participants=30, trials=40, sentinels=4, methods=3, images=40)
    pairs = Counter((trial.image, trial.method) for slot in slots for trial in slot.trials if trial.kind != "practice")
    assert {pairs[f"p{i}", f"m{j}"] for i in range(40) for j in range(3)} == {9}
    assert {pairs[f"p{i}", SENTINEL] for i in range(40)} == {3}
    assert all(set(Counter(trial.method for trial in rated(slot)).values()) == {12} for slot in slots)


@pytest.mark.parametrize(
    ("participants", "methods", "images", "assignment"),
    [(60, 4, 200, "within"), (40, 5, 53, "within"), (120, 3, 200, "between")],
)
def test_where_they_do_not_it_is_as_even_as_it_can_be(participants, methods, images, assignment):
    found = balance(draw(participants, 40, 4, methods, images, assignment=assignment))
    fewest, most = found["trials per image and method"]
    assert most - fewest <= 1
    fewest, most = found["trials per method"]
    assert most - fewest <= 1
    assert found["fakes first minus second, per participant"] == (0, 0)


@settings(max_examples=25, deadline=None)
@given(
    participants=st.integers(6, 40),
    methods=st.integers(1, 6),
    images=st.integers(40, 160),
    assignment=st.sampled_from(("within", "between")),
    seed=st.integers(0, 1000),
)
def test_every_method_meets_every_image_equally_often_wherever_the_study_ends(
    participants, methods, images, assignment, seed
):
    """Between, a method that more participants judge has more trials: the evenness is each method's own."""
    slots = draw(participants, 40, 4, methods, images, assignment=assignment, seed=seed)
    pairs = Counter((trial.method, trial.image) for slot in slots for trial in rated(slot))
    for method in {method for method, _ in pairs}:
        times = [pairs[method, f"p{i}"] for i in range(images)]
        assert max(times) - min(times) <= 1


def test_fakes_come_first_as_often_as_second_for_every_method_and_participant():
    slots = draw(participants=30)
    for slot in slots:
        lead = Counter()
        for trial in rated(slot):
            lead[trial.method] += 1 if trial.fake == "first" else -1
        assert set(lead.values()) == {0}
    for kind in ("practice", "sentinel"):
        positions = Counter(trial.fake for slot in slots for trial in slot.trials if trial.kind == kind)
        assert abs(positions["first"] - positions["second"]) <= 2


def test_no_method_gathers_at_one_end_of_the_session():
    for slot in draw(participants=12, methods=4):
        order = [trial.method for trial in rated(slot)]
        assert all(len(set(order[i : i + 4])) == 4 for i in range(0, 36, 4))


def test_a_study_that_ends_early_is_balanced_too():
    slots = draw(participants=30, methods=3, assignment="between")
    for start in range(0, 30, 3):
        assert len({slot.cell for slot in slots[start : start + 3]}) == 3


def test_everything_follows_from_the_seed():
    assert draw(seed=5) == draw(seed=5)
    assert draw(seed=5) != draw(seed=6)


def test_sentinels_are_spread_over_the_session():
    positions = np.array([[i for i, t in enumerate(slot.trials[10:]) if t.kind == "sentinel"] for slot in draw(40)])
    assert positions.shape == (40, 4) and positions.min() >= 1
    means = positions.mean(axis=0)  # one in each quarter: about 5, 15, 25, 35
    assert np.abs(means - [5, 15, 25, 35]).max() < 3


def test_a_tenth_are_sentinels_as_in_the_paper():
    assert [sentinel_count(n) for n in (40, 50, 12, 4)] == [4, 5, 1, 1]
    assert sentinel_count(40, 0) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 39}, "40 trials need 40 different images"),
        ({"methods": 37}, "are fewer than 37 methods"),
        ({"methods": 3, "participants": 2, "assignment": "between"}, "2 participants are fewer than 3 methods"),
        ({"sentinels": 40}, "leave none"),
    ],
)
def test_what_cannot_be_drawn_is_stated_in_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        draw(**changes)


def test_all_files_of_a_image_have_one_size_and_hold_nothing_but_the_stimulus(astronaut: np.ndarray):
    real = np.asarray(Image.fromarray(astronaut).resize((256, 256)))
    gray = np.repeat(real.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    assert abs(len(encode(real)) - len(encode(gray))) > CLASS_BYTES, "this test needs files that differ in size"
    files = files_of({"": real, "gray": gray})
    assert {len(data) % CLASS_BYTES for data in files.values()} == {0}
    assert len({len(data) for data in files.values()}) == 1
    for name, pixels in (("", real), ("gray", gray)):
        with Image.open(io.BytesIO(files[name])) as image:
            image.verify()
        with Image.open(io.BytesIO(files[name])) as image:
            assert np.array_equal(np.asarray(image), pixels)
            assert image.info == {}
        assert chunks(files[name]) == chunks(files[""])


def chunks(png: bytes) -> set[bytes]:
    kinds, at = set(), 8
    while at < len(png):
        kinds.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    assert at == len(png)
    return kinds


# Machado, Oliveira, Fernandes (2009), severity 1.0, for linear RGB.
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


@pytest.mark.parametrize("digit", DIGITS)
def test_a_digit_is_centered_and_complete(digit: str) -> None:
    mask = digit_mask(digit)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    for found in (rows, columns):
        assert abs((found[0] + found[-1]) / 2 - SIDE / 2) < 12 and found[-1] - found[0] > SIDE / 4
        assert found[0] > 0 and found[-1] < SIDE - 1, "nothing is cut off"


@pytest.mark.parametrize("digit", DIGITS)
def test_no_opening_of_a_digit_closes_by_a_dot(digit: str) -> None:
    """A 5 with a narrow lower left is read as a 6, which is not among the choices."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~digit_mask(digit))

    def holes(ground: np.ndarray) -> int:
        areas = np.bincount(ndimage.label(ground)[0].ravel())[1:]
        return int((areas > 30).sum()) - 1  # without the ground around the digit

    assert [holes(away > reach * LARGEST) for reach in (0.0, 0.5, 1.0, 1.4)] == [int(digit == "4")] * 4


def test_a_plates_digit_stands_out_by_its_hue_and_fades_for_the_color_blind():
    from skimage.color import rgb2lab

    digit = DIGITS[0]
    mask = digit_mask(digit)
    plates = [draw_plate(digit, number, seed=0) / 255.0 for number in range(3)]
    dots = [plate.min(axis=2) < 0.95 for plate in plates]

    def contrast(plate: np.ndarray, there: np.ndarray) -> tuple[float, float]:
        """Distance of the mean colors of digit and ground: in lightness, and in ab."""
        lab = rgb2lab(plate)
        apart = lab[mask & there].mean(axis=0) - lab[~mask & there].mean(axis=0)
        return abs(apart[0]), float(np.hypot(*apart[1:]))

    assert plates[0].shape == (SIDE, SIDE, 3)
    assert contrast(plates[0], dots[0])[0] > 25  # everybody sees the first
    for plate, there in zip(plates[1:], dots[1:], strict=True):
        linear = np.where(plate <= 0.04045, plate / 12.92, ((plate + 0.055) / 1.055) ** 2.4)
        seen = np.clip(linear @ DEUTERANOPIA.T, 0, 1)
        seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        lightness, hue = contrast(plate, there)
        blind_lightness, blind_hue = contrast(seen, there)
        assert hue > 40 and lightness < 8
        assert blind_hue < hue / 2 and blind_lightness < 20


def test_the_pages_files_are_packaged():
    from importlib.resources import files

    from protocols.human_study.study_folder.file_names import FORM, TEXTS

    package = files("protocols.human_study")
    assert all((package / "form" / name).is_file() for name in FORM)
    assert all((package / "texts" / f"{name}.md").is_file() for name in TEXTS)
    assert all((package / "templates" / name).is_file() for name in ("admin.html", "login.html", "admin.css"))
    assert isinstance(Path(str(package)), Path)


def test_an_npm_that_fails_is_named_with_the_way_out_and_nothing_unpinned_is_taken(tmp_path, monkeypatch):
    from protocols.human_study.build import jspsych

    npm = tmp_path / "npm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jspsych, "_npms", lambda: iter([[str(npm)]]))
    npm.write_text("#!/bin/sh\necho 'npm error network ENOTFOUND' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(UserError, match=r"npm cannot download jspsych@.*ENOTFOUND"):
        jspsych.jspsych_files()
    npm.write_text('#!/bin/sh\necho other > "$4/other.tgz"\n')
    with pytest.raises(UserError, match="differs from the pinned one"):
        jspsych.jspsych_files()
    monkeypatch.setattr(jspsych, "_npms", lambda: iter([]))
    with pytest.raises(UserError, match="npm is not installed"):
        jspsych.jspsych_files()
