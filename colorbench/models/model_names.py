"""Parsing of model names with options, such as ``zoo/cic[decode=mode]`` or ``onnx:FILE[contract=ddcolor]``."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

from colorbench.errors import UserError
from colorbench.registry import registered, split_tag

OPTIONS = ("decode", "temperature", "weights", "contract", "manifest")
IMAGES, ONNX = "images:", "onnx:"
"""Prefixes of names for a folder of predictions and for an ONNX file."""
_WITH_OPTIONS = re.compile(r"(?P<name>[^\[]+)\[(?P<options>[^\[\]]*=.*)\]", re.DOTALL)
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_]+\s*=)")
"""A comma before another option, since the path of a weights file may contain commas."""
_REGISTERED = re.compile(r"[\w.-]+/[\w.*?-]+(\[.*\])?")
_WILDCARD = re.compile(r"(?P<pattern>[^\[:]*[*?][^\[:]*)(?P<options>\[.*\])?")


@dataclass(frozen=True)
class ModelName:
    """A name and the options in its brackets; None for options that are not given."""

    name: str
    decode: str | None = None
    temperature: float | None = None
    weights: Path | None = None
    contract: str | None = None
    """Contract of an ONNX file: the name of an included contract, or a path."""
    manifest: Path | None = None
    """Manifest of the inputs of a folder of predictions."""

    def absolute(self) -> ModelName:
        """Return the name with absolute paths, valid from any working directory."""
        name = self.name
        for scheme in (IMAGES, ONNX):
            if name.startswith(scheme):
                name = f"{scheme}{_absolute(name.removeprefix(scheme))}"
                break
        else:
            if ":" in name:
                path, _, attribute = name.rpartition(":")
                name = f"{_absolute(path)}:{attribute}"
        weights = None if self.weights is None else self.weights.resolve()
        contract = self.contract
        if contract is not None and Path(contract).expanduser().is_file():
            contract = _absolute(contract)
        return replace(self, name=name, weights=weights, contract=contract)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def parse_name(text: str) -> ModelName:
    """Split a model name into the name and its options.

    Raises:
        UserError: for an unknown option, an option given twice or without a value, or a temperature that is not
            a number.
    """
    match = _WITH_OPTIONS.fullmatch(text)
    if match is None or (":" in text and Path(text.partition(":")[2]).exists()):
        return ModelName(text)  # the name of a folder may contain brackets
    given: dict[str, str] = {}
    for option in _BETWEEN.split(match["options"]):
        key, _, value = (part.strip() for part in option.partition("="))
        if key not in OPTIONS:
            raise UserError(f"unknown model option {key!r}", where=text, hint=f"choose {', '.join(OPTIONS)}")
        if key in given:
            raise UserError(f"the option {key} is given twice", where=text, hint="give it once")
        if not value:
            raise UserError(f"the option {key} has no value", where=text, hint=f"write {match['name']}[{key}=...]")
        given[key] = value
    weights = given.get("weights")
    return ModelName(
        name=match["name"].strip(),
        decode=given.get("decode"),
        temperature=_number(given["temperature"], text) if "temperature" in given else None,
        weights=None if weights is None else Path(weights).expanduser(),
        contract=given.get("contract"),
        manifest=Path(given["manifest"]).expanduser() if "manifest" in given else None,
    )


def split_names(text: str) -> list[str]:
    """Split a comma-separated list of model names; commas within brackets do not separate."""
    names = re.split(r",(?![^\[]*\])", text)
    return [name.strip() for name in names if name.strip()]


def with_decoding(name: str, decoding: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """Add the options of a decoding to a model name if they are not the model's defaults."""
    changed = [f"{key}={_plain(value)}" for key, value in decoding.items() if usual.get(key) != value]
    return f"{name}[{','.join(changed)}]" if changed else name


def _plain(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"the temperature must be a number, not {text!r}", where=where, hint="the paper uses 0.38")
    return value


GENERIC = ("best", "checkpoint", "ckpt", "final", "last", "latest", "model", "net", "pytorch_model", "weights")
"""Stems of weights files that name no training."""


def name_of_weights(file: Path, model: str) -> str:
    """Return a name for a user's weights file, which follows that of the model: ``zoo/cic@long-training``.

    It is the stem of the file. ``trained/cic.safetensors`` is named by its folder if the stem is that of the model, and
    ``trained/best.pth`` is ``trained-best``, unless the folder is that of a user.

    Args:
        file: the weights file.
        model: name of the model, with or without prefix and tag.
    """
    stem, folder = file.stem, file.resolve().parent
    private = folder in (Path.home().resolve(), folder.parent) or folder.parent.name in ("home", "Users")
    if private:
        return stem
    if stem == split_tag(model)[0].rpartition("/")[2]:
        return folder.name
    return f"{folder.name}-{stem}" if stem.lower() in GENERIC else stem


def short_name(path: Path) -> str:
    """Return a model's file or folder as tables name it: relative to the current folder, or with its parent.

    It never contains the name of a home folder.
    """
    path = path.resolve()
    if path.is_relative_to(here := Path.cwd().resolve()) and path != here:
        return path.relative_to(here).as_posix()
    above = path.parent
    private = above in (Path.home(), above.parent) or above.parent.name in ("home", "Users")
    return path.name if private else f"{above.name}/{path.name}"


def recorded_name(name: str) -> str:
    """Return a given name with the path as records have it: ``images:../ct2/results`` is ``images:ct2/results``.

    The files need not exist. A registered name stays as it is.

    Raises:
        UserError: as ``parse_name``.
    """
    asked = parse_name(name)
    if asked.name.startswith(IMAGES):
        return f"{IMAGES}{short_name(Path(asked.name.removeprefix(IMAGES)).expanduser())}"  # no options in records
    options = name.strip().removeprefix(asked.name)
    if asked.name.startswith(ONNX):
        return f"{ONNX}{short_name(Path(asked.name.removeprefix(ONNX)).expanduser())}{options}"
    file, _, attribute = asked.name.rpartition(":")
    return f"{short_name(Path(file).expanduser())}:{attribute}{options}" if file.endswith(".py") else name


def path_of(name: str) -> PurePath | None:
    """Return the path in the name of a model, ``ct2/results`` of ``images:ct2/results``; None for one without."""
    for scheme in (IMAGES, ONNX):
        if name.startswith(scheme):
            return PurePath(name.removeprefix(scheme).partition("[contract=")[0])
    file = name.rpartition(":")[0]
    return PurePath(file) if file else None


def display_name(name: str, others: Collection[str] = ()) -> str:
    """Return a model's name as tables and pages show it: a folder of predictions in words, another as it is.

    Args:
        name: of the model, as records have it.
        others: names that are shown beside it; a folder is shown with its path if another has its name.
    """
    if not name.startswith(IMAGES):
        return name
    path = name.removeprefix(IMAGES)
    last = path.rpartition("/")[2]
    alike = [one for one in others if one != name and one.startswith(IMAGES) and one.rpartition("/")[2] == last]
    return f"predictions in {path if alike else last}"


def hashed_part(name: str) -> str:
    """Return what ``weights_sha256`` of a model hashes: its weights, or the files of a folder of predictions."""
    return "files" if name.startswith(IMAGES) else "weights"


def _separate(text: str) -> list[str]:
    """Split a comma-separated list of model names, of which some may be paths; a path may contain commas."""
    names = split_names(text)
    path = text.removeprefix(IMAGES).removeprefix(ONNX)
    if path != text and Path(path).expanduser().exists():
        return [text]
    separate = ":" not in text or all(":" in name or _REGISTERED.fullmatch(name) for name in names)
    return names if separate else [text]


def expand_names(given: Sequence[str]) -> dict[str, bool]:
    """Expand ``a,b`` and ``zoo/*`` to model names, each once; the value is whether a pattern matched it.

    A pattern matches registered names without tags: ``zoo/*``, ``*/cic*``. Its options apply to all matches. Paths
    (``images:DIR``, ``FILE.py:CLASS``) are never patterns, and may contain commas.

    Raises:
        UserError: for a pattern without a match.
    """
    found: dict[str, bool] = {}
    for text in given:
        for name in _separate(text):
            match = _WILDCARD.fullmatch(name)
            if match is None:
                found.setdefault(name, False)
                continue
            names = [one.name for one in registered("models") if fnmatchcase(one.name, match["pattern"])]
            if not names:
                raise UserError(f"no model matches {match['pattern']!r}", hint="`colorbench list` shows them")
            for one in names:
                found.setdefault(f"{one}{match['options'] or ''}", True)
    return found
