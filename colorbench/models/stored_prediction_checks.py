"""Checks that stored predictions (``images:DIR``) belong to the images: size, rotation, lightness, format.

Before the pass the header of each prediction is compared with that of its image; turned, cropped or padded predictions
are refused. During the pass the lightness of each prediction is compared with that of its image at the evaluated size,
and the difference is stored in the rows (``lightness_gap``). Deviations are noted in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.data import Preprocessing, Sample, UnreadableImage, decode_image, get_preprocessing, id_hash
from colorbench.data.image_decoding import Header, decode_file, sample_header
from colorbench.errors import UserError
from colorbench.models.image_folder_model import SIZES, Fit, ImageFolderModel, Size, fit, same_aspect, shown
from colorbench.models.loaded_model import LoadedModel
from colorbench.models.prediction_manifest import check_manifest, manifest_notes

LIGHTNESS_GAP = "lightness_gap"
"""Column of the rows: median over the pixels of |L of the prediction - L of its image|."""
OTHER_LIGHTNESS = 5.0
"""Gap above which a prediction does not belong to the image. For 60 ILSVRC images: JPEG of quality 30 at most 2.7,
predictions enlarged from 64 x 64 at most 4.9, predictions of other images at least 13."""
OTHER_MEDIAN = 2.0
"""Median gap above which a set of predictions does not belong to the images (enlarged from 64 x 64: 1.6)."""
OTHER_SHARE = 0.1
"""Share of predictions beyond ``OTHER_LIGHTNESS`` from which a warning is added."""
WARNING = "these predictions do not have the lightness of their images; see the notes"
_LOOKED_AT = 32  # where checking all would cost a second pass
_SIDE = 32


# --- before the pass


def prepare(
    model: LoadedModel, samples: Sequence[Sample], preprocessings: Iterable[str], say: Callable[[str], None]
) -> None:
    """Prepare a model for a set of images: find stored predictions and refuse those that cannot belong to the images.

    Args:
        model: any model; nothing is done for a model that computes its predictions.
        samples: the images.
        preprocessings: the preprocessing of every protocol of the run.
        say: called with messages about the matching of files.

    Raises:
        UserError: with the number of predictions that are turned, cropped or of another aspect ratio, and the first;
            and for images that are missing in the manifest of the inputs.
        RunError: for predictions that are missing or cannot be read.
    """
    model.prepare(tuple(sample.id for sample in samples))  # also hashes stored predictions, for the key
    if (stored := model.stored) is None:
        return
    for remark in stored.remarks:
        say(f"{stored.folder}: {remark}")
    preprocessings = list(preprocessings)
    if stored.manifest is not None:
        check_manifest(stored.manifest, samples, preprocessings, str(stored.manifest_file))
    sizes = {sample.id: size for sample in samples if (size := _upright_size(sample)) is not None}
    for preprocessing in map(get_preprocessing, sorted(set(preprocessings))):
        fits = {id: fit(stored.headers[id].size, size, preprocessing) for id, size in sizes.items()}
        for kind, what in (
            ("turned", "are rotated by 90 degrees relative to their image (EXIF orientation?)"),
            ("other", "have a different aspect ratio than their image"),
        ):
            if found := [id for id, one in fits.items() if one == kind]:
                first = f"{shown(stored.headers[found[0]].size)} for an image of {shown(sizes[found[0]])}"
                hint = f"{SIZES}; or as {preprocessing.name} gives them" if preprocessing.size else SIZES
                what = f"{len(found)} of {len(samples)} predictions {what}, first {found[0]}: {first}"
                raise UserError(what, where=str(stored.folder), hint=hint)
        _refuse_other_preprocessing(stored, samples, preprocessing, sizes, fits)


def _refuse_other_preprocessing(
    stored: ImageFolderModel,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    sizes: Mapping[str, Size],
    fits: Mapping[str, Fit],
) -> None:
    """Raise if predictions were cropped although the preprocessing squashes the whole image, or the reverse."""
    side = (preprocessing.size, preprocessing.size)
    unclear = [s for s in samples if fits.get(s.id) == "preprocessed" and not same_aspect(side, sizes[s.id])]
    looked_at = sorted(unclear, key=lambda sample: id_hash(sample.id))[:_LOOKED_AT]
    found = [sample.id for sample in looked_at if _shows_another_part(stored, sample, preprocessing)]
    if found:
        other = _other_preprocessing(preprocessing)
        own, instead = ("its center", "all of it") if preprocessing.crops else ("the whole image, squashed", "a crop")
        what = (
            f"{len(found)} of {len(looked_at)} examined predictions do not show {own} to {shown(side)}, "
            f"but {instead}, first {found[0]}"
        )
        raise UserError(what, where=str(stored.folder), hint=f"evaluate with preprocessing={other.name}, or {SIZES}")


def _other_preprocessing(preprocessing: Preprocessing) -> Preprocessing:
    """Return the cropping preprocessing for a squashing one, and the reverse."""
    return get_preprocessing(f"{'squash' if preprocessing.crops else 'center'}{preprocessing.size}")


def _shows_another_part(stored: ImageFolderModel, sample: Sample, preprocessing: Preprocessing) -> bool:
    try:
        rgb, prediction = decode_image(sample).rgb, _lightness(decode_file(stored.path_of(sample.id)).rgb)
    except UnreadableImage:
        return False  # reported by the pass
    n = preprocessing.size
    parts = [_other_preprocessing(preprocessing).apply(rgb)]
    height, width = rgb.shape[:2]
    if not preprocessing.crops and min(height, width) >= n:
        top, left = (height - n) // 2, (width - n) // 2
        parts.append(rgb[top : top + n, left : left + n])
    own = _gap(prediction, _lightness(preprocessing.apply(rgb)))
    return own > OTHER_MEDIAN and min(_gap(prediction, _lightness(part)) for part in parts) < own / 2


# --- in the pass


def lightness_gaps(lightness: Tensor, wanted: Tensor) -> np.ndarray:
    """Compute the column ``LIGHTNESS_GAP`` of a batch of stored predictions, (N,) float64.

    Args:
        lightness: (N, 1, H, W) L of the predictions as rendered.
        wanted: (N, 1, H, W) L of their images.
    """
    return (lightness - wanted).abs().flatten(1).median(dim=1).values.double().cpu().numpy()


# --- after it


def lightness_warning(columns: Mapping[str, np.ndarray]) -> str | None:
    """Return the warning for stored predictions that do not belong to the images; None without one."""
    gaps = columns.get(LIGHTNESS_GAP)
    if gaps is None or not len(gaps):
        return None
    other = np.mean(gaps > OTHER_LIGHTNESS) >= OTHER_SHARE or np.median(gaps) > OTHER_MEDIAN
    return WARNING if other else None


def prediction_notes(
    stored: ImageFolderModel,
    samples: Sequence[Sample],
    preprocessing: str,
    sizes: Mapping[str, Size],
    sha256s: Sequence[str],
    gaps: np.ndarray,
) -> list[str]:
    """Return notes for the record about stored predictions, the most serious first.

    Args:
        stored: prepared for all samples.
        samples: the images, in order.
        preprocessing: its name.
        sizes: id -> (H, W) of every evaluated image, in the order of ``gaps``.
        sha256s: hashes of the image files, in the same order.
        gaps: (n,) the column ``lightness_gap``.
    """
    chosen = get_preprocessing(preprocessing)
    same = [id for id, sha256 in zip(sizes, sha256s, strict=True) if stored.sha256s[id] == sha256]
    copied = f"{len(same)} of {len(sizes)} predictions are identical to their ground-truth images"
    copies = [f"{copied} (first {same[0]})"] if same else []
    made = [] if stored.manifest is None else manifest_notes(stored.manifest, list(sizes), stored.sha256s)
    return [
        *copies,
        *made,
        *_lightness_notes(stored, samples, chosen, list(sizes), gaps),
        *_file_notes(stored, chosen, sizes),
    ]


def _lightness_notes(
    stored: ImageFolderModel,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    ids: Sequence[str],
    gaps: np.ndarray,
) -> Iterator[str]:
    other = [id for id, gap in zip(ids, gaps, strict=True) if gap > OTHER_LIGHTNESS]
    median = float(np.median(gaps)) if len(gaps) else 0.0
    if not other and median <= OTHER_MEDIAN:
        return
    yield (
        f"{len(other)} of {len(ids)} predictions do not have the lightness of their image (median |L - L of the image| "
        f"above {OTHER_LIGHTNESS:g}); over all images the median is {median:.1f}: "
        + ("these do not look like colorizations of these images" if median > OTHER_MEDIAN else f"first {other[0]}")
    )
    yield from _explanations(stored, samples, preprocessing, other)


def _explanations(
    stored: ImageFolderModel, samples: Sequence[Sample], preprocessing: Preprocessing, other: Sequence[str]
) -> Iterator[str]:
    """Yield possible reasons for a different lightness of predictions, as found in some of them."""
    position = {sample.id: i for i, sample in enumerate(samples)}
    # Compared with neighbors: often all file names are shifted by one.
    pool = {near for id in other[:_LOOKED_AT] for near in (position[id] - 1, position[id], position[id] + 1)}
    images = {samples[i].id: _thumbnail(samples[i], preprocessing) for i in sorted(pool) if 0 <= i < len(samples)}
    known = {id: image for id, image in images.items() if image is not None}
    shuffled: list[tuple[str, str]] = []
    turned: list[tuple[str, str]] = []
    looked_at = 0
    for id in other[:_LOOKED_AT]:
        file = stored.path_of(id)
        prediction = _thumbnail(Sample(id, file), preprocessing if preprocessing.crops else None)
        if prediction is None or id not in known:
            continue
        looked_at += 1
        own = _gap(prediction, known[id])
        as_turned = min(_gap(one, known[id]) for one in _turns(prediction))
        nearest = min((one for one in known if one != id), key=lambda one: _gap(prediction, known[one]), default=id)
        as_other = _gap(prediction, known[nearest]) if nearest != id else np.inf
        if min(as_turned, as_other) < own / 2:
            (turned if as_turned <= as_other else shuffled).append((id, nearest))
    if shuffled:
        id, nearest = shuffled[0]
        yield (
            f"{len(shuffled)} of {looked_at} of these that were examined have the lightness of another image "
            f"(that of {id} looks like {nearest}): files are shuffled or shifted by one"
        )
    if turned:
        what = "are rotated or mirrored relative to their image (EXIF orientation?)"
        yield f"{len(turned)} of {looked_at} of these that were examined {what}, first {turned[0][0]}"


_FORMATS: dict[str, Callable[[Header], bool]] = {
    "are stored lossily (JPEG and the like), which costs accuracy: the ground truth as JPEG of quality 95 (75) has a "
    "PSNR of 38.1 (32.8) dB": lambda header: header.lossy,
    "are gray images": lambda header: header.mode in ("1", "L", "LA", "F") or header.mode.startswith("I"),
    "have a palette, at most 256 colors": lambda header: header.mode == "P",
    "have an alpha channel: transparent areas were put on white": lambda header: header.mode in ("RGBA", "LA", "PA"),
    "are CMYK and were converted to sRGB": lambda header: header.mode == "CMYK",
    "have 16 bits per channel and were scaled to 8": lambda header: header.sixteen_bits,
}
"""The remark about predictions with this property."""


def _file_notes(stored: ImageFolderModel, preprocessing: Preprocessing, sizes: Mapping[str, Size]) -> Iterator[str]:
    headers = {id: stored.headers[id] for id in sizes}
    fits = {id: fit(headers[id].size, size, preprocessing) for id, size in sizes.items()}
    if scaled := [id for id, one in fits.items() if one == "scaled"]:
        first = f"{scaled[0]} has {shown(headers[scaled[0]].size)}, its image {shown(sizes[scaled[0]])}"
        yield f"{len(scaled)} of {len(headers)} predictions were resized to another size (first: {first})"
    if count := sum(one == "preprocessed" for one in fits.values()):
        yield f"{count} of {len(headers)} predictions already had the size of {preprocessing.name}: used unchanged"
    for what, is_so in _FORMATS.items():
        if found := [id for id, header in headers.items() if is_so(header)]:
            yield f"{len(found)} of {len(headers)} predictions {what} (first {found[0]})"


def _upright_size(sample: Sample) -> Size | None:
    try:
        return sample_header(sample).size
    except UnreadableImage:
        return None  # skipped by the pass


def _thumbnail(sample: Sample, preprocessing: Preprocessing | None) -> np.ndarray | None:
    """Return the (32, 32) lightness of a preprocessed image; None for an unreadable image."""
    try:
        rgb = decode_image(sample).rgb
    except UnreadableImage:
        return None
    if preprocessing is not None and rgb.shape[:2] != (preprocessing.size, preprocessing.size):
        rgb = preprocessing.apply(rgb)
    return _lightness(np.asarray(Image.fromarray(rgb).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)))


def _lightness(rgb: np.ndarray) -> np.ndarray:
    """Compute (H, W) L of (H, W, 3) uint8."""
    planes = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
    return rgb_to_lab(planes)[0, 0].numpy()


def _turns(lightness: np.ndarray) -> list[np.ndarray]:
    """Return the seven other orientations of a square."""
    quarters = [np.rot90(lightness, k) for k in range(4)]
    return [*quarters[1:], *(one[:, ::-1] for one in quarters)]


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.median(np.abs(one - other)))
