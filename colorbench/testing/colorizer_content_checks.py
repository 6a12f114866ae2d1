"""Conformance checks of a model's card, its side effects, and its capabilities."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from colorbench.color import ab_bins
from colorbench.evaluation import devices_and_memory
from colorbench.evaluation.predict import described
from colorbench.models import HasFeatures, PredictsDistribution, RandomWeights, evaluation_mode, find_overlap
from colorbench.models.fingerprint import model_fingerprint
from colorbench.models.foreign_code import one_line
from colorbench.models.networks import networks_of
from colorbench.testing.check_report import CheckFailed, CheckSkipped, ConformanceCheck
from colorbench.testing.colorizer_subject import ModelSubject
from colorbench.testing.process_state import seeds_set_by

FEATURE_TOLERANCE = 1e-4
"""Largest difference between an image's features alone and in a batch, relative to the largest value."""


def _card(subject: ModelSubject) -> str:
    card, model = subject.model.card, subject.model.colorizer
    if not card.title.strip() or "\n" in card.title or len(card.title) > 100:
        raise CheckFailed("the card's title is not a line of 1 to 100 characters", "describe the model in one line")
    if card.working_size is not None and card.working_size < 1:
        raise CheckFailed(f"the card's working_size is {card.working_size}", "use the side in pixels, or None")
    if card.weights_sha256 is not None and not re.fullmatch("[0-9a-f]{64}", card.weights_sha256):
        raise CheckFailed("the card's weights_sha256 is not a sha256", "use 64 lowercase hexadecimal digits")
    count = sum(one.numel() for network in networks_of(model) for one in network.parameters())
    if card.parameters is not None and card.parameters != count:
        raise CheckFailed(
            f"the card states {card.parameters} parameters, the networks have {count}", "correct the card"
        )
    find_overlap(card, [])  # raises if its training hashes cannot be read
    told = [name for name in ("paper", "weights_sha256", "training_data") if getattr(card, name) is not None]
    return f"title, role {card.role_name}" + (f", {', '.join(told)}" if told else "")


def _license(subject: ModelSubject) -> str:
    license = subject.model.card.license
    if not (license or "").strip():
        hint = "state the license of code and weights in the ModelCard, such as license='MIT', or 'unknown'"
        raise CheckFailed("the card names no license", hint)
    return str(license)


def _fingerprint(subject: ModelSubject) -> str:
    first = subject.fingerprint
    assert first is not None
    if not first.reusable:
        hint = "keep weights as tensors, arrays or plain values, in classes defined in a file"
        raise CheckFailed(f"results cannot be reused: {first.reasons[0]}", hint)
    if model_fingerprint(subject.model).weights != first.weights:
        hint = "load weights in the constructor, and keep no state between calls"
        raise CheckFailed("the state of the model changed during prediction", hint)
    if isinstance(subject.given, str | type):
        again = model_fingerprint(subject.load())
        if again.weights != first.weights:
            raise CheckFailed(
                "loading it twice gives different weights", "draw random weights from a seeded torch.Generator"
            )
    return f"weights {first.weights[:12]}, code {first.code[:12]}"


def _process_state(subject: ModelSubject) -> str:
    if subject.changed:
        name, during = next(iter(subject.changed.items()))
        more = f" and {len(subject.changed) - 1} more" if len(subject.changed) > 1 else ""
        hint = "use a separate torch.Generator, and restore global state"
        raise CheckFailed(f"{during} changed {name}{more}", hint)
    if isinstance(subject.given, str | type) and (seeded := seeds_set_by(subject.load)):
        hint = "use a separate torch.Generator, or torch.random.fork_rng()"
        raise CheckFailed(f"loading seeds {seeded[0]}", hint)
    return "random states, dtype, threads, working directory and environment are unchanged"


def _prints(subject: ModelSubject) -> str:
    if subject.output:
        first = " ".join(subject.output[0].split())[:80]
        hint = "use the logging module: standard output is for the result"
        raise CheckFailed(f"it prints to standard output: {first!r}", hint)
    return "standard output stays empty"


def _distribution(subject: ModelSubject) -> str:
    model = subject.model.colorizer
    if not isinstance(model, PredictsDistribution):
        raise CheckSkipped("the model predicts no distribution")
    found = _called(subject, model.distribution)
    height, width = subject.images.rgb8.shape[-2:]
    wanted = (len(subject.images.ids), len(ab_bins()), height // 4, width // 4)
    hint = f"return log-probabilities of {wanted} for images of {height} x {width}"
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        raise CheckFailed(f"distribution gives {described(found)}", hint)
    total = float((found.double().exp().sum(dim=1) - 1).abs().max())
    if not total < 1e-3:
        raise CheckFailed(f"probabilities of a pixel sum to 1 +- {total:.3g}", hint)
    return f"log-probabilities of {wanted[1]} bins"


def _features(subject: ModelSubject) -> str:
    model = subject.model.colorizer
    if not isinstance(model, HasFeatures):
        raise CheckSkipped("the model gives no features")
    found = _called(subject, model.features)
    hint = "return {layer: (N, C, h, w)} of finite numbers, the same layers for every batch"
    if not isinstance(found, dict) or not found:
        raise CheckFailed(f"features gives {described(found)}", hint)
    count = len(subject.images.ids)
    for name, maps in found.items():
        if not isinstance(maps, Tensor) or maps.dim() != 4 or len(maps) != count:
            raise CheckFailed(f"features of {name!r} are {described(maps)}", hint)
        if not bool(maps.isfinite().all()):
            raise CheckFailed(f"features of {name!r} hold NaN or infinity", hint)
    alone = _called(subject, model.features, 1)
    if list(alone) != list(found):
        raise CheckFailed("a single image has other layers than a batch", hint)
    for name, maps in found.items():
        apart = float((alone[name][0] - maps[0]).abs().max())
        if apart > FEATURE_TOLERANCE * max(1.0, float(maps.abs().max())):
            raise CheckFailed(f"features of {name!r} alone and in a batch are {apart:.3g} apart", hint)
    return f"{len(found)} layers: {', '.join(list(found)[:4])}{' ...' if len(found) > 4 else ''}"


def _redrawn(subject: ModelSubject) -> str:
    model = subject.model.colorizer
    if not isinstance(model, RandomWeights):
        raise CheckSkipped("the model has no random weights to draw again")
    with one_line("redrawn failed", run=True):
        drawn = [model.redrawn(seed) for seed in (1, 1, 2)]
    if all(one is None for one in drawn):
        raise CheckSkipped("its weights are learned")
    loaded = [subject.model.__class__(subject.model.full_name, None, None, one, one.card) for one in drawn if one]
    weights = [model_fingerprint(one).weights for one in loaded]
    if len(weights) < 3 or weights[0] != weights[1] or weights[0] == weights[2]:
        hint = "redrawn(seed): equal seeds must give equal weights, other seeds other weights"
        raise CheckFailed("the weights do not follow from the seed", hint)
    return "weights follow from the seed"


def _called(subject: ModelSubject, method: Any, count: int | None = None) -> Any:
    with (
        one_line(f"{method.__name__} failed", run=True),
        devices_and_memory.numerics(None),
        evaluation_mode(subject.model.colorizer),
        torch.no_grad(),
    ):
        return method(subject.images.lightness[:count].clone())


CONTENT_CHECKS = [
    ConformanceCheck("card", _card, ("loads",)),
    ConformanceCheck("license", _license, ("loads",)),
    ConformanceCheck("fingerprint", _fingerprint, ("shape", "deterministic", "history")),
    ConformanceCheck("process state", _process_state, ("shape", "deterministic")),
    ConformanceCheck("prints", _prints, ("shape",)),
    ConformanceCheck("distribution", _distribution, ("shape",)),
    ConformanceCheck("features", _features, ("shape",)),
    ConformanceCheck("redrawn", _redrawn, ("loads",)),
]
