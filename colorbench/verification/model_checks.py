"""Check of a record's part on the model against the installed model.

Only installed models are loaded, by name; code that comes with a record is never run. For a file, folder or weights of
the submitter, the statements in the record are unchecked claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from colorbench.errors import UserError, printable
from colorbench.models import LoadedModel, find_overlap, load_model
from colorbench.models.model_names import IMAGES, ONNX, path_of
from colorbench.registry import OWN
from colorbench.results import LoadedRun
from colorbench.storage import version_of
from colorbench.verification.verification_schema import Findings

LOADABLE = "only installed models are loaded by the name in a record"
_GIVEN = {IMAGES: "FOLDER", ONNX: "FILE"}
"""What a user writes after the prefix of a model's name."""


def check_model(run: LoadedRun, findings: Findings) -> None:
    """Check card, package, weights and decoding of a record against the installed model."""
    model = run.record.model
    why = _elsewhere(run)
    if why is None:
        try:
            loaded = _load_by_name(model.name, *decoding_of(model.decoding))
        except UserError as error:
            if model.package == OWN:
                findings.say("model", "fails", f"not a model of colorbench {model.package_version}: {error}")
                return
            why = str(error)
        else:
            findings.settle("model", _departures(run, loaded), "card, weights, decoding and overlap match the model")
            return
    findings.say("model", "unchecked", why)
    findings.claim("model card, weights, decoding and overlap with its training images")


def decoding_of(decoding: dict[str, object]) -> tuple[str | None, float | None]:
    """Return method and temperature of a model's decoding as arguments of ``load_model``."""
    decode, temperature = decoding.get("decode"), decoding.get("temperature")
    known = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    return decode if isinstance(decode, str) else None, float(temperature) if known else None  # type: ignore[arg-type]


@lru_cache(maxsize=16)
def _load_by_name(name: str, decode: str | None, temperature: float | None) -> LoadedModel:
    """Load an installed model; cached, since a leaderboard needs the same one for many records."""
    return load_model(name, decode, temperature)


def by_name(name: str) -> bool:
    """Return whether a name is that of an installed model, not a file, folder or user's weights."""
    return "/" in name and not any(mark in name for mark in (":", "@", "weights="))


def needed_option(name: str) -> str:
    """Return what to add to ``verify --rerun`` for a model that is not loaded by its name in a record."""
    path = path_of(name)
    given = next((f"{scheme}{what}" for scheme, what in _GIVEN.items() if name.startswith(scheme)), None)
    if given is None:
        given = "FILE.py:CLASS" if path is not None and path.suffix == ".py" else "NAME (and --weights FILE)"
        path = path if given == "FILE.py:CLASS" else None
    return f"add --model {given}" + ("" if path is None else f" (the record names {printable(str(path)[:200])})")


def _elsewhere(run: LoadedRun) -> str | None:
    """Return the reason why the record's model differs from the installed one; None if it should be equal."""
    model = run.record.model
    if not by_name(model.name):
        return LOADABLE
    if model.package is None:
        return f"{model.name[:200]} does not belong to an installed package"
    installed = version_of(model.package)
    if installed is None:
        return f"package {model.package[:100]} is not installed here"
    # The version of an editable install ends with a hash of its code.
    if (model.package_version or "").partition("+sha256")[0] != installed:
        return f"package {model.package[:100]} is installed in version {installed}, not {model.package_version}"
    return None


def _departures(run: LoadedRun, loaded: LoadedModel) -> Iterator[str]:
    record = run.record
    recomputed = loaded.card.model_dump()
    card = record.model.card.model_dump()
    for name in recomputed:
        if card[name] != recomputed[name]:
            yield f"card: {name} {_short(card[name])} is stored, the installed model's is {_short(recomputed[name])}"
    for name, claimed, ours in (
        ("name", record.model.name, loaded.full_name),
        ("package", record.model.package, loaded.package),
        ("weights", record.model.weights_sha256, loaded.weights_sha256),
        ("decoding", dict(record.model.decoding), dict(loaded.decoding)),
    ):
        if claimed != ours:
            yield f"{name} {_short(claimed)} is stored, the installed model's is {_short(ours)}"
    try:
        known = find_overlap(loaded.card, run.sha256s)
    except UserError:
        return
    if known != record.dataset.overlap:
        yield f"overlap {record.dataset.overlap} with its training images is stored, the rows give {known}"


def _short(value: object) -> str:
    return repr(value)[:80]
