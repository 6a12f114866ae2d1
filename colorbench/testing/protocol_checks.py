"""``check_protocol``: does a protocol keep all that colorbench relies on?

For every protocol:

- ``loads``, ``spec``, ``presets``: it can be made, says what it is, and its presets set parameters that it has;
- ``parameters``: a wrong value, or an unknown parameter, is refused in one line;
- ``record``, ``rows``, ``verify``: a run on a few images gives a record, its rows are read back as they were scored,
  and ``colorbench verify`` finds nothing wrong with it.

Beside these, for an image protocol:

- ``identity``: equal parameters give equal identities, and each choice another one; code and state can be hashed;
- ``scores``: one number per image and column, with the statistics of every metric;
- ``bounds``, ``order``: values lie within the bounds of their metric, the ground truth has the score that is promised
  for it, and no prediction beats it;
- ``batch``, ``repeat``: a score follows from its image alone, also with several threads at once;
- ``inputs``: scoring changes neither prediction nor ground truth;
- ``summary``: curves, notes and numbers of all images, and of none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from colorbench.data.dataset import Dataset
from colorbench.data.loader import load_batches
from colorbench.data.preprocessing import get_preprocessing
from colorbench.errors import UserError
from colorbench.evaluation import device
from colorbench.evaluation.batch import GroundTruth, Prediction
from colorbench.evaluation.config import RunConfig
from colorbench.evaluation.interfaces import BatchScores, DatasetProtocol, ImageProtocol, ProtocolSpec, Scorer
from colorbench.evaluation.resolve import as_protocol, get_protocol
from colorbench.evaluation.runner import record_folder, run
from colorbench.models.guard import one_line
from colorbench.models.loading import LoadedModel, load_model
from colorbench.results.metric_spec import check_metrics
from colorbench.results.record import Record
from colorbench.testing.fakes import fake_dataset, fake_model
from colorbench.testing.process_state import random_state_kept
from colorbench.testing.report import Check, CheckFailed, CheckFinding, CheckReport, report_of, run_checks

IMAGES = 6
CLASSES = ("n02123045", "n07930864")
"""Synsets of ImageNet (tabby cat, cup), so that a protocol that asks a classifier of ImageNet takes them."""


@dataclass
class ProtocolSubject:
    """A protocol under check, and what earlier checks found out about it."""

    given: Any
    """As it was given: a name, with a preset or not, a class or an object."""
    asked: Mapping[str, Any]
    """Parameters that the caller gave."""
    data: Mapping[str, Dataset]
    """Role -> images."""
    own_data: bool
    """Whether the images are the kit's own and not the caller's."""
    folder: Path
    model: LoadedModel = field(default_factory=lambda: load_model(fake_model()))
    protocol: ImageProtocol | DatasetProtocol | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    """Those of the preset and those that the caller gave."""
    scored: Scorer | None = None
    of_predictions: dict[str, Any] = field(default_factory=dict)
    """Kind of prediction -> its scores, once they are made."""
    record: Record | None = None

    @property
    def spec(self) -> ProtocolSpec:
        """Of the protocol; checks that use it need ``loads``."""
        assert self.protocol is not None
        return self.protocol.spec

    @property
    def test(self) -> Dataset:
        """The images that are scored."""
        return self.data["test"]

    @property
    def scorer(self) -> Scorer:
        """The image protocol with its parameters resolved; checks that use it need ``identity``."""
        assert self.scored is not None
        return self.scored

    def resolve(self, parameters: Mapping[str, Any]) -> Scorer:
        """Resolve an image protocol as a run would.

        Raises:
            UserError: for parameters that it refuses.
            RunError: for a protocol that fails in another way.
        """
        assert isinstance(self.protocol, ImageProtocol)
        # An exception that is no UserError becomes a RunError, which `parameters` tells from a refusal.
        with one_line(f"protocol {self.spec.name} failed", run=True):
            scorer: object = self.protocol.resolve(parameters, self.test)
        if not isinstance(scorer, Scorer):
            hint = "it needs preprocessing, parameters, identity, metrics, score and summarize"
            raise CheckFailed(f"resolve gives a {type(scorer).__name__}, which is no Scorer", hint)
        get_preprocessing(scorer.preprocessing)
        check_metrics(self.spec.name, scorer.metrics)
        return scorer

    def run(self, parameters: Mapping[str, Any], output: str) -> list[Record]:
        """Run the protocol with the fake model.

        Raises:
            UserError: for what the protocol refuses.
            RunError: for a protocol that fails.
        """
        assert self.protocol is not None
        config = RunConfig(
            models=[self.model],
            protocols=[self.protocol],
            data=self.test,
            roles={role: self.data[role] for role in getattr(self.protocol, "roles", ()) if role != "test"},
            parameters={self.spec.name: parameters},
            device="cpu",
            batch_size=4,
            workers=0,
            save="none",
            output=self.folder / output,
            baselines=False,
        )
        with one_line(f"protocol {self.spec.name} failed", run=True), device.numerics(None):
            return run(config)

    def record_folder(self) -> Path:
        """Where the record of ``record`` lies."""
        assert self.record is not None
        return record_folder(self.folder / "runs", self.record)

    def truth(self, positions: Collection[int] | None = None) -> GroundTruth:
        """Return test images as the scorer's preprocessing leaves them, or some of them; nothing is cached in it."""
        samples = self.test.samples[:IMAGES]
        chosen = samples if positions is None else [samples[i] for i in positions]
        preprocessing = get_preprocessing(self.scorer.preprocessing)
        batches = list(load_batches(chosen, preprocessing, batch_size=IMAGES, workers=0))
        if len(batches) != 1 or batches[0].skipped:
            raise UserError("the first images are not of one size, or cannot be read", hint="leave `data` away")
        one = batches[0]
        return GroundTruth(one.ids, one.rgb8, one.gray, one.labels, one.sha256s)

    def score(self, prediction: Prediction) -> BatchScores:
        """Score a batch; what the protocol raises becomes one line."""
        with one_line(f"protocol {self.spec.name} failed", run=True), torch.no_grad():
            return self.scorer.score(prediction)


def predictions_for(truth: GroundTruth) -> dict[str, Prediction]:
    """Return predictions of every kind for a batch: ground truth, gray, timid, wrong, vivid, noise, and 8-bit RGB."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(truth.ab.shape, generator=generator)
    ab = {
        "gray": torch.zeros_like(truth.ab),
        "half chroma": truth.ab / 2,
        "opposite colors": -truth.ab + torch.tensor([25.0, -35.0]).view(1, 2, 1, 1),
        "vivid colors": 110 * torch.sign(noise),
        "noise": 20 * noise,
    }
    return {
        "ground truth": Prediction(truth, rgb8=truth.rgb8),
        "inverted RGB": Prediction(truth, rgb8=255 - truth.rgb8),
        **{name: Prediction(truth, ab=values) for name, values in ab.items()},
    }


def check_protocol(
    protocol: object,
    *,
    parameters: Mapping[str, Any] | None = None,
    data: Dataset | Mapping[str, Dataset] | None = None,
    skip: Collection[str] = (),
) -> CheckReport:
    """Check that a protocol keeps all that colorbench relies on.

    Args:
        protocol: a name as ``--protocol`` takes it, with a preset or not; or a class or object with ``spec`` and
            ``resolve`` or ``evaluate``.
        parameters: of the protocol; small ones make the check of a protocol that trains something fast.
        data: images, or role -> images, for a protocol that needs some of its own (a PASCAL VOC devkit, say); at
            least six of one size. None: crops of the packaged images, in two classes.
        skip: names of checks to leave out.

    Returns:
        The findings. ``report.raise_for_failures()`` makes a test of them.

    Raises:
        UserError: for the name of an unknown check.

    Example:
        >>> from colorbench.testing import check_protocol
        >>> print(check_protocol("auc@cic2017", skip=["record"]).failures[0])  # doctest: +ELLIPSIS
        loads: failed, protocol auc has no preset 'cic2017'. Hint: known: auc@cic2016, auc@exact
    """
    from colorbench.testing.protocol_declares import DECLARATION_CHECKS, RECORD_CHECKS
    from colorbench.testing.protocol_scores import SCORE_CHECKS

    with tempfile.TemporaryDirectory(prefix="colorbench-check-") as name:
        folder = Path(name)
        given = {"test": data} if isinstance(data, Dataset) else data
        sets = _own_data(folder) if given is None else {"train": given["test"], **given}
        subject = ProtocolSubject(protocol, dict(parameters or {}), sets, given is None, folder)
        checks = [Check("loads", _loads), *DECLARATION_CHECKS, *SCORE_CHECKS, *RECORD_CHECKS]
        return report_of("protocol", _name_of(protocol), _found(subject, checks, skip))


def _found(
    subject: ProtocolSubject, checks: list[Check[ProtocolSubject]], skip: Collection[str]
) -> Iterator[CheckFinding]:
    with random_state_kept():
        yield from run_checks(subject, checks, skip)


def _own_data(folder: Path) -> dict[str, Dataset]:
    return {
        "train": fake_dataset(folder / "train", 8, classes=CLASSES),
        "test": fake_dataset(folder / "test", IMAGES // len(CLASSES), classes=CLASSES, first=8),
    }


def _name_of(protocol: object) -> str:
    if isinstance(protocol, str):
        return protocol
    kind = protocol if isinstance(protocol, type) else type(protocol)
    return f"{kind.__module__}:{kind.__qualname__}"


def _loads(subject: ProtocolSubject) -> str:
    name, _, preset = subject.given.partition("@") if isinstance(subject.given, str) else ("", "", "")
    subject.protocol = get_protocol(name) if name else as_protocol(subject.given)
    subject.parameters = {**(subject.spec.preset(preset) if preset else {}), **subject.asked}
    kind = "scores image by image" if isinstance(subject.protocol, ImageProtocol) else "works on whole datasets"
    return f"{subject.spec.name} version {subject.spec.version}, {kind}"
