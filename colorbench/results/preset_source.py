"""What is known of a preset beyond the parameters that it sets: whose evaluation it is, and what is missing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PresetSource:
    """The published evaluation that a preset follows."""

    source: str
    """Repository, commit and files that its parameters were read from."""
    metrics: tuple[str, ...]
    """Metrics of the protocol that the source computes; the others are colorbench's own."""
    dataset: str = ""
    """The images of the published figures, by name where colorbench knows the list (``imagenet-val5k``)."""
    add: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the source that need files that do not ship (``lpips=vgg``)."""
    missing: tuple[str, ...] = ()
    """Choices that the source leaves open; empty where the source defines its metrics completely."""
    notes: tuple[str, ...] = ()
    """What the source does that no parameter can do, and what it makes of special cases."""
    published: tuple[str, ...] = ()
    """Figures from papers, with where they stand. None of them was measured here."""

    def described(self, preset: str) -> dict[str, object]:
        """Return headings and values for readers, without those that are empty.

        Args:
            preset: its name with the protocol's, ``fidelity@ct2``.
        """
        protocol = preset.partition("@")[0]
        facts: dict[str, object] = {
            "preset of": self.source,
            "complete": "no: see missing" if self.missing else "yes",
            "missing": list(self.missing),
            "metrics of the source": ", ".join(self.metrics),
            "images": self.dataset,
            "add": [f"--param {protocol}.{name}={value}" for name, value in self.add.items()],
            "notes": list(self.notes),
            "published, not measured": list(self.published),
        }
        return {heading: value for heading, value in facts.items() if value}
