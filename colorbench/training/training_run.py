"""``train``: a complete training, from folders of images to weights and card of a model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from colorbench.color import Prior
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.models import Colorizer, ModelCard
from colorbench.models.networks import networks_of
from colorbench.reporting.plot_files import write_figures
from colorbench.training.accelerator import check_trackers, make_accelerator
from colorbench.training.image_cache import MINIMUM_HELD, ImageCache, build_cache
from colorbench.training.trained_model_export import count_prior, export
from colorbench.training.trainer import MINIMUM_IMAGES, Trainer, TrainerOptions, TrainingListener, too_few_images
from colorbench.training.training_plots import prior_plot
from colorbench.training.training_preset import TrainingPreset


class TrainingProgress(TrainingListener, Protocol):
    """Interface of a training listener with text messages."""

    def message(self, text: str) -> None:
        """Show one line."""
        ...


@dataclass(frozen=True)
class TrainingSource:
    """One dataset for the training."""

    name: str
    """Short name, unique in the training."""
    dataset: Dataset
    repeats: int = 1
    """Number of times that each of its images is drawn per round."""


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a training."""

    model: str
    """Full name, such as ``zoo/cic``."""
    factory: Any
    """Class of the model: ``presets``, ``training`` (the task), and a constructor from (network, card)."""
    preset_name: str
    preset: TrainingPreset
    """Preset with the user's changes."""
    sources: Sequence[TrainingSource]
    options: TrainerOptions
    workers: int = 2
    figures: Path | None = None
    """Output folder of plots for a paper."""

    @property
    def name(self) -> str:
        """Name of the files: ``cic`` for ``zoo/cic.small``."""
        return self.model.rsplit("/", 1)[-1].split(".")[0]

    @property
    def weights(self) -> Path:
        """File of the trained weights."""
        return self.options.folder / f"{self.name}.safetensors"


def train(config: TrainingConfig, reporter: TrainingProgress) -> Path:
    """Run a training to the end, resuming from the last checkpoint if there is one; return the weights file.

    Raises:
        UserError: for errors in configuration or images, before the first step.
        RunError: for a training that fails; its last good checkpoint is kept.
    """
    options = replace(config.options, repeats={i: s.repeats for i, s in enumerate(config.sources) if s.repeats != 1})
    check_trackers(options.track)
    accelerator = make_accelerator(options.device, options.dtype)
    say = reporter.message if accelerator.is_main_process else _nothing
    # One process decodes, then one of every other machine, which finds the result if the folder is shared.
    for source in config.sources:
        for remark in source.dataset.remarks:
            say(f"{source.name}: {remark}")
    if (count := sum(len(source.dataset.samples) for source in config.sources)) < MINIMUM_IMAGES + MINIMUM_HELD:
        raise too_few_images(count, MINIMUM_HELD)  # before images are decoded
    with accelerator.main_process_first(), accelerator.local_main_process_first():
        say(f"reading images of {', '.join(source.name for source in config.sources)}")
        datasets = [source.dataset for source in config.sources]
        folder, local = options.folder / "images", accelerator.is_local_main_process
        cache = build_cache(datasets, folder, config.preset.cache_size, config.workers, check=local, say=say)
    if cache.skipped:
        say(f"skipped {len(cache.skipped)} unreadable files; the first: {cache.skipped[0][0]}: {cache.skipped[0][1]}")
    indices = cache.drawn(options.repeats)
    say(f"computing the color prior of {len(cache.split()[0])} images")
    prior = count_prior(cache.pixels, indices, config.preset, config.name)
    torch.manual_seed(options.seed)  # a network may have torch's initial weights
    task = config.factory.training(config.preset, prior)
    card = _card(config)

    def colorizer(network: nn.Module) -> Colorizer:
        model: Colorizer = config.factory(network, card)
        return model

    trainer = Trainer(task, config.preset, cache, options, colorizer)
    finished = trainer.begin()
    for remark in trainer.remarks:
        say(remark)
    if finished and config.weights.with_suffix(".json").is_file():
        _write_figures(config, trainer, prior)
        say(f"training is already finished ({trainer.step} steps): {config.weights}; increase --steps to continue")
        return config.weights
    if trainer.step:
        say(f"resuming from step {trainer.step}")
    state = trainer.run(reporter)
    if accelerator.is_main_process:
        filled = _card(config, trainer, cache, prior.name, prior.kind)
        registered = {id(one) for one in trainer.task.parameters()}
        every = [one for network in networks_of(trainer.task) for one in network.parameters()]
        frozen = sum(one.numel() for one in every if id(one) not in registered)
        export(state, config.weights, filled, prior, cache.hashes[trainer.chosen], frozen=frozen)
        _write_figures(config, trainer, prior)
    say(f"wrote {config.weights}, its card, figures and images")
    measured = shlex.quote(f"{config.model}[weights={config.weights}]")
    say(f"evaluate it: colorbench run --model {measured} --protocol auc")
    return config.weights


def _write_figures(config: TrainingConfig, trainer: Trainer, prior: Prior) -> None:
    """Write curves and prior as figures for a paper, on request."""
    if config.figures is None or not trainer.accelerator.is_main_process:
        return
    plots = {f"{config.name}-prior": prior_plot(prior)}
    curve = trainer.validation.curve_plot(trainer.log) if trainer.validation is not None else None
    if curve is not None:
        plots[f"{config.name}-curve"] = curve
    write_figures(plots, config.figures)


def _card(
    config: TrainingConfig,
    trainer: Trainer | None = None,
    cache: ImageCache | None = None,
    prior: str = "",
    kind: str = "",
) -> ModelCard:
    """Return the model card of the trained model."""
    preset = config.preset
    parts = getattr(config.factory, "pretrained_parts", None)
    about = ModelCard(
        title=f"{config.name}, preset {config.preset_name} (width {preset.width:g})",
        working_size=preset.working_size,
        settings={"width": preset.width, "temperature": preset.temperature},
        preset=config.preset_name,
        pretrained=parts() if parts is not None else (),
    )
    if trainer is None or cache is None:
        return about
    validation = trainer.validation.journal.rows()[-1] if trainer.validation is not None else {}
    options = trainer.options
    facts = [
        f"{trainer.step} steps, seed {options.seed}, {options.dtype}, {trainer.seconds:.0f} seconds on "
        f"{trainer.accelerator.num_processes} x {trainer.accelerator.device.type}",
        f"prior: {kind}, of the training images ({config.name}-prior.npy)",
    ]
    departures = preset.departures(config.factory.presets[config.preset_name])
    if options.accumulate > 1:
        departures.append(f"{options.accumulate} micro-batches per step")
    facts.append("deviations from the preset: " + ("; ".join(departures) or "none"))
    if trainer.history:
        facts.append("changed during training: " + "; ".join(trainer.history))
    if options.initial is not None:
        facts.append(f"initialized from {options.initial.name}")
    return about.model_copy(
        update={
            "training_data": _data(config.sources, cache, len(trainer.chosen), len(trainer.validation_indices)),
            "training_hashes": f"{config.name}-training_hashes.npy",
            "scores": {f"validation_{key}": round(value, 4) for key, value in validation.items() if key != "step"},
            "notes": ". ".join(facts) + ".",
        }
    )


def _data(sources: Sequence[TrainingSource], cache: ImageCache, trained: int, validation: int) -> str:
    names = []
    for i, source in enumerate(sources):
        drawn = f", oversampled {source.repeats} times" if source.repeats > 1 else ""
        names.append(f"{source.name} ({int((cache.sources == i).sum())}{drawn})")
    skipped = f"; {len(cache.skipped)} unreadable files skipped" if cache.skipped else ""
    return f"{trained} images of {', '.join(names)}; {validation} in the validation split{skipped}"


def name_sources(given: Sequence[tuple[Path, Dataset]], repeats: Mapping[str, int]) -> list[TrainingSource]:
    """Give the datasets of a training run short, unique names and their sampling weights.

    A name is the shortest sufficient end of the path.

    Raises:
        UserError: for a folder given twice, or a name in ``repeats`` that matches none or several of them.
    """
    paths = [path.resolve() for path, _ in given]
    if len(set(paths)) < len(paths):
        raise UserError("a folder is given twice", hint="use --repeat NAME=TIMES to oversample it")
    names = [
        next(
            name
            for depth in range(1, len(path.parts) + 1)
            if sum(other.parts[-depth:] == path.parts[-depth:] for other in paths) == 1
            for name in ["/".join(path.parts[-depth:]).replace("//", "/")]
        )
        for path in paths
    ]
    times = dict.fromkeys(range(len(given)), 1)
    for name, count in repeats.items():
        matching = [i for i, path in enumerate(paths) if name == names[i] or Path(name).resolve() == path]
        matching = matching or [i for i, path in enumerate(paths) if path.name == name]
        if len(matching) != 1:
            what = f"--repeat {name} names {'none' if not matching else 'several'} of the --data folders"
            raise UserError(what, hint=f"name one of {', '.join(names)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise UserError(f"--repeat {name} must be an integer of at least 1, got {count!r}")
        times[matching[0]] = count
    return [
        TrainingSource(name, dataset, times[i]) for i, (name, (_, dataset)) in enumerate(zip(names, given, strict=True))
    ]


def _nothing(_: str) -> None:
    return
