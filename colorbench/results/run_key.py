"""Run keys: hashes of everything that determines the numbers of a run, and the identity of a protocol.

Hashed are model, weights, decoding, protocol, images, seed, dtype, and the code of the model, the protocol and
colorbench. Settings that change at most the last digit are not hashed but recorded: device, batch size, threads,
processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from colorbench.data import Sample
from colorbench.data.dataset_hashes import files_digest
from colorbench.errors import PluginError
from colorbench.models import library_code
from colorbench.models.fingerprint import ModelFingerprint, canonical_name
from colorbench.results.record import SCHEMA_VERSION, FingerprintPart, Record
from colorbench.storage import digest_of, version_of
from colorbench.storage.hashes import not_storable


def protocol_identity(name: str, version: int, identity: Mapping[str, Any]) -> str:
    """Return the protocol's part of a run key: the sha256 of protocol, version and resolved parameters.

    It defines a column of a leaderboard.

    Raises:
        PluginError: for values that no record can hold.
    """
    if (why := not_storable(identity)) is not None:
        what = f"the identity of protocol {name} cannot be stored in a record: {why}"
        raise PluginError(what, hint="use finite numbers and text")
    return digest_of({"name": name, "version": version, "identity": identity})


def run_key(
    *,
    model: Mapping[str, Any],
    protocol_sha256: str,
    samples: Iterable[Sample],
    gray_policy: str,
    seed: int,
    dtype: str,
    version: str,
    classes: Sequence[str] = (),
    revision: int = 0,
    fingerprint: Mapping[str, str] | None = None,
) -> str:
    """Return the run key: the sha256 of everything that determines the numbers.

    Args:
        model: its name and decoding.
        protocol_sha256: ``protocol_identity``.
        samples: the images after any limit.
        gray_policy: keep or drop.
        seed: seed of the run.
        dtype: precision of the model.
        version: version of colorbench.
        classes: names of the classes of the images, if any.
        revision: 0, or higher if folders of this key exist for other contents with equal names and sizes.
        fingerprint: hashes of weights and code; None for records without them.
    """
    return digest_of(
        {
            "schema": SCHEMA_VERSION,
            "colorbench": version,
            "model": model,
            "protocol": protocol_sha256,
            "files": files_digest(samples, times=False),
            "gray_policy": gray_policy,
            "seed": seed,
            "dtype": dtype,
            "revision": revision,
            **({"classes": classes} if classes else {}),
            **({} if fingerprint is None else {"fingerprint": fingerprint}),
        }
    )


@dataclass(frozen=True)
class RunFingerprint:
    """Everything that determines the numbers of one model under one protocol, except the images."""

    model: ModelFingerprint
    protocol_code: str
    protocol_sha256: str
    gray_policy: str
    seed: int
    dtype: str
    references: str = ""
    """See ``FingerprintPart``."""
    reasons: tuple[str, ...] = ()
    """Reasons why a result is not reusable."""

    @property
    def decides(self) -> dict[str, Any]:
        """Arguments of ``run_key`` except ``samples``, ``classes`` and ``revision``."""
        return _decides(
            self.part(0), self.model.identity, self.protocol_sha256, self.gray_policy, self.seed, self.dtype, _version()
        )

    def part(self, revision: int) -> FingerprintPart:
        """Return the fingerprint as a record stores it."""
        return FingerprintPart(
            model=self.model.name,
            weights=self.model.weights,
            model_code=self.model.code,
            protocol_code=self.protocol_code,
            colorbench_code=library_code(),
            references=self.references,
            revision=revision,
            reusable=not self.reasons,
            reasons=list(self.reasons),
        )


def run_fingerprint(
    model: ModelFingerprint,
    protocol_sha256: str,
    code: tuple[str, tuple[str, ...]],
    *,
    gray_policy: str,
    seed: int,
    dtype: str,
    references: Sequence[ModelFingerprint] = (),
) -> RunFingerprint:
    """Return the fingerprint of a run.

    Args:
        model: fingerprint of the model.
        protocol_sha256: ``protocol_identity``.
        code: ``protocol_code`` of the protocol or its scorer.
        gray_policy: keep or drop.
        seed: seed of the run.
        dtype: precision of the model.
        references: models from which the record has differences.
    """
    beside = digest_of([[one.name, one.weights, one.code] for one in references]) if references else ""
    reasons = (*(() if model.reusable else model.reasons), *code[1])
    return RunFingerprint(model, code[0], protocol_sha256, gray_policy, seed, dtype, beside, reasons)


def decides_of(record: Record) -> dict[str, Any]:
    """Return the arguments of ``run_key`` from a record, except ``samples``, ``classes`` and ``revision``."""
    name = record.model.name
    model = {
        "name": name if record.fingerprint is None else canonical_name(name),
        "package": record.model.package,
        "version": record.model.package_version,
        "weights_sha256": record.model.weights_sha256,
        "decoding": record.model.decoding,
    }
    policy, version = record.dataset.gray_policy, record.provenance.colorbench_version
    of_run = (record.protocol.identity_sha256, policy, record.execution.seed, record.execution.dtype, version)
    return _decides(record.fingerprint, model, *of_run)


def _decides(
    part: FingerprintPart | None,
    model: Mapping[str, Any],
    protocol_sha256: str,
    gray_policy: str,
    seed: int,
    dtype: str,
    version: str,
) -> dict[str, Any]:
    names = ("weights", "model_code", "protocol_code", "colorbench_code")
    return {
        "model": model,
        "fingerprint": None if part is None else {name: getattr(part, name) for name in names},
        "protocol_sha256": protocol_sha256,
        "gray_policy": gray_policy,
        "seed": seed,
        "dtype": dtype,
        "version": version,
    }


@cache
def _version() -> str:
    return version_of("colorbench") or "unknown"
