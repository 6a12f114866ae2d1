"""``PresetSource``: the published evaluation that a preset reproduces, and what is missing in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PresetSource:
    """Published evaluation that a preset reproduces."""

    source: str
    """Repository, commit and files from which the parameters were taken."""
    metrics: tuple[str, ...]
    """Metrics of the protocol that the source also computes; the others are colorbench's."""
    dataset: str = ""
    """Dataset of the published values, by name if colorbench knows the list (``imagenet-val5k``)."""
    add: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the source that need files which are not included (``lpips=vgg``)."""
    missing: tuple[str, ...] = ()
    """Settings that the source does not define; empty if it defines its metrics completely."""
    notes: tuple[str, ...] = ()
    """What the source does beyond all parameters, and its treatment of special cases."""
    published: tuple[str, ...] = ()
    """Values from papers, with their source; none was measured here."""

    def described(self, preset: str) -> dict[str, object]:
        """Return headings and values for display, without empty ones.

        Args:
            preset: full name, such as ``fidelity@ct2``.
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
