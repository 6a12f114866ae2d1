"""Values that every protocol is known to give, version by version: computed here, stored in ``known_values.json``.

    python tests/known_values.py [PROTOCOL...]

adds what is missing: a new version, case, model, metric or interval method. It changes no value that is stored. Where
one differs it says so and ends with 1: a change that moves a number raises the protocol's ``version`` first.

A case is one protocol with some parameters on small real images that installed packages carry. Trained protocols
reach their values by thousands of floating-point steps, so that other hardware or library versions may move them: they
are held to ``TIGHT`` on the platform that made the table and to ``LOOSE`` elsewhere. Baselines are held to ``TIGHT``
everywhere.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

# As in conftest: the number of threads is part of what decides the last digits of a training.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# torch-fidelity installs its own tests as the package ``tests``.
sys.path.insert(0, str(Path(__file__).parent.parent))

import pandas
import timm
import torch

from colorbench.data import Dataset, open_dataset
from colorbench.evaluation import RunConfig, get_protocol, run
from colorbench.models import save_weights
from colorbench.results import MetricSpec, Record, read_record
from protocols.distribution.distribution_presets import PRESETS as DISTRIBUTION_PRESETS
from protocols.fidelity.fidelity_presets import PRESETS
from protocols.human_study.analysis.fooling_rates import analyze
from protocols.human_study.analysis.response_reading import study_data_of
from protocols.human_study.analysis.study_records import write_records
from tests.support.probe import write_classes
from tests.support.study_responses import SENTINEL, make_design, make_study_data
from tests.support.voc import write_devkit

STORED = Path(__file__).parent / "known_values.json"
TIGHT = 1e-5
"""Of the metric's scale: what rows may differ by between batch sizes, threads and machines."""
LOOSE = {"auc": 1e-4, "fidelity": 1e-4, "semantic": 1e-3, "distribution": 1e-2, "diversity": 1e-2}
"""Of the metric's scale, for networks on other hardware or library versions."""
LOOSE_TRAINED = 0.06
"""The same for what is trained: two of 36 test images."""
LOOSE_TUNED = 0.12
"""The same for a network that is fine-tuned for a few steps on a few images."""
LOOSE_TRUNCATED = 1e-3
"""The same where 8 bits come by truncation: the last digit of a float decides a whole step."""
EXACT_MODELS = (
    *("zoo/gray", "zoo/constant", "zoo/mean-color", "zoo/ground-truth", "zoo/half-chroma"),
    *("zoo/random", "zoo/nearest-hint"),
)
"""No network decides these."""

Values = dict[str, Any]
"""Metric -> {"value", "n", "effective_n", "intervals": {method: [low, high]}}; "minus MODEL" for differences."""


@dataclass(frozen=True)
class Case:
    """One protocol with some parameters, on some images, for some models."""

    protocol: str
    """With its preset, if any."""
    name: str
    """Its name in the table."""
    data: str
    """What ``images_for`` makes."""
    models: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baselines: bool = False

    @property
    def plain(self) -> str:
        """The protocol without its preset."""
        return self.protocol.partition("@")[0]


LABELS = (
    *(906, 667, 823, 834, 432, 0, 686, 633, 541, 512, 841, 271, 285, 282, 285, 285, 285),
    *(0, 285, 282, 285, 285, 622, 714, 967, 967, 967, 967, 967, 604, 618, 960, 0),
)
"""ImageNet classes of 33 crops: mostly what the packaged classifier says of the true colors; scores are not 0."""
SHIPPED = (
    *("zoo/cic", "zoo/cic-class", "zoo/l2", "zoo/l2-ft", "zoo/mean-color", "zoo/random"),
    *("zoo/half-chroma", "zoo/ground-truth-jpeg95"),
)
TWO = ("zoo/cic", "zoo/half-chroma")
PROBE = {
    "preprocessing": "squash32",
    "dims": 60,
    "strengths": "1,100",
    "seeds": 2,
    "steps": 20,
    "batch": 32,
    "layers": "conv1,conv5",
}
TRANSFER = {"preprocessing": "squash32", "epochs": 2, "batch": 8, "learning_rate": 0.01}
SHIPPED_BACKEND = {"backend": "tf_efficientnet_lite0", "resize": "own", "range": "own"}
CASES = (
    Case("auc", "default", "samples", SHIPPED, baselines=True),
    Case("auc@cic2016", "auc@cic2016", "samples", ("zoo/cic",)),
    Case("auc@exact", "auc@exact", "samples", TWO),
    Case("auc", "prior=dataset", "samples", ("zoo/half-chroma",), {"prior": "dataset"}),
    Case("auc", "center64", "samples", ("zoo/half-chroma",), {"preprocessing": "center64"}),
    Case("auc", "intervals", "crops", ("zoo/half-chroma", "zoo/l2"), {"preprocessing": "squash32"}, baselines=True),
    Case("auc", "native", "crops", ("zoo/mean-color",), {"preprocessing": "native"}),
    Case("fidelity", "default", "samples", TWO, baselines=True),
    Case("fidelity", "psnr_infinite=drop", "samples", ("zoo/ground-truth",), {"psnr_infinite": "drop"}),
    Case("fidelity", "pooled", "samples", TWO, {"psnr": "pooled", "border": "4"}),
    Case(
        "fidelity",
        "truncate",
        "samples",
        TWO,
        {"rounding": "truncate", "psnr_infinite": "cap50", "ssim": "uniform7", "ssim_range": "225", "cf_minimum": "1"},
    ),
    *(Case(f"fidelity@{name}", f"fidelity@{name}", "samples", ("zoo/half-chroma",)) for name in PRESETS),
    Case(
        "fidelity", "intervals", "crops", ("zoo/half-chroma", "zoo/l2"), {"preprocessing": "squash32"}, baselines=True
    ),
    Case("semantic", "default", "labeled", ("zoo/half-chroma",)),
    Case("semantic", "crop=timm", "labeled few", ("zoo/half-chroma",), {"crop": "timm"}),
    Case(
        "semantic",
        "labels=ignore",
        "labeled few",
        ("zoo/half-chroma",),
        {"labels": "ignore", "preprocessing": "squash64"},
    ),
    Case("semantic", "two classifiers", "labeled few", ("zoo/half-chroma",), {"classifiers": "packaged and drawn"}),
    Case("distribution", "default", "crops", ("zoo/half-chroma",)),
    Case(
        "distribution",
        "allow_biased",
        "crops",
        ("zoo/half-chroma",),
        {"allow_biased": "yes", "lossy": "allow", "layer": "blocks.4"},
    ),
    # Their own backends need weights that do not ship.
    *(
        Case(f"distribution@{name}", f"distribution@{name}", "samples", ("zoo/half-chroma",), SHIPPED_BACKEND)
        for name in DISTRIBUTION_PRESETS
    ),
    Case("distribution", "reference", "labeled few", ("zoo/half-chroma",), {"reference": "samples"}),
    Case("diversity", "default", "samples", ("zoo/cic", "zoo/random"), {"preprocessing": "squash64"}),
    Case(
        "diversity",
        "intervals",
        "crops",
        ("zoo/cic-pixelwise", "zoo/half-chroma"),
        {"preprocessing": "squash32", "samples": "3", "best": "2"},
        baselines=True,
    ),
    Case("hints", "default", "samples", ("zoo/nearest-hint",), {"preprocessing": "squash64"}),
    Case(
        "hints",
        "intervals",
        "crops",
        ("zoo/nearest-hint",),
        {"preprocessing": "squash32", "counts": "0,1,10", "size": "2", "seed": "1"},
    ),
    Case(
        "linear-probe",
        "classifier=logistic",
        "classes",
        ("zoo/cic",),
        {**PROBE, "classifier": "logistic", "controls": "untrained"},
    ),
    Case("linear-probe", "classifier=sgd", "classes", ("zoo/cic",), {**PROBE, "classifier": "sgd", "controls": ""}),
    Case(
        "linear-probe",
        "storage=float16",
        "classes",
        ("zoo/l2",),
        {**PROBE, "controls": "", "storage": "float16", "layers": "all"},
    ),
    Case("linear-probe@cic2016", "linear-probe@cic2016", "classes", ("zoo/cic",), {**PROBE, "controls": ""}),
    Case("linear-probe@released", "linear-probe@released", "classes", ("zoo/cic",), {**PROBE, "controls": ""}),
    Case("transfer-classification", "folders", "classes", ("zoo/cic",), {**TRANSFER, "dims": 60, "rule": "sklearn"}),
    Case("transfer-classification", "rule=voc10", "voc", ("zoo/cic",), {**TRANSFER, "dims": 60, "rule": "voc10"}),
    Case(
        "transfer-classification",
        "ten-crop",
        "voc",
        ("zoo/cic",),
        {**TRANSFER, "dims": 60, "rule": "voc07", "views": "ten-crop", "tune": "conv7"},
    ),
    Case("transfer-segmentation", "head", "voc", ("zoo/cic",), {**TRANSFER, "hidden": 16}),
    Case("transfer-segmentation", "tune=conv7", "voc", ("zoo/cic",), {**TRANSFER, "hidden": 16, "tune": "conv7"}),
    Case("human-study", "assignment=within", "simulated", (), {"assignment": "within"}),
    Case("human-study", "assignment=between", "simulated", (), {"assignment": "between"}),
)


def computed(cases: tuple[Case, ...] = CASES, device: str = "cpu") -> Values:
    """Protocol -> version -> {"made_with", "cases": case -> model -> metric -> values}, of the code as it is."""
    found: Values = {}
    with tempfile.TemporaryDirectory() as name:
        images = cache(partial(images_for, Path(name) / "images"))
        for position, case in enumerate(cases):
            records = records_of(case, images, Path(name) / str(position), device)
            protocol = get_protocol(case.plain)
            entry = found.setdefault(case.plain, {}).setdefault(
                str(protocol.spec.version), {"made_with": platform(), "cases": {}}
            )
            entry["cases"][case.name] = {record.model.name: values_of(record) for record in records}
    return found


def images_for(folder: Path, kind: str) -> tuple[Dataset, Dataset]:
    """(to train on, to measure on); the same where nothing is trained."""
    folder = folder / kind
    if kind == "samples":
        data = open_dataset("samples")
    elif kind == "crops":
        write_classes(folder, 11, side=40)
        data = open_dataset(folder)
    elif kind.startswith("labeled"):
        crops = write_classes(folder / "images", 3 if "few" in kind else 11, side=96)
        rows = [f"{sample.id},{label}" for sample, label in zip(crops.samples, LABELS, strict=False)]
        (folder / "labels.csv").write_text("\n".join(["file,class_index", *rows]))
        data = open_dataset(folder)
    elif kind == "classes":
        return write_classes(folder / "train", 12), write_classes(folder / "test", 12, first=20)
    else:
        data = open_dataset(write_devkit(folder, count=24))
    return data, data


def records_of(
    case: Case, images: Callable[[str], tuple[Dataset, Dataset]], folder: Path, device: str = "cpu"
) -> list[Record]:
    """The records of a case."""
    if case.plain == "human-study":
        return study_records(folder, **case.parameters)
    train, test = images(case.data)
    parameters = dict(case.parameters)
    if parameters.get("classifiers"):
        folder.mkdir()
        parameters["classifiers"] = f"tf_efficientnet_lite0,test_resnet:{drawn_classifier(folder)}"
    return run(
        RunConfig(
            models=case.models,
            protocols=[case.protocol],
            data=test,
            roles={} if train is test and case.data != "voc" else {"train": train},
            parameters={case.plain: parameters},
            output=folder / "runs",
            device=device,
            threads=1,
            workers=0,
            batch_size=8,
            save="none",
            baselines=case.baselines,
        )
    )


def drawn_classifier(folder: Path) -> Path:
    """Weights of a small classifier, drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_resnet").eval()
    save_weights(network.state_dict(), folder / "drawn.safetensors")
    return folder / "drawn.safetensors"


def study_records(folder: Path, assignment: Any) -> list[Record]:
    """A study that nobody took part in: each response follows from a hash, so that no generator decides it."""
    design = make_design(participants=18, trials=20, sentinels=2, images=36, assignment=assignment)
    table = make_study_data(design, {name.name: 0.2 for name in design.methods})
    rates = {"zoo/cic.small": 0.35, "zoo/l2": 0.2, "zoo/constant": 0.06, SENTINEL: 0.1}
    for position, row in table.iterrows():
        digest = sha256(f"{row['slot']} {row['trial']}".encode()).digest()
        fooled = digest[0] / 256 < rates[row["method"]]
        table.loc[position, "response"] = {"first": "second", "second": "first"}[row["fake"]] if fooled else row["fake"]
        table.loc[position, ["fooled", "correct"]] = [fooled, not fooled]
        table.loc[position, "reaction_ms"] = 90.0 + 10 * digest[1]
        table.loc[position, ["exposure_first_ms", "exposure_second_ms"]] = [1000.0, 1000.0]
    found = analyze(study_data_of(design, table, pandas.DataFrame(), "here"), resamples=200)
    return [read_record(one) for one in write_records(found, folder, folder)]


def values_of(record: Record) -> Values:
    """Every number that a record states."""
    found = {
        metric.name: facts(metric.value, metric) | {"effective_n": metric.effective_n} for metric in record.metrics
    }
    for one in record.differences:
        found[f"{one.metric} minus {one.minus}"] = facts(one.value, one)
    return found


def facts(value: float | None, one: Any) -> Values:
    """A value, how many images it is of, and its interval under the method's name."""
    intervals = {} if one.ci_method is None else {one.ci_method: [one.ci_low, one.ci_high]}
    return {"value": value, "n": one.n, "intervals": intervals}


def platform() -> dict[str, str]:
    """What else decides the last digits of a network or a training."""
    packages = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "timm")
    return {"cpu": torch.backends.cpu.get_cpu_capability(), **{name: version(name) for name in packages}}


def differences(stored: Values, found: Values) -> Iterator[str]:
    """Each number of ``found`` that differs from the stored one of its version, and each that is not stored."""
    for protocol, versions in found.items():
        for number, entry in versions.items():
            known = stored.get(protocol, {}).get(number)
            if known is None:
                yield f"{protocol} version {number} has no values: run python tests/known_values.py"
                continue
            same = known["made_with"] == entry["made_with"]
            for case, models in entry["cases"].items():
                for model, metrics in models.items():
                    exact = model in EXACT_MODELS and protocol != "distribution"  # a network gives its features
                    tolerance = TIGHT if same or exact else LOOSE.get(protocol, LOOSE_TRAINED)
                    if protocol == "human-study":
                        tolerance = TIGHT  # no network, no training
                    elif not same and "converted" in case:
                        tolerance = LOOSE_TRUNCATED
                    elif not same and "tune=" in case:
                        tolerance = LOOSE_TUNED
                    where = f"{protocol} version {number}, {case}, {model}"
                    yield from _moved(known["cases"].get(case, {}).get(model, {}), metrics, tolerance, where)


def _moved(known: Values, metrics: Values, tolerance: float, where: str) -> Iterator[str]:
    for name in sorted({*known, *metrics}):
        if name not in known or name not in metrics:
            yield f"{where}: {name} is {'not stored' if name not in known else 'no longer measured'}"
            continue
        old, new = known[name], metrics[name]
        scale = scale_of(name, old["value"])
        if old["n"] != new["n"]:
            yield f"{where}: n of {name} was {old['n']}, is {new['n']}"
        if not near(old["value"], new["value"], tolerance * scale):
            yield f"{where}: {name} was {old['value']}, is {new['value']}"
        if not near(old.get("effective_n"), new.get("effective_n"), 10 * tolerance * new["n"]):
            yield f"{where}: effective n of {name} was {old.get('effective_n')}, is {new.get('effective_n')}"
        for method, ends in new["intervals"].items():
            if method not in old["intervals"]:
                yield f"{where}: no interval of {name} by {method!r} is stored"
            elif not all(
                near(*pair, 10 * tolerance * scale) for pair in zip(old["intervals"][method], ends, strict=True)
            ):
                yield f"{where}: interval of {name} was {old['intervals'][method]}, is {ends}"


def scale_of(name: str, value: float | None) -> float:
    """The width of a metric's bounds; without bounds the size of the value itself, at least 1."""
    spec = next((spec for spec in _specs() if name.startswith(spec.name)), None)
    if spec is not None and spec.upper_bound is not None:
        return spec.upper_bound - (spec.lower_bound or 0.0)
    return max(1.0, abs(value or 0.0))


@cache
def _specs() -> tuple[MetricSpec, ...]:
    """Longest names first, for ``top1_conv3`` begins as ``top1`` does."""
    found = [metric for name in {case.plain for case in CASES} for metric in get_protocol(name).spec.metrics]
    return tuple(sorted(found, key=lambda metric: -len(metric.name)))


def near(old: float | None, new: float | None, tolerance: float) -> bool:
    """Whether two numbers agree; None agrees with None alone."""
    if old is None or new is None:
        return old is new
    return math.isclose(old, new, rel_tol=0, abs_tol=tolerance)


def added(stored: Values, found: Values) -> Values:
    """``stored`` with what only ``found`` has; no stored value changes."""
    joined = dict(stored)
    for key, value in found.items():
        if key not in joined:
            joined[key] = value
        elif isinstance(value, dict) and isinstance(joined[key], dict) and key != "made_with":
            joined[key] = added(joined[key], value)
    return joined


def main() -> int:
    """Add what is missing to the table; 1 where a stored number differs."""
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    asked = sys.argv[1:] or [case.plain for case in CASES]
    found = computed(tuple(case for case in CASES if case.plain in asked))
    joined = added(stored, found)
    STORED.write_text(json.dumps(joined, indent=1, sort_keys=True) + "\n")
    moved = list(differences(joined, found))
    for line in moved:
        print(line, file=sys.stderr)  # noqa: T201
    if moved:
        print("raise the version of these protocols: stored values are not changed", file=sys.stderr)  # noqa: T201
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main())
