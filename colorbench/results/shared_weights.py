"""Weights that a model shares with the network by which a protocol scores it.

A colorizer with a pretrained encoder may please the very network that its encoder is, and a probe of its features then
measures what the encoder was taught. Nothing is refused: a record names what is shared, and what to use instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from colorbench.models import ModelCard, PretrainedPart

FEATURES = "HasFeatures"
"""Capability that a protocol needs if it scores the features of a model."""
NAMES = ("name", "trunk", "kind")
"""Keys of a protocol's identity that name a network, beside ``weights_sha256``."""
ALIASES = {
    "alex": "alexnet",
    "vgg": "vgg16",
    "squeeze": "squeezenet1_1",
    "tf_inception_v3": "inception_v3",
    "inception-torchvision": "inception_v3",
}
"""Short names of networks, and those of timm or torchvision."""


class SharedWeights(BaseModel):
    """One network that is both in the model and in the protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    """The part of the model, as its card names it."""
    network: str
    """The network of the protocol; empty if the protocol scores the model's own features."""
    parameter: str
    """Parameter of the protocol that chose the network; empty as above."""
    found_by: Literal["weights", "name", "features"]
    """``weights``: equal sha256; ``name``: the card gives no hash, or another of the same name; ``features``: see
    ``network``."""
    alternatives: tuple[str, ...] = ()
    """Other values of the parameter."""


class ProtocolNetwork(NamedTuple):
    """A network in the identity of a protocol."""

    parameter: str
    name: str
    weights_sha256: str


def find_shared_weights(
    card: ModelCard,
    protocol: str,
    identity: Mapping[str, Any],
    *,
    needs: Sequence[str] = (),
    alternatives: Mapping[str, Sequence[str]] | None = None,
) -> list[SharedWeights]:
    """Return what a model shares with the networks of a protocol.

    Args:
        card: names the parts of the model that were trained elsewhere, and the hash of its own weights file.
        protocol: its name.
        identity: of the protocol. Every mapping in it with a ``weights_sha256`` is a network.
        needs: capabilities that the protocol asks for.
        alternatives: parameter -> values that choose other networks.
    """
    parts = _parts_of(card)
    found = []
    for network in _networks_in(identity):
        matches = [(part, how) for part in parts if (how := _how(part, network)) is not None]
        if not matches:
            continue
        part, how = min(matches, key=lambda match: match[1] != "weights")
        others = (alternatives or {}).get(network.parameter, ())
        free = tuple(name for name in others if not any(_same_name(name, other.name) for other in parts))
        found.append(
            SharedWeights(
                part=part.name,
                network=network.name,
                parameter=f"{protocol}.{network.parameter}",
                found_by=how,
                alternatives=free,
            )
        )
    if FEATURES in needs:
        by_network = {_plain(part.name)[0]: part for part in reversed(card.pretrained)}
        found += [
            SharedWeights(part=part.name, network="", parameter="", found_by="features")
            for part in reversed(by_network.values())
        ]
    return list(dict.fromkeys(found))


def shared_weights_note(shared: SharedWeights) -> str:
    """Return one sentence on what is shared and what to use instead."""
    if shared.found_by == "features":
        return (
            f"the model contains {shared.part}, pretrained for another task: its features also show what that "
            "training taught, not only colorization"
        )
    same = "the same weights score" if shared.found_by == "weights" else "a network of that name scores"
    note = f"the model contains {shared.part}, and {same} it here ({shared.parameter}): scores may be biased"
    if not shared.alternatives:
        return f"{note}; use another network for {shared.parameter}"
    first, *others = shared.alternatives
    also = f" (or {', '.join(others)})" if others else ""
    return f"{note}; use another network: --param {shared.parameter}={first}{also}"


def _parts_of(card: ModelCard) -> list[PretrainedPart]:
    """Return the pretrained parts of a model, and the model's own weights file, which a protocol may use as well."""
    own = [] if card.weights_sha256 is None else [PretrainedPart(name=card.title, weights_sha256=card.weights_sha256)]
    return [*card.pretrained, *own]


def _networks_in(identity: Mapping[str, Any]) -> list[ProtocolNetwork]:
    """Return the networks in the identity of a protocol, by the parameter below which they are."""
    return [network for parameter, value in identity.items() for network in _networks_below(str(parameter), value)]


def _networks_below(parameter: str, value: object) -> Iterator[ProtocolNetwork]:
    if isinstance(value, Mapping):
        sha256 = value.get("weights_sha256")
        if isinstance(sha256, str):
            name = next((value[key] for key in NAMES if isinstance(value.get(key), str)), parameter)
            yield ProtocolNetwork(parameter, name, sha256)
        for below in value.values():
            yield from _networks_below(parameter, below)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _networks_below(parameter, one)


def _how(part: PretrainedPart, network: ProtocolNetwork) -> Literal["weights", "name"] | None:
    if part.weights_sha256 is not None:
        if part.weights_sha256.lower() == network.weights_sha256.lower():
            return "weights"
        # Other files of one name may hold the same tensors in another form.
        return "name" if _plain(part.name) == _plain(network.name) else None
    return "name" if _same_name(part.name, network.name) else None


def _same_name(a: str, b: str) -> bool:
    """Return whether two names may be of one network: a tag counts only where both have one."""
    (base_a, tag_a), (base_b, tag_b) = _plain(a), _plain(b)
    return base_a == base_b and (not tag_a or not tag_b or tag_a == tag_b)


def _plain(name: str) -> tuple[str, str]:
    """Split a name into network and tag: ``timm/ResNet50.a1_in1k`` -> (``resnet50``, ``a1_in1k``)."""
    base, _, tag = re.sub(r"^(timm|torchvision)/", "", name.strip().lower()).partition(".")
    return ALIASES.get(base, base), tag
