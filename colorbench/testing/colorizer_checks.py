"""``check_colorizer``: conformance checks of a model.

The checks, in order; a check is skipped if one that it needs did not pass:

- ``loads``, ``card``, ``license``: the model can be created, and has a complete card;
- ``shape``: a batch of images gives a batch of predictions at their size, also for one image and odd sizes;
- ``deterministic``, ``seeds``, ``batch``, ``history``: a prediction depends on its image and seed, not on global
  generators, other images of the batch, or earlier predictions;
- ``units``: ab is CIE ab, a before b; RGB is 8-bit sRGB;
- ``constant images``, ``tiny images``: finite predictions for gray, black and white images, and for sizes down to 1 x
  1;
- ``half precision``, ``device``: it works under autocast and on other devices;
- ``lightness only``, ``isolated``: no true colors, names or files have an influence;
- ``samples``, ``guided``: draws depend on their seeds, and guided predictions on the revealed colors, and on
  nothing else beside the lightness;
- ``fingerprint``: its weights and code can be hashed, two loads are equal, and predictions do not change it;
- ``process state``, ``prints``: it does not change global state, and prints nothing to standard output;
- ``distribution``, ``features``, ``redrawn``: its capabilities return the required forms.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation.devices_and_memory import device_of
from colorbench.models import ImageFolderModel, LoadedModel
from colorbench.models.fingerprint import model_fingerprint
from colorbench.processes import temporary_folder
from colorbench.testing.check_report import (
    CheckFailed,
    CheckReport,
    ConformanceCheck,
    report_of,
    run_checks,
)
from colorbench.testing.colorizer_content_checks import CONTENT_CHECKS
from colorbench.testing.colorizer_independence_checks import INDEPENDENCE_CHECKS
from colorbench.testing.colorizer_sample_and_guidance_checks import SAMPLE_AND_GUIDANCE_CHECKS
from colorbench.testing.colorizer_subject import IMAGES, ModelSubject, resized
from colorbench.testing.fakes import fake_dataset

SHAPES = ((1, (64, 64)), (2, (48, 80)), (3, (80, 48)), (2, (33, 65)))
"""(images, (H, W)) of batches that every model must accept; ``native`` preprocessing gives any size."""


def check_colorizer(
    model: object, *, device: str = "cpu", data: Dataset | None = None, skip: Collection[str] = ()
) -> CheckReport:
    """Check that a colorizer conforms to colorbench; a few seconds on a CPU.

    Args:
        model: a name as for ``--model``, optionally with options; or a class or object with ``card`` and ``colorize``
            or ``colorize_batch``. A model given by name is also loaded twice, and run in a separate process.
        device: device for the check: ``cpu``, ``cuda``, ``auto``.
        data: at least six color images; None: crops of the packaged images.
        skip: names of checks to leave out.

    Returns:
        The report; ``report.raise_for_failures()`` turns it into a test.

    Raises:
        UserError: for ``images:FOLDER``, too few images in ``data``, or an unknown check.

    Example:
        >>> from colorbench.testing import check_colorizer, fake_model
        >>> report = check_colorizer(fake_model(parameters=7))
        >>> print(report.failures[0].detail)
        the card states 7 parameters, the networks have 3335
    """
    if isinstance(model, str) and model.startswith("images:") or isinstance(model, ImageFolderModel):
        hint = "use `colorbench run`, which checks stored predictions"
        raise UserError("stored predictions contain no model to check", where=str(model), hint=hint)
    if data is not None and len(data) < IMAGES:
        raise UserError(f"a check needs {IMAGES} images, but there are {len(data)}", hint="remove `data`")
    with temporary_folder("colorbench-check-") as name:
        folder = Path(name)
        subject = ModelSubject(model, folder, device_of(device), data or fake_dataset(folder / "images", IMAGES))
        checks = [
            ConformanceCheck("loads", _loads),
            *CONTENT_CHECKS[:2],
            ConformanceCheck("shape", _shape, ("loads",)),
            *INDEPENDENCE_CHECKS,
            *SAMPLE_AND_GUIDANCE_CHECKS,
            *CONTENT_CHECKS[2:],
        ]
        return report_of("model", _name_of(model), run_checks(subject, checks, skip))


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
