"""Predictions of the models for a study's images, cached while the study is built."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from colorbench.data import Dataset
from colorbench.evaluation import ProgressListener, ThroughputMeter, predict_images
from colorbench.models import LoadedModel, deciding_identity
from colorbench.storage import digest_of, write_atomic


def write_predictions(
    folder: Path,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    hashes: Mapping[str, str],
    listener: ProgressListener,
    *,
    preprocessing: str,
    seed: int,
    batch_size: int,
    device: str,
    threads: int | None,
    workers: int | None,
) -> dict[str, dict[str, Path]]:
    """Colorize images with every model, and write them as PNG; those of an interrupted build are reused.

    Args:
        folder: output folder; subfolders are named by everything that determines a model's predictions.
        models: models with different names.
        dataset: readable images.
        hashes: sha256 of each image's file, by id: the name of its prediction.
        listener: progress listener.
        preprocessing: preprocessing of the images.
        seed: seed of stochastic models.
        batch_size: largest number of images in a batch.
        device: device of the models.
        threads: CPU threads for the models; None for torch's default.
        workers: decoding threads; None for one per core.

    Returns:
        Name of the model -> id of the image -> path of its PNG at the size of the preprocessing.

    Raises:
        RunError: for a model that fails.
    """
    ids = tuple(sample.id for sample in dataset.samples)
    found: dict[str, dict[str, Path]] = {}
    missing: list[tuple[LoadedModel, Dataset]] = []
    for model in models:
        model.prepare(ids)
        key = digest_of([deciding_identity(model), preprocessing, seed])[:16]
        paths = found[model.full_name] = {id: folder / key / f"{hashes[id]}.png" for id in ids}
        samples = tuple(sample for sample in dataset.samples if not paths[sample.id].is_file())
        if samples:
            missing.append((model, replace(dataset, samples=samples)))
    listener.started(sum(len(one) for _, one in missing))
    meter = ThroughputMeter(listener)
    for model, samples_of_model in missing:
        batches = predict_images(
            model,
            samples_of_model,
            preprocessing=preprocessing,
            seed=seed,
            batch_size=batch_size,
            device=device,
            threads=threads,
            workers=workers,
            message=listener.message,
        )
        for prediction in batches:
            for id, pixels in zip(prediction.ids, prediction.rgb8.cpu(), strict=True):
                buffer = io.BytesIO()
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG", compress_level=1)
                write_atomic(found[model.full_name][id], buffer.getvalue(), durable=False)
            meter.advance(len(prediction.ids))
        model.prepare(ids)  # stored predictions are hashed for all images, not only the missing ones
    return found
