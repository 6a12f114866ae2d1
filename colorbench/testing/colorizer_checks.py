"""``check_colorizer``: does a model keep all that colorbench relies on?

The checks, in order; a later one is skipped where one that it builds on did not pass:

- ``loads``, ``card``, ``license``: the model can be made, and says what it is;
- ``shape``: a batch of images gives a batch of predictions at their size, also for one image and odd sizes;
- ``deterministic``, ``seeds``, ``batch``, ``history``: a prediction follows from its image and seed, not from a
  generator of the process, the other images of a batch, or what was predicted before;
- ``units``: ab is CIE ab, a before b; RGB is 8-bit sRGB;
- ``constant images``, ``tiny images``: finite predictions for gray, black and white images and down to 1 x 1;
- ``half precision``, ``device``: it works under autocast and where its tensors were moved to;
- ``lightness only``, ``isolated``: no true colors, names or files have an influence;
- ``fingerprint``: its weights and code can be hashed, two loads are equal, and predicting changes nothing;
- ``process state``, ``prints``: it leaves the process as it was and standard output empty;
- ``distribution``, ``features``, ``redrawn``: capabilities that it has keep their form.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from colorbench.data.dataset import Dataset
from colorbench.data.loader import load_batches
from colorbench.data.preprocessing import get_preprocessing
from colorbench.errors import UserError
from colorbench.evaluation import device
from colorbench.evaluation.batch import GroundTruth, Prediction
from colorbench.evaluation.predict import predict, seed_of
from colorbench.models.fingerprint import ModelFingerprint, model_fingerprint
from colorbench.models.image_folder import ImageFolderModel
from colorbench.models.loading import LoadedModel, load_model
from colorbench.models.networks import evaluation_mode, networks_of
from colorbench.testing.fakes import fake_dataset
from colorbench.testing.process_state import RANDOM, changed_state, printed, process_state, random_state_kept
from colorbench.testing.report import Check, CheckFailed, CheckFinding, CheckReport, report_of, run_checks

PREPROCESSING = "squash64"
IMAGES = 6
"""Enough for ``units`` to compare channels, and few enough for a slow model."""
SHAPES = ((1, (64, 64)), (2, (48, 80)), (3, (80, 48)), (2, (33, 65)))
"""(images, (H, W)) of batches that every model must take; ``native`` preprocessing gives any size."""


@dataclass
class ModelSubject:
    """A model under check, and what earlier checks found out about it."""

    given: Any
    """As it was given: a name, a class or an object."""
    folder: Path
    """Where the test images lie."""
    device: torch.device
    data: Dataset
    loaded: LoadedModel | None = None
    fingerprint: ModelFingerprint | None = None
    """Before the first prediction."""
    images: GroundTruth = field(init=False)
    """Real images, (6, 3, 64, 64)."""
    changed: dict[str, str] = field(default_factory=dict)
    """Global state that changed -> during what."""
    output: list[str] = field(default_factory=list)
    """What was printed to standard output."""
    usual_prediction: Prediction | None = None
    """Of the test images with their seeds, once it is known to be always the same."""

    def __post_init__(self) -> None:
        """Decode the test images."""
        samples = self.data.samples[:IMAGES]
        preprocessing = get_preprocessing(PREPROCESSING)
        (batch,) = load_batches(samples, preprocessing, batch_size=IMAGES, workers=0)
        self.images = GroundTruth(batch.ids, batch.rgb8.to(self.device), batch.gray, batch.labels, batch.sha256s)

    @property
    def model(self) -> LoadedModel:
        """The loaded model; checks that use it need ``loads``."""
        assert self.loaded is not None
        return self.loaded

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the images in a run with seed 0."""
        return tuple(seed_of(0, content) for content in self.images.sha256s)

    def load(self) -> LoadedModel:
        """Load the model as a run would, watching what it prints."""
        with printed() as text:
            loaded = load_model(self.given).to(self.device)
        self._watched([], text, "loading")
        return loaded

    def ask(
        self,
        images: GroundTruth | None = None,
        seeds: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Prediction:
        """Predict a batch as a run would.

        Args:
            images: default: the six test images.
            seeds: default: those of a run with seed 0.
            dtype: of autocast.

        Raises:
            RunError: for a model that fails, or a prediction of another form.
        """
        images = self.images if images is None else images
        seeds = self.seeds[: len(images.ids)] if seeds is None else seeds
        sizes = (tuple(images.rgb8.shape[-2:]),) * len(images.ids)
        with device.numerics(None), evaluation_mode(self.model.colorizer), printed() as text:
            before = process_state()
            after: dict[str, Any] = {}
            model = _Watched(self.model, after)
            found = predict(model.loaded, images, sizes, seeds, PREPROCESSING, dtype)  # type: ignore[arg-type]
            networks = networks_of(self.model.colorizer)
            training = any(module.training for network in networks for module in network.modules())
        self._watched(changed_state(before, after), text, "predicting")
        if training:
            self.changed.setdefault("the mode of a network to training", "predicting")
        return found

    def usual(self) -> Prediction:
        """Return the prediction for the test images; checks that use it need ``deterministic``."""
        if self.usual_prediction is None:
            self.usual_prediction = self.ask()
        return self.usual_prediction

    def _watched(self, changed: list[str], text: list[str], during: str) -> None:
        for name in changed:
            self.changed.setdefault(name, during)
        self.output += [one for one in text if one.strip()]


class _Watched:
    """A loaded model that notes the state of the process right after its own code has run.

    ``predict`` puts most of that state back, so that it must be looked at before.
    """

    def __init__(self, loaded: LoadedModel, after: dict[str, Any]) -> None:
        inner = loaded.colorizer

        class Colorizer:
            card = loaded.card

            def colorize_batch(self, inputs: Any) -> Any:
                try:
                    return inner.colorize_batch(inputs)
                finally:
                    after.clear()
                    after.update(process_state())

        self.loaded = LoadedModel(loaded.full_name, None, None, Colorizer(), loaded.card)


def check_colorizer(
    model: object, *, device: str = "cpu", data: Dataset | None = None, skip: Collection[str] = ()
) -> CheckReport:
    """Check that a colorizer keeps all that colorbench relies on; a few seconds on a CPU.

    Args:
        model: a name as ``--model`` takes it, with options or not; or a class or object with ``card`` and
            ``colorize`` or ``colorize_batch``. A name is checked further: it is loaded twice, and asked in a process
            of its own.
        device: where it is checked: ``cpu``, ``cuda``, ``auto``.
        data: images to check with, at least six, in color; None: crops of the packaged images.
        skip: names of checks to leave out.

    Returns:
        The findings. ``report.raise_for_failures()`` makes a test of them.

    Raises:
        UserError: for ``images:FOLDER``, which has no model, too few images in ``data``, and the name of an unknown
            check.

    Example:
        >>> from colorbench.testing import check_colorizer, fake_model
        >>> report = check_colorizer(fake_model(parameters=7))
        >>> print(report.failures[0].detail)
        the card says 7 parameters, the networks have 3335
    """
    from colorbench.testing.colorizer_contents import CONTENT_CHECKS
    from colorbench.testing.colorizer_independence import INDEPENDENCE_CHECKS

    if isinstance(model, str) and model.startswith("images:") or isinstance(model, ImageFolderModel):
        hint = "`colorbench run` checks stored predictions"
        raise UserError("stored predictions hold no model to check", where=str(model), hint=hint)
    if data is not None and len(data) < IMAGES:
        raise UserError(f"a check needs {IMAGES} images, and there are {len(data)}", hint="leave `data` away")
    with tempfile.TemporaryDirectory(prefix="colorbench-check-") as name:
        folder = Path(name)
        subject = ModelSubject(model, folder, _device(device), data or fake_dataset(folder / "images", IMAGES))
        checks = [
            Check("loads", _loads),
            *CONTENT_CHECKS[:2],
            Check("shape", _shape, ("loads",)),
            *INDEPENDENCE_CHECKS,
            *CONTENT_CHECKS[2:],
        ]
        return report_of("model", _name_of(model), _found(subject, checks, skip))


def _found(subject: ModelSubject, checks: list[Check[ModelSubject]], skip: Collection[str]) -> Iterator[CheckFinding]:
    with random_state_kept():
        yield from run_checks(subject, checks, skip)


def _device(name: str) -> torch.device:
    return device.device_of(name)


def _name_of(model: object) -> str:
    if isinstance(model, str):
        return model
    if isinstance(model, LoadedModel):
        return model.full_name
    kind = model if isinstance(model, type) else type(model)
    return f"{kind.__module__}:{kind.__qualname__}"


def _loads(subject: ModelSubject) -> str:
    subject.loaded = subject.load()
    subject.fingerprint = model_fingerprint(subject.loaded)
    return subject.loaded.full_name


def _shape(subject: ModelSubject) -> str:
    for count, size in SHAPES:
        try:
            subject.ask(resized(subject.images, count, size))
        except UserError as error:
            raise CheckFailed(f"{count} images of {size[0]} x {size[1]}: {error.what}", error.hint) from error
    return ", ".join(f"{count} of {h} x {w}" for count, (h, w) in SHAPES)


def resized(images: GroundTruth, count: int, size: tuple[int, int]) -> GroundTruth:
    """Return the first images of a batch at another size (H, W)."""
    rgb = interpolate(images.rgb8[:count].float(), size, mode="bilinear", align_corners=False)
    return GroundTruth(images.ids[:count], rgb.round().to(torch.uint8))


def selected(images: GroundTruth, positions: list[int]) -> GroundTruth:
    """Return some images of a batch, in another order."""
    return GroundTruth(tuple(images.ids[i] for i in positions), images.rgb8[positions].clone())


def is_random(names: dict[str, str]) -> list[str]:
    """Return which of the changed states are of random generators."""
    return [name for name in names if name in RANDOM]
