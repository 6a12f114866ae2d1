"""``check_protocol``: conformance checks of a protocol.

For every protocol:

- ``loads``, ``spec``, ``presets``: it can be created, has a complete spec, and its presets set existing parameters;
- ``parameters``: wrong values and unknown parameters are refused in one line;
- ``record``, ``rows``, ``verify``: a run on a few images gives a record, its rows are read back unchanged, and
  ``colorbench verify`` finds no fault.

In addition, for an image protocol:

- ``identity``: equal parameters give equal identities, different choices different ones; code and state can be hashed;
- ``scores``: one number per image and column, including the statistics of every metric;
- ``bounds``, ``order``: values are within the bounds of their metric, the ground truth has its declared score, and no
  prediction is better;
- ``batch``, ``repeat``: a score depends on its image alone, also with several threads;
- ``inputs``: scoring changes neither prediction nor ground truth;
- ``summary``: curves, notes and numbers over all images, and over none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from colorbench.data import Dataset
from colorbench.evaluation import (
    ImageProtocol,
    get_protocol,
)
from colorbench.evaluation.requested_models_and_protocols import as_protocol
from colorbench.models.model_sources import class_label
from colorbench.processes import temporary_folder
from colorbench.testing.check_report import CheckReport, ConformanceCheck, report_of, run_checks
from colorbench.testing.fakes import fake_dataset
from colorbench.testing.protocol_declaration_checks import DECLARATION_CHECKS, RECORD_CHECKS
from colorbench.testing.protocol_score_checks import SCORE_CHECKS
from colorbench.testing.protocol_subject import CLASSES, IMAGES, ProtocolSubject


def check_protocol(
    protocol: object,
    *,
    parameters: Mapping[str, Any] | None = None,
    data: Dataset | Mapping[str, Dataset] | None = None,
    skip: Collection[str] = (),
) -> CheckReport:
    """Check that a protocol conforms to colorbench.

    Args:
        protocol: a name as for ``--protocol``, optionally with a preset; or a class or object with ``spec`` and
            ``resolve`` or ``evaluate``.
        parameters: parameters of the protocol, for example small ones for a protocol that trains something.
        data: images, or role -> images, for a protocol that needs special ones (such as a PASCAL VOC devkit); at least
            six of one size. None: crops of the packaged images, in two classes.
        skip: names of checks to leave out.

    Returns:
        The report; ``report.raise_for_failures()`` turns it into a test.

    Raises:
        UserError: for an unknown check.

    Example:
        >>> from colorbench.testing import check_protocol
        >>> print(check_protocol("auc@cic2017", skip=["record"]).failures[0])  # doctest: +ELLIPSIS
        loads: failed, protocol auc has no preset 'cic2017'. Did you mean `auc@cic2016`?
    """
    with temporary_folder("colorbench-check-") as name:
        folder = Path(name)
        given = {"test": data} if isinstance(data, Dataset) else data
        sets = _own_data(folder) if given is None else {"train": given["test"], **given}
        subject = ProtocolSubject(protocol, dict(parameters or {}), sets, given is None, folder)
        checks = [ConformanceCheck("loads", _loads), *DECLARATION_CHECKS, *SCORE_CHECKS, *RECORD_CHECKS]
        return report_of("protocol", _name_of(protocol), run_checks(subject, checks, skip))


def _own_data(folder: Path) -> dict[str, Dataset]:
    return {
        "train": fake_dataset(folder / "train", 8, classes=CLASSES),
        "test": fake_dataset(folder / "test", IMAGES // len(CLASSES), classes=CLASSES, first=8),
    }


def _name_of(protocol: object) -> str:
    if isinstance(protocol, str):
        return protocol
    kind = protocol if isinstance(protocol, type) else type(protocol)
    return class_label(kind)


def _loads(subject: ProtocolSubject) -> str:
    name, _, preset = subject.given.partition("@") if isinstance(subject.given, str) else ("", "", "")
    subject.protocol = get_protocol(name) if name else as_protocol(subject.given)
    subject.parameters = {**(subject.spec.preset(preset) if preset else {}), **subject.asked}
    kind = "scores image by image" if isinstance(subject.protocol, ImageProtocol) else "works on whole datasets"
    return f"{subject.spec.name} v{subject.spec.version}, {kind}"
