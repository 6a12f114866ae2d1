"""Asking a model for colours, and the checks that its answer must pass before anything is scored."""

from __future__ import annotations

import torch
from torch import Tensor

from colorbench.errors import RunError
from colorbench.evaluation.identity import seed_of
from colorbench.evaluation.protocol import Colorization, Truth
from colorbench.guard import one_line
from colorbench.models.colorizer import Colors, Inputs
from colorbench.models.loading import LoadedModel
from colorbench.models.networks import precision

FARTHEST = 10_000.0
"""No colour is a hundredth as far from gray as this in ab; beyond, the conversion to sRGB would overflow."""


def colorize(
    model: LoadedModel,
    truth: Truth,
    sizes: tuple[tuple[int, int], ...],
    seed: int,
    recipe: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Colorization:
    """A model's checked answer for a batch.

    Args:
        model: only where its card says reference is it shown the truth.
        truth: the batch.
        sizes: (H, W) of the original photographs.
        seed: of the run.
        recipe: name of what the photographs went through.
        dtype: precision of convolutions and matrix products.

    Raises:
        RunError: for an answer that is no colour picture of these photographs, or a model that fails.
    """
    return predict(
        model, truth, sizes, tuple(seed_of(seed, content) for content in truth.sha256s or truth.ids), recipe, dtype
    )


def predict(
    model: LoadedModel,
    truth: Truth,
    sizes: tuple[tuple[int, int], ...],
    seeds: tuple[int, ...],
    recipe: str | None,
    dtype: torch.dtype,
) -> Colorization:
    """``colorize`` with a seed per image given."""
    inputs = Inputs(
        # A copy: a model that writes into its input must not change the truth that it is scored against.
        lightness=truth.lightness.clone(),
        ids=truth.ids,
        seeds=seeds,
        truth=truth.rgb8 if model.card.role == "reference" else None,
        sizes=sizes,
        recipe=recipe,
    )
    mend = "--debug shows where; finished shards are kept"
    with (
        one_line(f"{model.full_name} failed", where=_batch(truth.ids), mend=mend, run=True),
        precision(truth.rgb8.device, dtype),
    ):
        try:
            colors = model.colorizer.colorize_batch(inputs)
        except torch.OutOfMemoryError as error:
            what, mend = f"{model.full_name} needs more memory than there is", "choose a smaller --batch-size"
            raise RunError(what, where=_batch(truth.ids), mend=f"{mend}; finished shards are kept") from error
    return checked(model.full_name, colors, truth)


def checked(name: str, colors: Colors, truth: Truth) -> Colorization:
    """The answer as a ``Colorization`` on the truth's device.

    Raises:
        RunError: naming the model, the photograph and what is wanted.
    """
    first, size = truth.ids[0], tuple(truth.rgb8.shape[-2:])
    ab, rgb8 = getattr(colors, "ab", None), getattr(colors, "rgb8", None)
    if (ab is None) == (rgb8 is None):
        given = "both ab and rgb8" if ab is not None else "neither ab nor rgb8"
        raise _wrong(name, given, first, "answer with Colors(ab=...) or Colors(rgb8=...)")
    if rgb8 is not None:
        wanted = (len(truth.ids), 3, *size)
        if not isinstance(rgb8, Tensor) or tuple(rgb8.shape) != wanted or rgb8.dtype != torch.uint8:
            hint = f"rgb8 must be a tensor of {wanted} torch.uint8{_as_uint8(rgb8)}"
            raise _wrong(name, f"rgb8 of {_described(rgb8)}", first, hint)
        return Colorization(truth, rgb8=rgb8.to(truth.rgb8.device))
    wanted = (len(truth.ids), 2, *size)
    if not isinstance(ab, Tensor) or tuple(ab.shape) != wanted or not ab.is_floating_point():
        three = isinstance(ab, Tensor) and ab.dim() == 4 and ab.shape[1] == 3
        hint = "; for three channels of sRGB give Colors(rgb8=...) from colorize_batch" if three else ""
        raise _wrong(name, f"ab of {_described(ab)}", first, f"ab must be a floating tensor of {wanted}, CIE ab{hint}")
    low, high = ab.detach().aminmax()
    if not (low >= -FARTHEST and high <= FARTHEST):  # NaN is never at least anything
        fine = ab.detach().abs().flatten(1).amax(dim=1) <= FARTHEST  # (N,)
        bad = int((~fine).nonzero()[0])
        finite = bool(ab[bad].isfinite().all())
        what = f"ab farther than {FARTHEST:g} from gray" if finite else "NaN or infinity in ab"
        raise _wrong(name, what, truth.ids[bad], "ab must be finite, about -110 to 110")
    return Colorization(truth, ab=ab.detach().to(truth.rgb8.device))


def _wrong(name: str, given: str, id: str, wanted: str) -> RunError:
    mend = f"{wanted}; finished shards are kept"
    return RunError(f"{name} answered with {given}", where=f"photograph {id}", mend=mend)


def _as_uint8(rgb: object) -> str:
    """How to make 8-bit levels of floating ones, by their range."""
    if not isinstance(rgb, Tensor) or not rgb.is_floating_point() or not rgb.numel():
        return ""
    low, high = (float(one) for one in rgb.detach().aminmax())
    if low < 0 and high <= 1.01:
        return ": of -1..1, give ((rgb + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)"
    scaled = "(rgb * 255)" if high <= 1.01 else "rgb"
    return f": of 0..{1 if high <= 1.01 else 255}, give {scaled}.round().clamp(0, 255).to(torch.uint8)"


def _described(value: object) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _batch(ids: tuple[str, ...]) -> str:
    return f"photograph {ids[0]}" if len(ids) == 1 else f"photographs {ids[0]} ... {ids[-1]}"
